// Real plugins (compiled beside this, through the public headers) in a machine of the toy
// architecture: the loader and its errors, arguments, and what the callbacks promise: each block and
// instruction exactly once, whatever interrupts it.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include "plugin/plugin_host.h"
#include "toy_machine.h"
#include "toy_target.h"

namespace panda::plugin {
namespace {

using toy::Assembler;
using toy::Insn;

struct Counts {  // counter.c's
  uint64_t before, after, after_early, insns, insns_done, translated, invalidate_asked, uninit;
  uint64_t insns_in_blocks, wrong, last_pc, last_count;
};

std::string built(const std::string& name, const std::string& arch = "x86_64") {
  return std::string(PANDA_TEST_PLUGINS) + "/" + arch + "/panda_" + name + ".so";
}

class PluginApiTest : public testing::TestWithParam<toy::BackendFactory> {
 protected:
  void start(const std::vector<uint8_t>& program, std::vector<uint64_t> interrupts = {}) {
    machine_ = std::make_unique<toy::Machine>(GetParam(), program, std::move(interrupts));
    auto host = create_toy_host(*machine_);
    ASSERT_TRUE(host.has_value());
    host_ = std::move(*host);
  }
  void SetUp() override { start(loop(100).bytes()); }
  void TearDown() override { host_.reset(); }

  // Adds up 100, 99 … 1 in r0.
  static Assembler loop(uint32_t n) {
    Assembler a;
    a.emit(Insn::li, 1, 0, n);
    const uint32_t top = a.here();
    a.emit(Insn::add, 0, 0, 1);
    a.emit(Insn::addi, 1, 1, 0xffff);
    a.branch(Insn::bne, 1, 2, top);
    a.emit(Insn::halt);
    return a;
  }

  Status load(const std::string& name, const std::string& arguments = "") {
    return host_->load(built(name), parse_argument_list(arguments));
  }
  template <typename T>
  T& variable(const std::string& plugin, const char* name) {
    return *static_cast<T*>(dlsym(host_->by_name(plugin)->handle, name));
  }
  Counts& counts() { return variable<Counts>("counter", "counter_counts"); }
  static std::string message(const Status& s) { return s ? "" : s.error().message; }

