#include "device/rtc_mc146818.h"

#include <gtest/gtest.h>

namespace panda::device {
namespace {

constexpr uint64_t kNs = 1'000'000'000;

struct RtcTest : testing::Test {
  Timers timers;
  bool irq = false;
  // 2023-12-31T23:59:58, a Sunday.
  Rtc rtc{IrqLine([this](bool level) { irq = level; }), timers, 1'704'067'198, uint64_t{3} << 30, uint64_t{1} << 30};

  uint32_t read(unsigned index) {
    rtc.port_write(0x70, 1, index);
    return rtc.port_read(0x71, 1);
  }
  void write(unsigned index, uint32_t value) {
    rtc.port_write(0x70, 1, index);
    rtc.port_write(0x71, 1, value);
  }
  void go_to(uint64_t ns) {
    timers.set_now(VirtualNs(ns));
    timers.run_due();
  }
  void expect_date(unsigned century, unsigned year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                   unsigned second) {
    EXPECT_EQ(read(0x32), century);
    EXPECT_EQ(read(9), year);
    EXPECT_EQ(read(8), month);
    EXPECT_EQ(read(7), day);
    EXPECT_EQ(read(4), hour);
    EXPECT_EQ(read(2), minute);
    EXPECT_EQ(read(0), second);
  }
};

TEST_F(RtcTest, RunsInBcd) {
  expect_date(0x20, 0x23, 0x12, 0x31, 0x23, 0x59, 0x58);
  EXPECT_EQ(read(6), 1u);
  go_to(2 * kNs);
  expect_date(0x20, 0x24, 0x01, 0x01, 0x00, 0x00, 0x00);
  EXPECT_EQ(read(6), 2u);
}

TEST_F(RtcTest, BinaryAndTwelveHours) {
  write(0x0b, 0x04);
  EXPECT_EQ(read(9), 23u);
  EXPECT_EQ(read(4), 0x8bu);  // 11 p.m.
  go_to(2 * kNs);
  EXPECT_EQ(read(4), 12u);  // midnight
}

TEST_F(RtcTest, UpdateInProgressBeforeTheSecondEnds) {
  EXPECT_EQ(read(0x0a) & 0x80, 0u);
  go_to(kNs - 100'000);
  EXPECT_EQ(read(0x0a) & 0x80, 0x80u);
  go_to(kNs);
  EXPECT_EQ(read(0x0a) & 0x80, 0u);
}

TEST_F(RtcTest, IsSetByTheGuest) {
  write(0x0b, 0x82);
  go_to(5 * kNs);
  EXPECT_EQ(read(0), 0x58u);  // stopped
  write(0x32, 0x20), write(9, 0x00), write(8, 0x02), write(7, 0x28), write(4, 0x23), write(2, 0x59), write(0, 0x59);
  write(0x0b, 0x02);
  expect_date(0x20, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59);
  go_to(6 * kNs);
  expect_date(0x20, 0x00, 0x02, 0x29, 0x00, 0x00, 0x00);  // 2000 was a leap year
}

TEST_F(RtcTest, PeriodicInterrupt) {
  write(0x0b, 0x42);  // rate 6: 1024 Hz
  const uint64_t period = kNs / 1024;
  EXPECT_NEAR(static_cast<double>(timers.next_deadline()->value), static_cast<double>(period), 1);
  go_to(period + 1);
  EXPECT_TRUE(irq);
  EXPECT_EQ(read(0x0c) & 0xc0, 0xc0u);
  EXPECT_FALSE(irq);
  EXPECT_EQ(read(0x0c), 0u);
  go_to(10 * period);  // several passed: one interrupt
  EXPECT_TRUE(irq);
  read(0x0c);
  EXPECT_GT(timers.next_deadline()->value, timers.now().value);
}

TEST_F(RtcTest, AlarmAndUpdateInterrupts) {
  write(5, 0xff), write(3, 0x00), write(1, 0x05);  // at minute 0, second 5, any hour
  write(0x0b, 0x22);
  go_to(kNs);
  EXPECT_FALSE(irq);
  for (uint64_t s = 2; s <= 7; ++s) go_to(s * kNs);
  EXPECT_TRUE(irq);
  EXPECT_EQ(read(0x0c) & 0xa0, 0xa0u);
  write(0x0b, 0x12);
  go_to(8 * kNs);
  EXPECT_TRUE(irq);
  EXPECT_EQ(read(0x0c), 0xd0u);  // a period passed too: its flag is set, enabled or not
}

TEST_F(RtcTest, MemorySizes) {
  EXPECT_EQ(read(0x15) | read(0x16) << 8, 640u);
  EXPECT_EQ(read(0x17) | read(0x18) << 8, 0xffffu);
  EXPECT_EQ(read(0x34) | read(0x35) << 8, (3072u - 16) * 16);
  EXPECT_EQ(read(0x5b) | read(0x5c) << 8, 16384u);
  EXPECT_EQ(read(0x0d), 0x80u);
}

}  // namespace
}  // namespace panda::device
