// The local APIC and the I/O APIC, alone and connected.
#include <gtest/gtest.h>

#include <vector>

#include "device/ioapic.h"
#include "device/lapic.h"

namespace panda::device {
namespace {

struct ApicTest : testing::Test {
  Timers timers;
  std::vector<uint8_t> broadcasts;
  LocalApic lapic{{.id = 0, .x2apic = true}, timers, [this](uint8_t v) {
                    broadcasts.push_back(v);
                    ioapic.end_of_interrupt(v);
                  }};
  IoApic ioapic{1, [this](const ApicMessage& m) { lapic.receive(m); }};

  ApicTest() { write(0xf0, 0x1ff); }
  uint32_t read(uint64_t offset) { return static_cast<uint32_t>(lapic.mmio_read(offset, 4)); }
  void write(uint64_t offset, uint32_t value) { lapic.mmio_write(offset, 4, value); }
  void eoi() { write(0xb0, 0); }
  void route(unsigned pin, uint32_t low, uint32_t high = 0) {
    ioapic.mmio_write(0, 4, 0x11 + 2 * pin), ioapic.mmio_write(0x10, 4, high);
    ioapic.mmio_write(0, 4, 0x10 + 2 * pin), ioapic.mmio_write(0x10, 4, low);
  }
  uint32_t entry(unsigned pin) {
    ioapic.mmio_write(0, 4, 0x10 + 2 * pin);
    return static_cast<uint32_t>(ioapic.mmio_read(0x10, 4));
  }
  void go_to(uint64_t ns) {
    timers.set_now(VirtualNs(ns));
    timers.run_due();
  }
  void send(uint8_t vector) { lapic.receive({.vector = vector}); }
};

TEST_F(ApicTest, PrioritiesAndNesting) {
  send(0x41);
  send(0x52);
  EXPECT_EQ(lapic.acknowledge(), 0x52);
  EXPECT_EQ(read(0xa0), 0x50u);
  EXPECT_FALSE(lapic.interrupt_pending());
  send(0x5f);  // the same class waits
  EXPECT_FALSE(lapic.interrupt_pending());
  send(0x60);
  EXPECT_EQ(lapic.acknowledge(), 0x60);
  eoi();
  eoi();
  EXPECT_EQ(lapic.acknowledge(), 0x5f);
  eoi();
  EXPECT_EQ(lapic.acknowledge(), 0x41);
  eoi();
  EXPECT_FALSE(lapic.interrupt_pending());
  EXPECT_EQ(lapic.acknowledge(), 0xff);  // spurious
  EXPECT_EQ(broadcasts, std::vector<uint8_t>{});
}

TEST_F(ApicTest, TaskPriorityHoldsBack) {
  lapic.set_task_priority(5);
  EXPECT_EQ(read(0x80), 0x50u);
  send(0x5f);
  EXPECT_FALSE(lapic.interrupt_pending());
  write(0x80, 0x4f);
  EXPECT_EQ(lapic.task_priority(), 4);
  EXPECT_TRUE(lapic.interrupt_pending());
  EXPECT_EQ(read(0x220), 1u << 31);  // IRR of vectors 0x40 to 0x5f
}

TEST_F(ApicTest, OneShotTimer) {
  write(0x3e0, 0x3);  // by 16
  write(0x320, 0x30);
  write(0x380, 1000);
  EXPECT_EQ(timers.next_deadline()->value, 16'000u);
  go_to(8'000);
  EXPECT_EQ(read(0x390), 500u);
  go_to(16'000);
  EXPECT_EQ(lapic.acknowledge(), 0x30);
  EXPECT_EQ(read(0x390), 0u);
  EXPECT_FALSE(timers.next_deadline().has_value());
}

TEST_F(ApicTest, PeriodicTimerKeepsItsPhase) {
  write(0x3e0, 0xb);
  write(0x320, 0x20030);
  write(0x380, 10'000);
  for (uint64_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(timers.next_deadline()->value, i * 10'000);
    go_to(i * 10'000 + 1234);  // late
    EXPECT_EQ(lapic.acknowledge(), 0x30);
    eoi();
  }
  go_to(100'500);
  EXPECT_EQ(lapic.acknowledge(), 0x30);
  eoi();
  EXPECT_FALSE(lapic.interrupt_pending());  // missed periods make one
  EXPECT_EQ(timers.next_deadline()->value, 110'000u);
  EXPECT_EQ(read(0x390), 9'500u);
  write(0x320, 0x30030);  // masked: counts without interrupting
  go_to(120'000);
  EXPECT_FALSE(lapic.interrupt_pending());
  write(0x380, 0);
  EXPECT_FALSE(timers.next_deadline().has_value());
}

TEST_F(ApicTest, TscDeadline) {
  lapic.write_tsc_deadline(500);
  EXPECT_EQ(lapic.tsc_deadline(), 0u);  // not in that mode
  write(0x320, 0x40030);
  lapic.write_tsc_deadline(5'000);
  EXPECT_EQ(timers.next_deadline()->value, 5'000u);
  go_to(5'000);
  EXPECT_EQ(lapic.tsc_deadline(), 0u);
  EXPECT_EQ(lapic.acknowledge(), 0x30);
  eoi();
  lapic.write_tsc_deadline(4'000);  // in the past: at once
  EXPECT_TRUE(lapic.interrupt_pending());
  lapic.write_tsc_deadline(9'000);
  write(0x320, 0x30);  // leaving the mode disarms
  EXPECT_FALSE(timers.next_deadline().has_value());
}

TEST_F(ApicTest, VirtualWireAndDisabling) {
  EXPECT_FALSE(lapic.passes_ext_int());
  write(0x350, 0x700);
  EXPECT_TRUE(lapic.passes_ext_int());
  write(0xf0, 0xff);  // software disable masks the LVT
  EXPECT_EQ(read(0x350), 0x10700u);
  EXPECT_FALSE(lapic.passes_ext_int());
  EXPECT_TRUE(lapic.write_base_msr(LocalApic::kDefaultBase | 0x100));
  EXPECT_FALSE(lapic.answers_at(LocalApic::kDefaultBase));
  EXPECT_TRUE(lapic.passes_ext_int());
  EXPECT_TRUE(lapic.write_base_msr(LocalApic::kDefaultBase | 0x900));
  EXPECT_EQ(read(0xf0), 0xffu);
}

TEST_F(ApicTest, Lint0AsAFixedInterrupt) {
  write(0x350, 0x55);
  lapic.set_lint(0, true);
  EXPECT_EQ(lapic.acknowledge(), 0x55);
  lapic.set_lint(0, true);
  eoi();
  EXPECT_FALSE(lapic.interrupt_pending());
}

TEST_F(ApicTest, SelfInterruptsAndErrors) {
  write(0x300, 0x40077);  // shorthand self
  EXPECT_EQ(lapic.acknowledge(), 0x77);
  eoi();
  write(0x310, 5u << 24);
  write(0x300, 0x77);  // to nobody
  EXPECT_FALSE(lapic.interrupt_pending());
  write(0x370, 0xfe);
  write(0x300, 0x40007);
  EXPECT_EQ(lapic.acknowledge(), 0xfe);
  write(0x280, 0);
  EXPECT_EQ(read(0x280), 0x20u);
  write(0x280, 0);
  EXPECT_EQ(read(0x280), 0u);
}

TEST_F(ApicTest, LogicalDestinations) {
  write(0xd0, 0x0400'0000);
  lapic.receive({.vector = 0x40, .logical = true, .destination = 0x05});
  EXPECT_TRUE(lapic.interrupt_pending());
  EXPECT_EQ(lapic.acknowledge(), 0x40);
  eoi();
  lapic.receive({.vector = 0x40, .logical = true, .destination = 0x0a});
  EXPECT_FALSE(lapic.interrupt_pending());
}

TEST_F(ApicTest, X2Apic) {
  EXPECT_FALSE(lapic.x2apic_read(2).has_value());
  EXPECT_TRUE(lapic.write_base_msr(LocalApic::kDefaultBase | 0xd00));
  EXPECT_FALSE(lapic.write_base_msr(LocalApic::kDefaultBase | 0x900));  // only through off
  EXPECT_FALSE(lapic.answers_at(LocalApic::kDefaultBase));
  EXPECT_EQ(lapic.x2apic_read(2), 0u);
  EXPECT_EQ(lapic.x2apic_read(0xd), 1u);
  EXPECT_TRUE(lapic.x2apic_write(0x3f, 0x99));
  EXPECT_EQ(lapic.acknowledge(), 0x99);
  EXPECT_FALSE(lapic.x2apic_write(0x0b, 1));
  EXPECT_TRUE(lapic.x2apic_write(0x0b, 0));
  EXPECT_FALSE(lapic.x2apic_write(0x0e, 0));
}

TEST_F(ApicTest, IoApicEdge) {
  EXPECT_EQ(entry(4), 0x10000u);
  ioapic.set_irq(4, true);  // masked: lost
  route(4, 0x34);
  EXPECT_FALSE(lapic.interrupt_pending());
  ioapic.set_irq(4, false);
  ioapic.set_irq(4, true);
  EXPECT_EQ(lapic.acknowledge(), 0x34);
  eoi();
  EXPECT_FALSE(lapic.interrupt_pending());
  EXPECT_TRUE(broadcasts.empty());
}

TEST_F(ApicTest, IoApicLevelUntilEoi) {
  route(9, 0x8039);
  ioapic.set_irq(9, true);
  EXPECT_EQ(lapic.acknowledge(), 0x39);
  EXPECT_EQ(entry(9), 0xc039u);  // remote IRR
  ioapic.set_irq(9, false);
  ioapic.set_irq(9, true);
  EXPECT_FALSE(lapic.interrupt_pending());
  eoi();
  EXPECT_EQ(broadcasts, std::vector<uint8_t>{0x39});
  EXPECT_EQ(lapic.acknowledge(), 0x39);  // still high
  ioapic.set_irq(9, false);
  eoi();
  EXPECT_EQ(entry(9), 0x8039u);
  EXPECT_FALSE(lapic.interrupt_pending());
}

TEST_F(ApicTest, IoApicRegisters) {
  ioapic.mmio_write(0, 4, 1);
  EXPECT_EQ(ioapic.mmio_read(0x10, 4), 0x170020u);
  ioapic.mmio_write(0, 4, 0);
  EXPECT_EQ(ioapic.mmio_read(0x10, 4), 0x0100'0000u);
  route(0, 0x700);
  EXPECT_TRUE(ioapic.passes_ext_int());
  route(3, 0x33, 0x0500'0000);  // for another processor
  ioapic.set_irq(3, true);
  EXPECT_FALSE(lapic.interrupt_pending());
}

}  // namespace
}  // namespace panda::device
