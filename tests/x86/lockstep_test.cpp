// Every guest program in lockstep on both back ends, and in slices of every small size: states must
// agree after each instruction and at the end.
#include <gtest/gtest.h>

#include "guest_machine.h"

namespace panda::x86test {
namespace {

class LockstepTest : public testing::TestWithParam<const char*> {};

TEST_P(LockstepTest, BackEndsAgreeAfterEachInstruction) {
  GuestMachine a(GetParam(), BackendKind::Interpreter), b(GetParam(), BackendKind::Jit);
  constexpr uint64_t kInsns = 20'000;
  while (!a.ended() && a.count() < kInsns) {
    a.advance(1);
    b.advance(1);
    ASSERT_EQ(a.count(), b.count());
    ASSERT_EQ(a.cpu_state(), b.cpu_state()) << "after " << a.count() << " instructions\n"
                                            << a.describe() << b.describe();
  }
  EXPECT_EQ(a.log(), b.log());
  EXPECT_EQ(a.ram(), b.ram());
}

TEST_P(LockstepTest, SlicesDoNotMatter) {
  GuestMachine whole(GetParam(), BackendKind::Jit);
  whole.run();
  ASSERT_TRUE(whole.ended());
  for (const uint64_t step : {1, 2, 3, 5, 7, 11, 16, 50, 333}) {
    for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
      GuestMachine sliced(GetParam(), kind);
      sliced.run(step);
      EXPECT_EQ(whole.count(), sliced.count()) << "slices of " << step;
      EXPECT_EQ(whole.cpu_state(), sliced.cpu_state()) << "slices of " << step << "\n"
                                                       << whole.describe() << sliced.describe();
      EXPECT_EQ(whole.log(), sliced.log()) << "slices of " << step;
      EXPECT_TRUE(whole.ram() == sliced.ram()) << "slices of " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(X86, LockstepTest,
                         testing::Values("debug", "faults", "fpu", "long", "random", "rings", "segments", "smc",
                                         "strings", "tasks", "traps", "virtual"),
                         [](const auto& program) { return std::string(program.param); });

}  // namespace
}  // namespace panda::x86test
