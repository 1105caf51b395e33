// A plugin that writes guest code, the running block's included: what runs next is what is in memory then, each event
// is told once all the same, and a recording of it replays, without the plugin and with it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "plugin/api_bridge.h"
#include "plugin/crossing_callbacks.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "snapshot/digest.h"
#include "snapshot/fake_line_for_test.h"
#include "snapshot/snapshot.h"
#include "toy_machine.h"
#include "toy_target.h"

namespace panda::plugin {
namespace {

using toy::Insn;

// Rounds of one block: counts in r3, r4, r5, and down in r1. The counting instructions are the first three.
constexpr uint32_t kTop = 4, kRounds = 50, kInsns = 5;
std::vector<uint8_t> program() {
  toy::Assembler a;
  a.emit(Insn::li, 1, 0, kRounds);
  for (unsigned reg : {3u, 4u, 5u}) a.emit(Insn::addi, reg, reg, 1);
  a.emit(Insn::addi, 1, 1, 0xffff);
  a.branch(Insn::bne, 1, 2, kTop);
  a.emit(Insn::halt);
  return a.bytes();
}

// At which callback the plugin writes, at which instruction (0 to 4) of which round, and which one it changes.
struct Case {
  unsigned type;
  uint32_t at, changes;
  const char* name;
};
constexpr uint64_t kRound = 20;

struct Seen {
  uint64_t before, after, insns, insns_done, wrong, writes;
  const TranslationBlock* open;
};
Seen g_seen;
Case g_case;
bool g_twice;  // changed back two rounds later

// The count at which instruction `at` of a round is about to run.
uint64_t count_of(uint64_t round, uint32_t at) { return 1 + round * kInsns + at; }

void consider(unsigned type, uint64_t pc, uint64_t count) {
  if (type != g_case.type || pc != kTop + 4 * g_case.at) return;
  const bool after =
      type == PANDA_CB_AFTER_INSN_EXEC || type == PANDA_CB_AFTER_BLOCK_EXEC || type == PANDA_CB_END_BLOCK_EXEC;
  for (const auto& [round, step] : {std::pair{kRound, 100u}, std::pair{kRound + 2, 1u}}) {
    if (count != count_of(round, g_case.at) + (after ? 1 : 0) || (step == 1 && !g_twice)) continue;
    const unsigned reg = 3 + g_case.changes;
    const uint32_t insn = toy::Assembler::encode(Insn::addi, reg, reg, step);
    g_seen.writes += api::write_physical(kTop + 4 * g_case.changes, &insn, sizeof insn) ? 1 : 0;
  }
}

void on_before(const toy::State* s, TranslationBlock* tb) {
  g_seen.before++;
  g_seen.wrong += g_seen.open != nullptr ? 1 : 0;
  g_seen.open = tb;
  consider(PANDA_CB_BEFORE_BLOCK_EXEC, tb->pc, s->plugin_view.count);
}
bool on_invalidate(const toy::State* s, TranslationBlock* tb) {
  consider(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, tb->pc, s->plugin_view.count);
  return false;
}
void on_after(const toy::State* s, TranslationBlock* tb, uint8_t) {
  g_seen.after++;
  g_seen.wrong += g_seen.open != tb ? 1 : 0;
  g_seen.open = nullptr;
  consider(PANDA_CB_AFTER_BLOCK_EXEC, s->plugin_view.pc, s->plugin_view.count);
}
bool yes(void*, uint64_t) { return true; }
int on_insn(const toy::State* s, uint64_t pc) {
  g_seen.insns++;
  g_seen.wrong += s->plugin_view.count != g_seen.insns - 1 ? 1 : 0;
  consider(PANDA_CB_INSN_EXEC, pc, s->plugin_view.count);
  return 0;
}
int on_insn_done(const toy::State* s, uint64_t pc) {
  g_seen.insns_done++;
  consider(PANDA_CB_AFTER_INSN_EXEC, pc, s->plugin_view.count);
  return 0;
}

class CodeChangeTest : public testing::TestWithParam<toy::BackendFactory> {
 protected:
  void start(const std::vector<uint8_t>& code, RrMode mode, bool with_plugin) {
    host_.reset();
    machine_ = std::make_unique<toy::Machine>(GetParam(), code);
    MachineHooks hooks;
    hooks.rr_mode = [mode] { return mode; };
    hooks.plugin_writes = [this](std::optional<InsnCount> at) {
      if (recorder_) recorder_->plugin_writes(at);
    };
    auto host = create_toy_host(*machine_, hooks);
    ASSERT_TRUE(host.has_value());
    host_ = std::move(*host);
    g_seen = {};
    if (!with_plugin) return;
    const auto add = [&](unsigned type, auto* function) {
      host_->registry().add(type, {.plugin = &plugin_, .function = reinterpret_cast<void*>(function)});
    };
    add(PANDA_CB_BEFORE_BLOCK_EXEC, on_before);
    add(PANDA_CB_AFTER_BLOCK_EXEC, on_after);
    add(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, on_invalidate);
    add(PANDA_CB_INSN_TRANSLATE, yes);
    add(PANDA_CB_AFTER_INSN_TRANSLATE, yes);
    add(PANDA_CB_INSN_EXEC, on_insn);
    add(PANDA_CB_AFTER_INSN_EXEC, on_insn_done);
  }

