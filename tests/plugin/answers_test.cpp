// What a plugin answers decides: exceptions and interrupts dropped and changed, an address space kept, a hypercall
// handled, registers written, one instruction instrumented of many. On both back ends, in a guest program
// (tests/x86/guest).
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "guest/x86/state.h"
#include "guest_machine.h"
#include "plugin/api_bridge.h"
#include "plugin/plugin_host.h"

namespace panda::plugin {
namespace {

using x86test::BackendKind;
using x86test::GuestMachine;
using Log = std::vector<uint32_t>;

struct Seen {
  Log exceptions, interrupts, asked, second;
  uint64_t asid = 0, insns = 0;
  Log done;
} g_seen;

int32_t on_exception(x86::State* env, int32_t vector) {
  g_seen.exceptions.push_back(static_cast<uint32_t>(vector));
  if (vector == 6) {
    env->eip += 2;  // UD2 has two bytes: else it would be run again
    return -1;
  }
  return vector == 3 ? -1 : vector == 0 ? 6 : vector;
}
// Asked only where the first leaves things as they are.
int32_t second_opinion(x86::State*, int32_t vector) {
  g_seen.second.push_back(static_cast<uint32_t>(vector));
  return vector;
}
int32_t on_interrupt(x86::State*, int32_t vector) {
  g_seen.interrupts.push_back(static_cast<uint32_t>(vector));
  return g_seen.interrupts.size() == 1 ? -1 : 0x41;
}
bool on_asid(x86::State*, uint64_t, uint64_t) { return ++g_seen.asid == 1; }
bool on_hypercall(x86::State* env) {
  g_seen.asked.push_back(static_cast<uint32_t>(env->regs64[R_EAX]));
  env->regs64[R_EAX] = 0x600d;
  env->regs64[R_EBX] = 0x600e;
  return true;
}
bool is_marker(uint64_t pc) {
  std::array<uint8_t, 2> bytes{};
  return api::read_virtual(pc, bytes.data(), bytes.size()) && bytes[0] == 0x87 && bytes[1] == 0xdb;
}
bool asks(x86::State*, uint64_t pc) { return is_marker(pc); }
int before_marker(x86::State* env, uint64_t pc) {
  EXPECT_TRUE(is_marker(pc));
  EXPECT_EQ(env->regs64[R_EAX], 1u);
  EXPECT_EQ(env->eip, pc);
  g_seen.insns++;
  env->regs64[R_EAX] = 0x70;
  return 0;
}
int after_marker(x86::State* env, uint64_t) {
  g_seen.done.push_back(static_cast<uint32_t>(env->regs64[R_EAX]));
  env->regs64[R_EAX] += 6;
  return 0;
}

class AnswersTest : public testing::TestWithParam<BackendKind> {
 protected:
  // The log of the program, in slices of `step` instructions.
  Log run(bool with_plugin, uint64_t step) {
    g_seen = {};
    GuestMachine machine("answers", GetParam());
    auto host = PluginHost::create(
        {.engine = &machine.engine(), .arch = "x86_64", .executable_dir = "", .library_dir = "", .hooks = {}});
    EXPECT_TRUE(host.has_value());
    Plugin plugin{.name = "answers", .path = "", .handle = this};
    const auto on = [&](unsigned type, auto* function) {
      (*host)->registry().add(type, {.plugin = &plugin, .function = reinterpret_cast<void*>(function)});
    };
    if (with_plugin) {
      on(PANDA_CB_BEFORE_HANDLE_EXCEPTION, on_exception);
      on(PANDA_CB_BEFORE_HANDLE_EXCEPTION, second_opinion);
      on(PANDA_CB_BEFORE_HANDLE_INTERRUPT, on_interrupt);
      on(PANDA_CB_ASID_CHANGED, on_asid);
      on(PANDA_CB_GUEST_HYPERCALL, on_hypercall);
      on(PANDA_CB_INSN_TRANSLATE, asks);
      on(PANDA_CB_INSN_EXEC, before_marker);
      on(PANDA_CB_AFTER_INSN_TRANSLATE, asks);
      on(PANDA_CB_AFTER_INSN_EXEC, after_marker);
    }
    machine.run(step);
    EXPECT_TRUE(machine.ended() && !machine.shut_down());
    (*host)->registry().remove_all(&plugin);
    return machine.log();
  }
};

TEST_P(AnswersTest, DecideWhatTheGuestSees) {
  for (const uint64_t step : {0, 1, 7}) {
    const Log alone = run(false, step);
    EXPECT_EQ(Log(alone.begin(), alone.begin() + 12),
              (Log{0xe6, 0x1000, 0xe3, 0x1001, 0xe0, 0x1002, 0xe40, 0x1003, 0xe40, 0x1004, 0x5000, 0x5000}));
    EXPECT_EQ(alone.back(), 2u);
    EXPECT_EQ(run(true, step),
              (Log{0x1000, 0x1001, 0xe6, 0x1002, 0x1003, 0xe41, 0x1004, 0, 0x5000, 0x600d, 0x600e, 0x77}))
        << step;
    EXPECT_EQ(g_seen.exceptions, (Log{6, 3, 0}));
    EXPECT_EQ(g_seen.second, Log());
    EXPECT_EQ(g_seen.interrupts, (Log{0x40, 0x40}));
    EXPECT_EQ(g_seen.asid, 2u);
    EXPECT_EQ(g_seen.asked, Log{0x80001234});
    EXPECT_EQ(g_seen.insns, 1u);
    EXPECT_EQ(g_seen.done, Log{0x70});
  }
}

INSTANTIATE_TEST_SUITE_P(BackEnds, AnswersTest, testing::Values(BackendKind::Interpreter, BackendKind::Jit),
                         [](const auto& kind) { return kind.param == BackendKind::Jit ? "jit" : "interpreter"; });

}  // namespace
}  // namespace panda::plugin