  std::unique_ptr<toy::Machine> machine_;
  std::unique_ptr<PluginHost> host_;
};

// ---- the loader

TEST_P(PluginApiTest, NamesWhatIsWrongWithAPlugin) {
  EXPECT_NE(message(host_->load("nowhere", {})).find("plugin nowhere: not found"), std::string::npos);
  EXPECT_EQ(message(host_->load("/tmp/no/such/panda_x.so", {})), "plugin /tmp/no/such/panda_x.so: no such file");
  EXPECT_NE(message(load("no_init")).find("plugin no_init: "), std::string::npos);
  EXPECT_NE(message(load("no_init")).find("has no function init_plugin"), std::string::npos);
  EXPECT_NE(message(load("unresolved")).find("nobody_has_this"), std::string::npos);
  EXPECT_NE(message(host_->load(built("counter", "i386"), {})).find("was built for i386, this is x86_64"),
            std::string::npos);
  EXPECT_EQ(message(load("counter", "refuse")), "plugin counter: init_plugin returned false");
  const std::string garbage = testing::TempDir() + "panda_garbage.so";
  std::ofstream(garbage) << "not a shared object";
  EXPECT_NE(message(host_->load(garbage, {})).find("plugin garbage: cannot be loaded: "), std::string::npos);
  EXPECT_TRUE(host_->loaded().empty());
}

TEST_P(PluginApiTest, RefusesBadArguments) {
  EXPECT_EQ(message(load("counter", "only=12x")), "plugin counter: the argument 'only=12x' is not a valid number");
  EXPECT_EQ(message(load("counter", "blocks=maybe")),
            "plugin counter: the argument 'blocks=maybe' is not a valid bool");
  EXPECT_EQ(message(load("counter", "invalidate=0x100000000")),
            "plugin counter: the argument 'invalidate=0x100000000' is not a valid number");
  EXPECT_EQ(message(load("counter", "needs")), "plugin counter: the argument 'must' is required (what there must be)");
  EXPECT_NE(message(load("counter", "requires")).find("needs another plugin: plugin not_there: not found"),
            std::string::npos);
  EXPECT_NE(message(load("counter", "suicide")).find("unloaded itself"), std::string::npos);
  EXPECT_TRUE(host_->loaded().empty());
  testing::internal::CaptureStderr();
  EXPECT_TRUE(load("counter", "blocks,bloks=1").has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "panda: plugin counter: has no argument 'bloks': '-panda counter:help' lists them\n");
}

TEST_P(PluginApiTest, FindsPluginsByNameWhereItIsToldTo) {
  const std::string root = testing::TempDir() + "panda_plugins_" + std::to_string(getpid());
  ASSERT_EQ(mkdir(root.c_str(), 0755), 0);
  ASSERT_EQ(symlink(built("counter").c_str(), (root + "/panda_counter.so").c_str()), 0);
  setenv("PANDA_PLUGIN_DIR", root.c_str(), 1);
  ASSERT_TRUE(host_->add_plugins("counter:blocks;").has_value());
  ASSERT_TRUE(host_->add_argument("counter:insns").has_value());
  EXPECT_TRUE(host_->load_all().has_value());
  unsetenv("PANDA_PLUGIN_DIR");
  machine_->run(1000);
  EXPECT_GT(counts().before, 0u);
  EXPECT_GT(counts().insns, 0u);
  unlink((root + "/panda_counter.so").c_str());
  rmdir(root.c_str());
}

TEST_P(PluginApiTest, MonitorLoadsListsAndUnloads) {
  EXPECT_EQ(host_->monitor_load(built("counter"), "blocks"), "");
  EXPECT_EQ(host_->monitor_load(built("counter"), ""), "plugin counter is loaded already\n");
  EXPECT_NE(host_->monitor_list().find("0\tpanda_counter.so\t0x"), std::string::npos);
  machine_->run(1000);
  EXPECT_EQ(host_->monitor_command("counter"), "before=" + std::to_string(counts().before) + "\n");
  EXPECT_NE(host_->monitor_unload("3").find("no loaded plugin has the index 3"), std::string::npos);
  EXPECT_EQ(host_->monitor_unload("0"), "");
  EXPECT_EQ(host_->monitor_list(), "idx\tname\taddr\n");
  EXPECT_EQ(host_->monitor_command("counter"), "no loaded plugin has monitor commands\n");
}

// ---- callbacks

TEST_P(PluginApiTest, CountsBlocksAndInstructionsExactly) {
  ASSERT_TRUE(load("counter", "blocks,insns").has_value());
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[0], 5050u);
  const uint64_t total = machine_->engine->count().value;
  EXPECT_EQ(counts().insns, total);
  EXPECT_EQ(counts().insns_done, total);
  EXPECT_EQ(counts().insns_in_blocks, total);
  EXPECT_EQ(counts().before, counts().after);
  EXPECT_EQ(counts().before, 101u);  // li add addi bne | 99 rounds | halt
  EXPECT_EQ(counts().after_early, 0u);
  EXPECT_EQ(counts().wrong, 0u);
}

TEST_P(PluginApiTest, StopPointsCutBlocksWithoutCountingAnythingTwice) {
  ASSERT_TRUE(load("counter", "blocks,insns").has_value());
  for (uint64_t count = 1; count < 200; count++) {
    machine_->run(count);
    EXPECT_EQ(counts().insns_in_blocks, count);
    EXPECT_EQ(counts().insns, count);
    EXPECT_EQ(counts().insns_done, count);
    EXPECT_EQ(counts().before, counts().after);
  }
  EXPECT_EQ(counts().wrong, 0u);
}

// A device access in the middle of a block: the instruction runs alone and the block goes on.
TEST_P(PluginApiTest, DeviceAccessesDoNotSplitBlocks) {
  if (GetParam().name == "x64_small") GTEST_SKIP() << "its code area has no room for the block with all its calls";
  Assembler a;
  a.emit(Insn::li, 2, 0, 4);
  a.emit(Insn::lih, 2, 0, 4);  // 0x40004: beyond RAM
  a.emit(Insn::li, 5, 0, 10);
  const uint32_t top = a.here();
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::load, 3, 2, 0);
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::load, 3, 2, 4);
  a.emit(Insn::addi, 5, 5, 0xffff);
  a.branch(Insn::bne, 5, 6, top);
  a.emit(Insn::halt);
  host_.reset();
  start(a.bytes());
  ASSERT_TRUE(load("counter", "blocks,insns").has_value());
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[0], 20u);
  const uint64_t total = machine_->engine->count().value;
  EXPECT_EQ(counts().insns, total);
  EXPECT_EQ(counts().insns_in_blocks, total);
  EXPECT_EQ(counts().before, 11u);  // ten rounds (the first with its three instructions before), halt
  EXPECT_EQ(counts().before, counts().after);
  EXPECT_EQ(counts().wrong, 0u);
}

