#include "device/acpi_pm.h"

#include <gtest/gtest.h>

namespace panda::device {
namespace {

struct AcpiPmTest : testing::Test {
  Timers timers;
  bool sci = false;
  int power_offs = 0;
  AcpiPm pm{0x600, IrqLine([this](bool level) { sci = level; }), timers, [this] { ++power_offs; }};

  void go_to(uint64_t ns) {
    timers.set_now(VirtualNs(ns));
    timers.run_due();
  }
};

TEST_F(AcpiPmTest, TimerRunsAt3579545Hz) {
  go_to(1'000'000'000);
  EXPECT_EQ(pm.port_read(0x608, 4), 3'579'545u);
  EXPECT_EQ(pm.port_read(0x60a, 1), 3'579'545u >> 16);
  go_to(10'000'000'000);
  EXPECT_EQ(pm.port_read(0x608, 4), 35'795'450u & 0xff'ffff);
}

TEST_F(AcpiPmTest, TimerStatusFollowsTheTopBit) {
  pm.port_write(0x602, 2, 1);
  EXPECT_FALSE(sci);
  go_to(timers.next_deadline()->value - 1);
  EXPECT_EQ(pm.port_read(0x608, 4), 0x7f'ffffu);
  EXPECT_FALSE(sci);
  go_to(timers.next_deadline()->value);
  EXPECT_EQ(pm.port_read(0x608, 4), 0x80'0000u);
  EXPECT_TRUE(sci);
  pm.port_write(0x600, 2, 1);
  EXPECT_FALSE(sci);
  EXPECT_EQ(pm.port_read(0x600, 2), 0u);
}

TEST_F(AcpiPmTest, PowerButton) {
  pm.press_power_button();
  EXPECT_FALSE(sci);
  pm.port_write(0x600, 4, 0x0100'0000);  // enable, in one access with the status
  EXPECT_TRUE(sci);
  pm.port_write(0x601, 1, 1);  // clears PWRBTN_STS alone
  EXPECT_FALSE(sci);
}

TEST_F(AcpiPmTest, S5PowersOff) {
  EXPECT_EQ(pm.port_read(0x604, 2), 1u);  // SCI_EN
  pm.port_write(0x604, 2, 5 << 10);
  EXPECT_EQ(power_offs, 0);
  pm.port_write(0x604, 2, 5 << 10 | 1 << 13);
  EXPECT_EQ(power_offs, 1);
  pm.port_write(0x604, 2, 3 << 10 | 1 << 13);
  EXPECT_EQ(power_offs, 1);
}

}  // namespace
}  // namespace panda::device
