#include "device/pic8259.h"

#include <gtest/gtest.h>

namespace panda::device {
namespace {

struct PicTest : testing::Test {
  bool intr = false;
  PicPair pic{IrqLine([this](bool level) { intr = level; })};

  void out(uint16_t port, uint32_t value) { pic.port_write(port, 1, value); }
  uint32_t in(uint16_t port) { return pic.port_read(port, 1); }
  void init(uint32_t icw4 = 1) {
    out(0x20, 0x11), out(0x21, 0x30), out(0x21, 4), out(0x21, icw4);
    out(0xa0, 0x11), out(0xa1, 0x38), out(0xa1, 2), out(0xa1, icw4);
    out(0x21, 0), out(0xa1, 0);
  }
  void pulse(unsigned irq) { pic.set_irq(irq, true), pic.set_irq(irq, false); }
};

TEST_F(PicTest, PriorityAndNesting) {
  init();
  pulse(4);
  pulse(1);
  ASSERT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  EXPECT_FALSE(intr);  // 4 waits for 1
  pulse(0);
  EXPECT_TRUE(intr);  // 0 interrupts it
  EXPECT_EQ(pic.acknowledge(), 0x30);
  out(0x20, 0x0b);
  EXPECT_EQ(in(0x20), 0x03u);
  out(0x20, 0x20);  // ends the highest: 0
  EXPECT_EQ(in(0x20), 0x02u);
  out(0x20, 0x61);  // specific EOI of 1
  EXPECT_EQ(pic.acknowledge(), 0x34);
}

TEST_F(PicTest, SlaveThroughCascade) {
  init();
  pulse(8);
  pulse(15);
  EXPECT_EQ(pic.acknowledge(), 0x38);
  EXPECT_FALSE(intr);
  out(0xa0, 0x20);
  EXPECT_FALSE(intr);  // the master still serves its input 2
  out(0x20, 0x20);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x3f);
}

TEST_F(PicTest, MasksAndSpurious) {
  init();
  out(0x21, 0x10);
  pulse(4);
  EXPECT_FALSE(intr);
  EXPECT_EQ(in(0x21), 0x10u);
  out(0x20, 0x0a);
  EXPECT_EQ(in(0x20), 0x10u);  // the request waits
  out(0x21, 0);
  EXPECT_TRUE(intr);
  out(0x21, 0xff);
  EXPECT_EQ(pic.acknowledge(), 0x37);  // gone: IRQ 7, not in service
  out(0x20, 0x0b);
  EXPECT_EQ(in(0x20), 0u);
}

TEST_F(PicTest, LevelTriggeredByElcr) {
  init();
  out(0x4d0, 0xff);
  EXPECT_EQ(in(0x4d0), 0xf8u);
  pic.set_irq(5, true);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  out(0x20, 0x20);
  EXPECT_TRUE(intr);  // still high
  pic.set_irq(5, false);
  EXPECT_FALSE(intr);
  pic.set_irq(1, true);  // an edge-triggered one comes once
  EXPECT_EQ(pic.acknowledge(), 0x31);
  out(0x20, 0x20);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, AutoEoiRotationSpecialMaskPoll) {
  init(3);  // automatic EOI
  pulse(3);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  out(0x20, 0x0b);
  EXPECT_EQ(in(0x20), 0u);

  init();
  out(0x20, 0xc3);  // 3 has the lowest priority: 4 the highest
  pulse(1);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(0x20, 0xa0);  // rotating EOI: now 5 is the highest
  EXPECT_EQ(pic.acknowledge(), 0x31);
  out(0x20, 0x20);

  init();
  pulse(1);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  pulse(4);
  EXPECT_FALSE(intr);
  out(0x20, 0x68);  // special mask mode
  out(0x21, 0x02);
  EXPECT_TRUE(intr);

  init();
  pulse(6);
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20), 0x86u);
  EXPECT_FALSE(intr);
  out(0x20, 0x20);
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20), 0u);
}

TEST_F(PicTest, SpecialFullyNestedLetsTheSlaveNest) {
  init(0x11);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  pulse(9);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x39);
}

}  // namespace
}  // namespace panda::device