TEST_P(PluginApiTest, AFaultEndsItsBlock) {
  Assembler a;
  a.emit(Insn::lih, 2, 0, 0x8000);  // faults when used
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::load, 3, 2, 0);
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::halt);
  a.pad_to(toy::kExceptionVector);
  a.emit(Insn::addi, 6, 6, 1);
  a.emit(Insn::halt);
  host_.reset();
  start(a.bytes());
  ASSERT_TRUE(load("counter", "blocks").has_value());
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[6], 1u);
  EXPECT_EQ(counts().before, 3u);  // the faulting one, the handler, its halt
  EXPECT_EQ(counts().after, 3u);
  EXPECT_EQ(counts().after_early, 1u);
  EXPECT_EQ(counts().wrong, 0u);
}

TEST_P(PluginApiTest, OnlyTheInstructionsAskedForAreInstrumented) {
  ASSERT_TRUE(load("counter", "insns,only=8").has_value());
  machine_->run(1'000'000);
  EXPECT_EQ(counts().insns, 100u);
  EXPECT_EQ(counts().last_pc, 8u);
  EXPECT_EQ(counts().last_count, 1u + 99 * 3 + 1);
}

TEST_P(PluginApiTest, NothingIsEmittedWhereNobodyListens) {
  ASSERT_TRUE(load("counter", "blocks,insns").has_value());
  host_->set_enabled(*host_->by_name("counter"), false);
  machine_->run(100);
  EXPECT_EQ(counts().before + counts().insns + counts().translated, 0u);
  host_->set_enabled(*host_->by_name("counter"), true);
  machine_->run(200);
  EXPECT_EQ(counts().insns, 100u);
}

TEST_P(PluginApiTest, UnregistersFromInsideACallback) {
  ASSERT_TRUE(load("counter", "blocks,once").has_value());
  machine_->run(1'000'000);
  EXPECT_EQ(counts().before, 1u);
  EXPECT_EQ(counts().after, 0u);
}

TEST_P(PluginApiTest, InvalidatesAndTranslatesAgain) {
  ASSERT_TRUE(load("counter", "blocks,insns,invalidate=3").has_value());
  machine_->run(1'000'000);
  const uint64_t total = machine_->engine->count().value;
  EXPECT_EQ(machine_->state().regs[0], 5050u);
  EXPECT_EQ(counts().insns, total);
  EXPECT_EQ(counts().insns_in_blocks, total);
  EXPECT_EQ(counts().before, 101u);
  EXPECT_EQ(counts().invalidate_asked, 101u);
  EXPECT_GE(counts().translated, 3u + 3u);
  EXPECT_EQ(counts().wrong, 0u);
}

TEST_P(PluginApiTest, InterruptsBetweenBlocksKeepTheCounts) {
  Assembler a;
  a.emit(Insn::sti);
  a.emit(Insn::li, 1, 0, 200);
  const uint32_t top = a.here();
  a.emit(Insn::add, 0, 0, 1);
  a.emit(Insn::addi, 1, 1, 0xffff);
  a.branch(Insn::bne, 1, 2, top);
  a.emit(Insn::halt);
  a.pad_to(toy::kInterruptVector);
  a.emit(Insn::addi, 7, 7, 1);
  a.emit(Insn::iret);
  std::vector<uint64_t> at;
  for (uint64_t i = 5; i < 400; i += 7) at.push_back(i);
  host_.reset();
  start(a.bytes(), at);
  ASSERT_TRUE(load("counter", "blocks,insns").has_value());
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[7], at.size());
  const uint64_t total = machine_->engine->count().value;
  EXPECT_EQ(counts().insns, total);
  EXPECT_EQ(counts().insns_in_blocks, total);
  EXPECT_EQ(counts().before, counts().after);
  EXPECT_EQ(counts().wrong, 0u);
}