  snapshot::StateDigest record(const std::string& name) {
    start(program(), RrMode::Record, true);
    auto recorder = replay::Recorder::begin(name, machine_->outside, replay::Line::of(*machine_->engine),
                                            {"toy",
                                             "",
                                             "",
                                             machine_->memory->size_bytes(),
                                             {machine_->memory->ranges().begin(), machine_->memory->ranges().end()}});
    EXPECT_TRUE(recorder.has_value()) << recorder.error().message;
    recorder_ = std::move(*recorder);
    machine_->engine->set_outside(*recorder_);
    EXPECT_EQ(machine_->run(1000), exec::StopReason::IdleForever);
    EXPECT_TRUE(recorder_->end(replay::EndReason::Requested).has_value());
    const snapshot::StateDigest digest = recorder_->final_digest();
    machine_->engine->set_outside(machine_->outside);
    recorder_.reset();
    return digest;
  }

  void replay_it(const std::string& name, bool with_plugin, const snapshot::StateDigest& expected) {
    start({}, RrMode::Replay, with_plugin);
    auto reader = snapshot::SnapshotReader::open(replay::snapshot_path(name));
    ASSERT_TRUE(reader.has_value());
    auto cpu = reader->load(*machine_->memory);
    ASSERT_TRUE(cpu.has_value() && machine_->frontend.load_state(machine_->engine->cpu(), *cpu));
    machine_->engine->set_count(reader->header().count);
    auto log = replay::LogReader::open(replay::log_path(name));
    ASSERT_TRUE(log.has_value());
    replay::Replayer replayer(std::move(*log), replay::Line::of(*machine_->engine));
    machine_->engine->set_outside(replayer);
    if (machine_->run(~uint64_t{0}) == exec::StopReason::IdleForever) replayer.cpu_stopped("it waits");
    EXPECT_EQ(replayer.outcome(), replay::Outcome::Completed) << replayer.report();
    EXPECT_EQ(replayer.final_digest(), expected);
    machine_->engine->set_outside(machine_->outside);
  }

  // What the counter of the changed instruction must be: those at or behind the write's count are the new one.
  void expect_counts(const Case& c, bool twice) {
    const bool after = c.type == PANDA_CB_AFTER_INSN_EXEC || c.type == PANDA_CB_AFTER_BLOCK_EXEC;
    uint32_t expected = 0;
    for (uint64_t round = 0; round < kRounds; round++) {
      const uint64_t here = count_of(round, c.changes);
      const auto written = [&](uint64_t in) { return here >= count_of(in, c.at) + (after ? 1 : 0); };
      expected += written(kRound) && !(twice && written(kRound + 2)) ? 100 : 1;
    }
    for (unsigned i = 0; i < 3; i++) EXPECT_EQ(machine_->state().regs[3 + i], i == c.changes ? expected : kRounds) << i;
  }
  void expect_all_told_once() {
    const uint64_t total = machine_->engine->count().value;
    EXPECT_EQ(g_seen.insns, total);
    EXPECT_EQ(g_seen.insns_done, total);
    EXPECT_EQ(g_seen.before, g_seen.after);
    EXPECT_EQ(g_seen.wrong, 0u);
  }
  void TearDown() override { host_.reset(); }

  std::unique_ptr<toy::Machine> machine_;
  std::unique_ptr<replay::Recorder> recorder_;
  std::unique_ptr<PluginHost> host_;
  Plugin plugin_{.name = "changer", .path = "", .handle = this};
};

constexpr Case kCases[] = {
    {PANDA_CB_BEFORE_BLOCK_EXEC, 0, 0, "before the block, its first"},
    {PANDA_CB_BEFORE_BLOCK_EXEC, 0, 2, "before the block, its third"},
    {PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, 0, 1, "before the block, asked to invalidate"},
    {PANDA_CB_INSN_EXEC, 0, 0, "the first, itself"},
    {PANDA_CB_INSN_EXEC, 1, 0, "the second, what ran"},
    {PANDA_CB_INSN_EXEC, 1, 1, "the second, itself"},
    {PANDA_CB_INSN_EXEC, 1, 2, "the second, what comes"},
    {PANDA_CB_INSN_EXEC, 4, 0, "the branch, what it leads to"},
    {PANDA_CB_AFTER_INSN_EXEC, 0, 1, "after the first, the next"},
    {PANDA_CB_AFTER_INSN_EXEC, 1, 1, "after the second, itself"},
    {PANDA_CB_AFTER_INSN_EXEC, 4, 0, "after the branch, what it leads to"},
    {PANDA_CB_AFTER_BLOCK_EXEC, 4, 0, "after the block, the next"},
};

TEST_P(CodeChangeTest, TakesEffectAtOnceAndReplays) {
  snapshot::TemporaryDirectory directory;
  unsigned recordings = 0;
  for (const bool twice : {false, true}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(std::string(c.name) + (twice ? ", and back" : ""));
      const std::string name = directory / fmt::format("r{}", recordings++);
      g_case = c;
      g_twice = twice;
      const snapshot::StateDigest digest = record(name);
      EXPECT_EQ(g_seen.writes, twice ? 2u : 1u);
      expect_counts(c, twice);
      expect_all_told_once();
      replay_it(name, false, digest);
      expect_counts(c, twice);
      testing::internal::CaptureStderr();
      replay_it(name, true, digest);
      EXPECT_NE(testing::internal::GetCapturedStderr().find("plugin changer: it writes guest memory in a replay"),
                std::string::npos);
      expect_counts(c, twice);
      expect_all_told_once();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Toy, CodeChangeTest, testing::ValuesIn(toy::backends()),
                         [](const auto& factory) { return factory.param.name; });

}  // namespace
}  // namespace panda::plugin
