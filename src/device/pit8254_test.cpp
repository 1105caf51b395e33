#include "device/pit8254.h"

#include <gtest/gtest.h>

#include <vector>

namespace panda::device {
namespace {

constexpr uint64_t kNs = 1'000'000'000;
// The first nanosecond at which `ticks` CLK periods are over.
constexpr uint64_t after(uint64_t ticks) { return (ticks * kNs + kPitHz - 1) / kPitHz; }

struct PitTest : testing::Test {
  Timers timers;
  bool line = false;
  std::vector<uint64_t> rises;
  Pit8254 pit{IrqLine([this](bool level) {
                if (level && !line) rises.push_back(timers.now().value);
                line = level;
              }),
              timers};

  void out(uint16_t port, uint32_t value) { pit.port_write(port, 1, value); }
  uint32_t in(uint16_t port) { return pit.port_read(port, 1); }
  void program(unsigned channel, unsigned mode, unsigned count) {
    out(0x43, channel << 6 | 0x30 | mode << 1);
    out(static_cast<uint16_t>(0x40 + channel), count & 0xff);
    out(static_cast<uint16_t>(0x40 + channel), count >> 8);
  }
  unsigned latched(unsigned channel) {
    out(0x43, channel << 6);
    const auto port = static_cast<uint16_t>(0x40 + channel);
    const unsigned low = in(port);
    return low | in(port) << 8;
  }
  void go_to(uint64_t ns) {
    while (const auto next = timers.next_deadline()) {
      if (next->value > ns) break;
      timers.set_now(*next);
      timers.run_due();
    }
    timers.set_now(VirtualNs(ns));
  }
};

TEST_F(PitTest, Mode0InterruptsOnceAtTerminalCount) {
  program(0, 0, 1000);
  rises.clear();
  EXPECT_FALSE(line);
  EXPECT_EQ(latched(0), 1000u);
  go_to(after(400));
  EXPECT_EQ(latched(0), 600u);
  go_to(after(5000));
  EXPECT_EQ(rises, std::vector<uint64_t>{after(1000)});
  EXPECT_EQ(latched(0), 65536u - 4000u);  // goes on below zero
}

TEST_F(PitTest, Mode2IsPeriodicWithoutDrift) {
  program(0, 2, 4773);  // 250 Hz
  rises.clear();
  go_to(after(4773 * 1000));
  ASSERT_EQ(rises.size(), 1000u);
  for (size_t i = 0; i < rises.size(); ++i) ASSERT_EQ(rises[i], after(4773 * (i + 1)));
  go_to(after(4773 * 1000 + 73));
  EXPECT_EQ(latched(0), 4700u);
}

TEST_F(PitTest, AJumpOverManyPeriodsMakesOneEdge) {
  program(0, 2, 1000);
  rises.clear();
  timers.set_now(VirtualNs(after(1000 * 50) + 10));
  timers.run_due();
  EXPECT_EQ(rises.size(), 1u);
  EXPECT_EQ(timers.next_deadline()->value, after(1000 * 51));
}

TEST_F(PitTest, Mode2TakesANewCountAtTheEndOfThePeriod) {
  program(0, 2, 1000);
  rises.clear();
  go_to(after(300));
  out(0x40, 200), out(0x40, 0);
  go_to(after(1390));
  ASSERT_EQ(rises.size(), 2u);
  EXPECT_EQ(rises[0], after(1000));
  EXPECT_NEAR(static_cast<double>(rises[1]), static_cast<double>(after(1200)), 2);
}

TEST_F(PitTest, Mode3IsASquareWave) {
  program(0, 3, 1001);
  rises.clear();
  EXPECT_TRUE(pit.output(0));
  go_to(after(500));
  EXPECT_TRUE(pit.output(0));
  go_to(after(501));
  EXPECT_FALSE(pit.output(0));
  EXPECT_EQ(latched(0), 1000u);  // starts again in the second half
  go_to(after(511));
  EXPECT_EQ(latched(0), 980u);
  go_to(after(1001));
  EXPECT_TRUE(pit.output(0));
  EXPECT_EQ(rises.size(), 1u);
}

TEST_F(PitTest, Modes4And5StrobeLowForOneClock) {
  program(0, 4, 100);
  go_to(after(99));
  EXPECT_TRUE(pit.output(0));
  go_to(after(100));
  EXPECT_FALSE(pit.output(0));
  go_to(after(101));
  EXPECT_TRUE(pit.output(0));

  program(2, 5, 100);  // waits for its gate
  const uint64_t start = timers.now().value + 1000;
  go_to(start);
  out(0x61, 1);
  go_to(start + after(100));
  EXPECT_FALSE(pit.output(2));
}

TEST_F(PitTest, Channel2OneShotAndGate) {
  out(0x61, 0);
  program(2, 1, 500);
  EXPECT_EQ(in(0x61) & 0x20, 0x20u);
  out(0x61, 1);  // trigger
  EXPECT_EQ(in(0x61) & 0x21, 0x01u);
  go_to(after(500));
  EXPECT_EQ(in(0x61) & 0x20, 0x20u);

  // Mode 0: the gate holds the count. This is how Linux measures the TSC.
  const uint64_t start = timers.now().value;
  program(2, 0, 0);
  go_to(start + after(100));
  EXPECT_EQ(latched(2), 65436u);
  out(0x61, 0);
  go_to(start + after(1000));
  EXPECT_EQ(latched(2), 65436u);
  out(0x61, 1);
  go_to(start + after(1100));
  EXPECT_NEAR(latched(2), 65336u, 1);
}

TEST_F(PitTest, ReadBackLatchesCountAndStatus) {
  program(0, 2, 0x1234);
  out(0x43, 0xc2);  // count and status of channel 0
  go_to(after(100));
  EXPECT_EQ(in(0x40), 0xb4u);  // output high, low and high byte, mode 2
  EXPECT_EQ(in(0x40), 0x34u);
  EXPECT_EQ(in(0x40), 0x12u);
  EXPECT_EQ(in(0x40), 0xd0u);  // not latched any more: 0x1234 - 100
}

TEST_F(PitTest, Bcd) {
  out(0x43, 0x31);
  out(0x40, 0x00), out(0x40, 0x10);  // 1000
  go_to(after(1));
  EXPECT_EQ(latched(0), 0x0999u);
}

TEST_F(PitTest, RefreshBitToggles) {
  const uint32_t first = in(0x61) & 0x10;
  go_to(15'085);
  EXPECT_NE(in(0x61) & 0x10, first);
}

}  // namespace
}  // namespace panda::device