TEST_P(PluginApiTest, OldAndNewSourcesWorkTogether) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(load("old_style").has_value());
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said, "");
  // new_style offers a callback and registers with itself, once it can be found by its name.
  ASSERT_TRUE(load("new_style").has_value());
  machine_->run(1'000'000);
  EXPECT_EQ(variable<int>("old_style", "old_style_blocks"), 101);
  EXPECT_EQ(variable<int>("new_style", "new_style_seen"), 101);
  EXPECT_EQ(variable<int>("new_style", "new_style_context_seen"), 101);
  EXPECT_EQ(variable<int>("new_style", "new_style_events"), 1) << "removed itself in the first";
}

// ---- plugins and plugins

struct UsesSeen {  // uses.h's
  uint64_t events, context, blocks;
  int sum, each, visited;
  bool remove;
};

TEST_P(PluginApiTest, APluginCallsAnothersFunctionsAndHearsItsCallbacks) {
  ASSERT_TRUE(host_->add_argument("uses:remove").has_value());
  setenv("PANDA_PLUGIN_DIR", PANDA_TEST_PLUGINS, 1);
  ASSERT_TRUE(load("uses").has_value());
  ASSERT_NE(host_->by_name("offers"), nullptr) << "loaded because it is used";
  auto& seen = variable<UsesSeen>("uses", "uses_seen");
  EXPECT_EQ(seen.sum, 3);
  EXPECT_EQ(seen.each, 3 + 10);
  EXPECT_EQ(seen.visited, 0 + 1 + 2);
  machine_->run(200);
  const uint64_t half = seen.events;
  EXPECT_GT(half, 10u);
  EXPECT_EQ(seen.blocks, half);
  EXPECT_EQ(seen.context, 1u) << "removed itself in the first";
  // A plugin that is in use stays; its user can go, and what it registered goes with it.
  EXPECT_EQ(host_->monitor_unload("1"), "cannot unload offers: uses uses it; unload that first\n");
  EXPECT_EQ(host_->monitor_unload("0"), "");
  ASSERT_EQ(host_->loaded().size(), 1u);
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(reinterpret_cast<uint64_t (*)()>(dlsym(host_->by_name("offers")->handle, "offers_blocks"))(), 102u);
  unsetenv("PANDA_PLUGIN_DIR");
}

TEST_P(PluginApiTest, AMissingPluginOrCallbackOfAnotherIsSaid) {
  EXPECT_EQ(message(load("uses", "early")), "plugin uses: offers_blocks was called before init_offers_api()");
  setenv("PANDA_PLUGIN_DIR", "/no/such", 1);
  const std::string missing = message(load("uses"));
  EXPECT_EQ(missing.find("plugin uses: needs another plugin: plugin offers: not found"), 0u) << missing;
  ASSERT_TRUE(load("offers").has_value());
  EXPECT_EQ(message(load("uses", "absent")), "plugin uses: the plugin offers offers no callback on_absent");
  EXPECT_EQ(host_->loaded().size(), 1u);
  unsetenv("PANDA_PLUGIN_DIR");
}

// ---- what a plugin does wrong

