// Plugins that write pandalogs through both interfaces, each with a schema of its own, in a machine of the toy
// architecture; and what happens where there is no log or it cannot be written.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <filesystem>

#include "panda/plog.h"
#include "panda/plog_print.h"
#include "plugin/plugin_host.h"
#include "toy_isa.h"
#include "toy_machine.h"
#include "toy_target.h"

namespace panda::plugin {
namespace {

using toy::Assembler;
using toy::Insn;

const Target kTargetWithAsid = [] {
  Target t = kToyTarget;
  t.asid = [](VcpuContext&) -> uint64_t { return 0x1234; };
  return t;
}();

std::string built(const std::string& name) { return std::string(PANDA_TEST_PLUGINS) + "/x86_64/panda_" + name + ".so"; }

class PandalogApiTest : public testing::TestWithParam<toy::BackendFactory> {
 protected:
  void SetUp() override {
    Assembler a;
    a.emit(Insn::li, 1, 0, 500);
    const uint32_t top = a.here();
    a.emit(Insn::add, 0, 0, 1);
    a.emit(Insn::addi, 1, 1, 0xffff);
    a.branch(Insn::bne, 1, 2, top);
    a.emit(Insn::halt);
    machine_ = std::make_unique<toy::Machine>(GetParam(), a.bytes(), std::vector<uint64_t>{});
    auto host = create_toy_host(*machine_, {}, kTargetWithAsid);
    ASSERT_TRUE(host.has_value());
    host_ = std::move(*host);
  }
  void TearDown() override {
    host_.reset();
    pandalog_close();
    std::filesystem::remove(path_);
  }
  uint64_t variable(const std::string& plugin, const char* name) {
    return *static_cast<uint64_t*>(dlsym(host_->by_name(plugin)->handle, name));
  }
  void expect_the_guest_ran() {
    EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
    EXPECT_EQ(machine_->state().regs[0], 125250u);
  }

  std::string path_ = testing::TempDir() + "panda_api_" + std::to_string(getpid()) + ".plog";
  std::unique_ptr<toy::Machine> machine_;
  std::unique_ptr<PluginHost> host_;
};

TEST_P(PandalogApiTest, TwoPluginsOfTwoSchemasWriteOneLog) {
  ASSERT_TRUE(host_->open_pandalog(path_).has_value());
  EXPECT_EQ(pandalog, 1);
  testing::internal::CaptureStderr();
  ASSERT_TRUE(host_->load(built("log_c"), {}).has_value());
  ASSERT_TRUE(host_->load(built("log_cpp"), {}).has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "panda: plugin log_cpp: pandalog: an entry lacks required fields and is left out\n");
  expect_the_guest_ran();
  const uint64_t blocks = variable("log_c", "log_c_written");
  const uint64_t insns = variable("log_cpp", "log_cpp_written");
  EXPECT_EQ(blocks, 501u);
  EXPECT_EQ(insns, machine_->engine->count().value);
  host_->unload_all();
  host_->close_pandalog();
  EXPECT_EQ(pandalog, 0);

  pandalog_open_read_fwd(path_.c_str());
  uint64_t blocks_read = 0, others = 0, last_instr = 0;
  std::string last_text;
  while (Panda__LogEntry* entry = pandalog_read_entry()) {
    EXPECT_GE(entry->instr, last_instr);
    last_instr = entry->instr;
    if (entry->test_block != nullptr) {
      EXPECT_EQ(entry->test_block->words[0], blocks_read);
      EXPECT_EQ(entry->test_block->code.data[2], static_cast<uint8_t>(blocks_read));
      EXPECT_EQ(entry->asid, 0x1234u);
      EXPECT_EQ(entry->pc, blocks_read == 0 ? 0u : blocks_read == 500 ? 16u : 4u);
      EXPECT_EQ(entry->instr, blocks_read * 3 + (blocks_read == 0 ? 0 : 1));
      blocks_read++;
    } else if (entry->test_text == nullptr) {
      EXPECT_EQ(entry->base.n_unknown_fields, 2u) << "fields that only the other plugin knows";
      others++;
    }
    last_text = entry->test_text != nullptr ? entry->test_text : "";
    pandalog_free_entry(entry);
  }
  EXPECT_EQ(blocks_read, blocks);
  EXPECT_EQ(others, insns);
  EXPECT_EQ(last_text, "the end") << "uninit_plugin can write";
  EXPECT_EQ(last_instr, machine_->engine->count().value);

  pandalog_seek(700);
  Panda__LogEntry* entry = pandalog_read_entry();
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->instr, 700u);
  pandalog_free_entry(entry);
  pandalog_open_read_bwd(path_.c_str());
  entry = pandalog_read_entry();
  ASSERT_NE(entry, nullptr);
  EXPECT_STREQ(entry->test_text, "the end");
  pandalog_free_entry(entry);
}

TEST_P(PandalogApiTest, PluginsFindTheWholeInterface) {
  for (const char* name : {"pandalog",
                           "globalLog",
                           "pandalog_open_write",
                           "pandalog_open_read_fwd",
                           "pandalog_open_read_bwd",
                           "pandalog_open",
                           "pandalog_close",
                           "pandalog_write_entry",
                           "pandalog_seek",
                           "pandalog_init",
                           "pandalog_cc_close",
                           "pandalog_write_packed",
                           "pandalog_read_packed",
                           "pandalog_cc_init_read",
                           "pandalog_cc_init_read_bwd",
                           "pandalog_cc_init_write",
                           "pandalog_cc_seek",
                           "panda_start_pandalog",
                           "panda_log_new",
                           "panda_log_delete",
                           "panda_log_begin_entry",
                           "panda_log_end_entry",
                           "panda_log_stamp",
                           "pprint_ple",
                           "panda_pprint_message"}) {
    EXPECT_NE(dlsym(RTLD_DEFAULT, name), nullptr) << name;
  }
}

TEST_P(PandalogApiTest, PacksReadsAndPrints) {
  uint8_t packed[] = {0x08, 9, 0x10, 7, 0x18, 5};  // pc=9 instr=7 asid=5
  uint8_t garbage[] = {0xff, 0xff};
  pandalog_cc_init_write(path_.c_str());
  pandalog_write_packed(sizeof packed, packed);
  testing::internal::CaptureStderr();
  pandalog_write_packed(sizeof garbage, garbage);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("not a serialised panda.LogEntry"), std::string::npos);
  pandalog_cc_close();
  pandalog_cc_init_read(path_.c_str());
  unsigned char* read = pandalog_read_packed();
  ASSERT_NE(read, nullptr);
  size_t size = 0;
  std::memcpy(&size, read, sizeof size);
  ASSERT_EQ(size, sizeof packed);
  EXPECT_EQ(std::memcmp(read + sizeof size, packed, size), 0);
  std::free(read);
  EXPECT_EQ(pandalog_read_packed(), nullptr);
  pandalog_cc_init_read_bwd(path_.c_str());
  Panda__LogEntry* entry = pandalog_read_entry();
  ASSERT_NE(entry, nullptr);
  Panda__TestBlock block = PANDA__TEST_BLOCK__INIT;
  uint32_t words[] = {1, 2};
  block.n_words = 2;
  block.words = words;
  entry->test_block = &block;
  testing::internal::CaptureStdout();
  pprint_ple(entry);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "instr=7  pc=0x9 : asid=5 test_block={ size=0 words=[1,2] }\n");
  entry->test_block = nullptr;
  pandalog_free_entry(entry);
}