TEST_P(PluginApiTest, WrongCallsAreSaidAndChangeNothing) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(load("nonsense", "calls").has_value());
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* line :
       {"panda: plugin nonsense: panda_register_callback: there is no callback type 999\n",
        "panda: plugin nonsense: panda_register_callback: the callback for BEFORE_BLOCK_EXEC is NULL\n",
        "panda: plugin nonsense: panda_register_callback: 0x", "is not a loaded plugin's handle\n",
        "panda: plugin nonsense: panda_disable_callback: this callback was not registered for BEFORE_BLOCK_EXEC\n",
        "panda: plugin nonsense: panda_unregister_callback: this callback was not registered for BEFORE_BLOCK_EXEC\n",
        "panda: plugin nonsense: cannot unload plugin number 99: there is none\n",
        "panda: plugin nonsense: cannot unload no_such: it is not loaded\n", "panda: plugin no_such: not found",
        "panda: plugin nonsense: its handle is NULL, or a plugin of this handle or name is loaded already\n",
        "panda: panda_set_os_name: 'beos' is not FAMILY-BITS[-VARIANT]", "panda: panda_memsavep: cannot write"}) {
    EXPECT_NE(said.find(line), std::string::npos) << line << "in\n" << said;
  }
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(variable<int>("nonsense", "nonsense_blocks"), 101) << "registered twice, called once";
}

TEST_P(PluginApiTest, APluginThatUnloadsItselfOrAnotherInACallbackIsGoneAfterIt) {
  ASSERT_TRUE(load("counter", "blocks").has_value());
  ASSERT_TRUE(load("nonsense", "other").has_value());
  EXPECT_EQ(machine_->run(50), exec::StopReason::CountReached);
  EXPECT_EQ(host_->by_name("counter"), nullptr);
  host_->unload_all();
  testing::internal::CaptureStderr();
  ASSERT_TRUE(load("nonsense", "unload").has_value());
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[0], 5050u);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "nonsense: 1 blocks\n");
  EXPECT_TRUE(host_->loaded().empty());
}

TEST_P(PluginApiTest, SaysWhyAPluginGaveUp) {
  EXPECT_EQ(message(load("nonsense", "fail")), "plugin nonsense: there is no point");
  EXPECT_EQ(message(load("nonsense", "missing")), "plugin nonsense: the argument 'text' is required (some text)");
  EXPECT_EQ(message(load("throws")), "plugin throws: init_plugin threw an exception (thrown at once)");
  const std::string version = message(load("other_version"));
  EXPECT_NE(version.find("was built for version 2 of the plugin API, this is 1: build it again"), std::string::npos)
      << version;
  EXPECT_TRUE(host_->loaded().empty());
  ASSERT_TRUE(load("throws", "end").has_value());
  testing::internal::CaptureStderr();
  host_->unload_all();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "panda: plugin throws: uninit_plugin failed: thrown at the end\n");
  EXPECT_TRUE(host_->loaded().empty());
}

TEST_P(PluginApiTest, TwoPluginsOfOneNameAndOnePluginTwice) {
  const std::string folder = testing::TempDir() + "panda_twins_" + std::to_string(getpid());
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  const std::string twin = folder + "/panda_counter.so";
  ASSERT_TRUE(std::filesystem::copy_file(built("old_style"), twin));
  ASSERT_TRUE(load("counter", "blocks").has_value());
  EXPECT_EQ(message(host_->load(twin, {})),
            "plugin counter: " + twin + " cannot be loaded: another plugin of that name is, from " + built("counter"));
  EXPECT_EQ(host_->monitor_load(twin, ""), message(host_->load(twin, {})) + "\n");
  testing::internal::CaptureStderr();
  ASSERT_TRUE(host_->add_plugins(built("counter")).has_value());
  EXPECT_TRUE(host_->load_all().has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "panda: plugin counter: is loaded already: it is not loaded a second time\n");
  EXPECT_EQ(host_->loaded().size(), 1u);
  std::filesystem::remove_all(folder);
}

TEST_P(PluginApiTest, ArgumentsForNobodyAreSaid) {
  ASSERT_TRUE(host_->add_argument("conuter:blocks").has_value());
  testing::internal::CaptureStderr();
  ASSERT_TRUE(host_->load_all().has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "panda: plugins: there are arguments for conuter, which is not loaded (yet)\n");
}

TEST_P(PluginApiTest, ThereIsNoLimitOnPlugins) {
  const std::string folder = testing::TempDir() + "panda_many_" + std::to_string(getpid());
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  constexpr int kMany = 40;  // more than the 16 there used to be
  for (int i = 0; i < kMany; i++) {
    const std::string file = folder + "/panda_many" + std::to_string(i) + ".so";
    ASSERT_TRUE(std::filesystem::copy_file(built("old_style"), file));
    ASSERT_TRUE(host_->load(file, {}).has_value());
  }
  EXPECT_EQ(host_->loaded().size(), static_cast<size_t>(kMany));
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  for (int i = 0; i < kMany; i++) EXPECT_EQ(variable<int>("many" + std::to_string(i), "old_style_blocks"), 101);
  host_->unload_all();
  std::filesystem::remove_all(folder);
}

TEST_P(PluginApiTest, ListsPluginsAndTheirArguments) {
  setenv("PANDA_PLUGIN_DIR", PANDA_TEST_PLUGINS, 1);
  ASSERT_TRUE(host_->add_plugins("help;nonsense:help;" + built("counter") + ":blocks,help").has_value());
  const Result<std::string> text = host_->show_help();
  unsetenv("PANDA_PLUGIN_DIR");
  ASSERT_TRUE(text.has_value()) << text.error().message;
  EXPECT_NE(text->find("  counter                  " + built("counter") + "\n"), std::string::npos) << *text;
  EXPECT_NE(text->find("Arguments of the plugin nonsense:\n"
                       "  fail                 bool    default false          gives up\n"),
            std::string::npos)
      << *text;
  EXPECT_NE(text->find("Arguments of the plugin counter:\n"
                       "  blocks               bool    default false          count blocks\n"
                       "  insns                bool    default false\n"),
            std::string::npos)
      << *text;
  EXPECT_NE(text->find("  invalidate           number  default 0              times\n"), std::string::npos) << *text;
  EXPECT_TRUE(host_->loaded().empty());
  EXPECT_EQ(host_->monitor_load(built("old_style"), "help"), "The plugin old_style has no arguments.\n");
  EXPECT_NE(host_->monitor_load(built("modern"), "help").find("  small                number  default 7 "),
            std::string::npos);
}

// ---- every function

TEST_P(PluginApiTest, WhatTheFunctionsDo) {
  ASSERT_TRUE(load("functions").has_value());
  testing::internal::CaptureStderr();
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_GT(variable<uint64_t>("functions", "functions_checks"), 1000u);
  EXPECT_EQ(variable<uint64_t>("functions", "functions_wrong"), 0u) << said;
  EXPECT_NE(said.find("panda: plugin functions: LLVM lifting is not in this version\n"), std::string::npos) << said;
}

// A plugin is loaded with all its symbols bound: one that is declared and not there would be found out late.
TEST(PluginHeaders, WhatTheyDeclareIsThere) {
  const std::regex prototype(R"(^(?!static|typedef|return|#| )[\w\s\*\(\),]*?\b(\w+)\(.*\)( __attribute__.*)?;)");
  size_t seen = 0;
  for (const char* header :
       {"plugin.h", "common.h", "panda_api.h", "checkpoint.h", "rr/rr_api.h", "rr/rr_log.h", "plog-cc-bridge.h"}) {
    std::ifstream in(std::string(PANDA_TEST_HEADERS) + "/" + header);
    std::string line;
    size_t here = 0;
    while (std::getline(in, line)) {
      std::smatch found;
      if (!std::regex_search(line, found, prototype)) continue;
      const std::string name = found[1];
      if (name == "__attribute__" || name == "panda_plugin_target" || name == "panda_plugin_api_version")
        continue;  // the plugins'
      EXPECT_NE(dlsym(RTLD_DEFAULT, name.c_str()), nullptr) << header << ": " << name;
      here++;
    }
    EXPECT_GT(here, 4u) << header;
    seen += here;
  }
  EXPECT_GT(seen, 150u);
}

// The other way round: what plugins of any generation call is declared, and in the program.
TEST(PluginHeaders, HaveWhatPluginsCall) {
  std::string headers;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(PANDA_TEST_HEADERS)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    headers.append(std::istreambuf_iterator<char>(in), {});
  }
  std::ifstream list(PANDA_TEST_API_NAMES);
  std::string line;
  size_t exported = 0, others = 0;
  while (std::getline(list, line)) {
    if (line.empty() || line[0] == '#') continue;
    const std::string name = line.substr(0, line.find(' ')), where = line.substr(name.size() + 1);
    EXPECT_TRUE(std::regex_search(headers, std::regex("\\b" + name + "\\b *\\("))) << name << " is not declared";
    if (where == "exported") {
      EXPECT_NE(dlsym(RTLD_DEFAULT, name.c_str()), nullptr) << name << " is not in the program";
      exported++;
    } else {
      EXPECT_EQ(where, "header") << line;
      others++;
    }
  }
  EXPECT_GT(exported, 140u);
  EXPECT_GT(others, 30u);
}