TEST_P(PandalogApiTest, WithoutALogNothingIsWritten) {
  ASSERT_TRUE(host_->load(built("log_c"), {}).has_value());
  testing::internal::CaptureStderr();
  expect_the_guest_ran();
  Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
  pandalog_write_entry(&entry);  // that did not ask `pandalog` first
  pandalog_write_entry(&entry);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("no log is open for writing"), std::string::npos);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
  EXPECT_EQ(variable("log_c", "log_c_written"), 0u);
}

TEST_P(PandalogApiTest, ALogThatCannotBeIsOnlyAMessage) {
  const Status opened = host_->open_pandalog("/no/such/folder/x.plog");
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("pandalog /no/such/folder/x.plog: cannot be created"), std::string::npos);
  EXPECT_EQ(pandalog, 0);
  testing::internal::CaptureStderr();
  pandalog_init("/dev/full");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("/dev/full: cannot be written: No space left"),
            std::string::npos);
  EXPECT_EQ(pandalog, 0);
  ASSERT_TRUE(host_->load(built("log_c"), {}).has_value());
  expect_the_guest_ran();
}

TEST_P(PandalogApiTest, AFullDiskEndsTheLogNotTheGuest) {
  ASSERT_NE(std::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(host_->open_pandalog(path_).has_value());
  ASSERT_TRUE(host_->load(built("log_c"), {}).has_value());
  rlimit small = before;
  small.rlim_cur = 200;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  testing::internal::CaptureStderr();
  expect_the_guest_ran();
  EXPECT_GT(variable("log_c", "log_c_written"), 0u);
  host_->unload_all();
  host_->close_pandalog();
  setrlimit(RLIMIT_FSIZE, &before);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("panda: pandalog " + path_ + ": cannot be written: "), std::string::npos) << said;
  EXPECT_EQ(said.find("pandalog"), said.rfind("panda: pandalog") + 7) << "said once: " << said;
}

INSTANTIATE_TEST_SUITE_P(Backends, PandalogApiTest, testing::ValuesIn(toy::backends()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace panda::plugin