// ---- the C++ layer

struct ModernCounts {  // modern.cpp's
  uint64_t blocks, icount, once, events, scoped, destroyed, memory;
};

TEST_P(PluginApiTest, TheCppLayerRegistersLambdas) {
  const std::string file = testing::TempDir() + "panda_modern_" + std::to_string(getpid());
  ASSERT_TRUE(load("offers").has_value());
  ASSERT_TRUE(load("modern", "listen,times=3,file=" + file).has_value());
  machine_->run(1'000'000);
  auto& counts = variable<ModernCounts>("modern", "modern_counts");
  EXPECT_EQ(counts.blocks, 101u);
  EXPECT_EQ(counts.icount, machine_->engine->count().value);
  EXPECT_EQ(counts.memory, 101u);
  EXPECT_EQ(counts.once, 3u) << "removed itself in the third";
  EXPECT_EQ(counts.scoped, 5u) << "disabled in the fifth";
  EXPECT_EQ(counts.events, 101u);
  EXPECT_EQ(host_->monitor_command("modern"), "here\n");
  testing::internal::CaptureStderr();
  host_->unload_all();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, "101 blocks");
  unlink(file.c_str());
}

TEST_P(PluginApiTest, TheCppLayerSaysWhyItDoesNotLoad) {
  EXPECT_EQ(message(load("modern", "refuse")), "plugin modern: no work today");
  EXPECT_EQ(message(load("modern", "badfile")),
            "plugin modern: cannot write /no/such/folder/file: No such file or directory");
  EXPECT_EQ(message(load("modern", "small=65536")), "plugin modern: the argument 'small' is too large");
  EXPECT_EQ(message(load("modern", "times=x,refuse")), "plugin modern: the argument 'times=x' is not a valid number")
      << "arguments come first";
  EXPECT_EQ(message(load("modern", "must")), "plugin modern: the argument 'missing' is required (what is missing)");
  EXPECT_TRUE(host_->loaded().empty());
  ASSERT_TRUE(load("modern", "throw").has_value());
  testing::internal::CaptureStderr();
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(
      testing::internal::GetCapturedStderr(),
      "panda: plugin modern: its callback BEFORE_BLOCK_EXEC failed: an exception: thrown; the plugin is disabled\n");
}

TEST_P(PluginApiTest, APluginThatThrowsIsDisabledAndTheGuestGoesOn) {
  ASSERT_TRUE(load("new_style", "throw").has_value());
  testing::internal::CaptureStderr();
  EXPECT_EQ(machine_->run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[0], 5050u);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(
                "plugin new_style: its callback BEFORE_BLOCK_EXEC failed: an exception that is not"),
            std::string::npos);
}

TEST_P(PluginApiTest, TheDocumentsPluginLoadsAndWritesItsFile) {
#ifndef PANDA_TEST_CASE_STUDY
  GTEST_SKIP() << "the document is not here: configure with -DPANDA_CASE_STUDY=FILE";
#else
  const std::string folder = testing::TempDir() + "panda_case_" + std::to_string(getpid());
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  ASSERT_EQ(chdir(folder.c_str()), 0);
  ASSERT_TRUE(load("case_study").has_value());
  EXPECT_EQ(host_->registry().plugins_of(PANDA_CB_INSN_EXEC).size(), 1u);
  host_->unload_all();
  EXPECT_EQ(access("syscalls.txt", R_OK), 0);
  unlink("syscalls.txt");
  ASSERT_EQ(chdir("/"), 0);
  rmdir(folder.c_str());
#endif
}

INSTANTIATE_TEST_SUITE_P(Backends, PluginApiTest, testing::ValuesIn(toy::backends()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace panda::plugin
