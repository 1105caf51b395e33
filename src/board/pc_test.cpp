// The board as a CPU sees it: a stand-in for the CPU only counts instructions.
#include "board/pc.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "board/rtc_base.h"

namespace panda::board {
namespace {

constexpr uint64_t kRam = uint64_t{64} << 20;

struct Machine {
  explicit Machine(bool icount) {
    memory = std::move(*GuestMemory::create(kRam, pc_ram_layout(kRam)));
    PcConfig config;
    config.icount = icount;
    config.rtc_start = kFixedRtcBase;
    config.com1 = &com1;
    pc = std::make_unique<Pc>(config, *memory, clock);
    pc->attach(cpu);
    pc->service(now());  // the first poll
  }
  // Completed instructions; the CPU stands in an exact unit.
  [[nodiscard]] InsnCount now() const { return InsnCount(cpu.completed()); }
  void go_to(uint64_t count) {
    cpu.count_limit = count;
    for (int i = 0; i < 100 && pc->next_event(now()) <= now(); ++i) pc->service(now());
  }
  void out(uint16_t port, uint64_t value, unsigned size = 1) { pc->port_write(port, size, value); }
  uint64_t in(uint16_t port, unsigned size = 1) { return pc->port_read(port, size); }
  void apic(uint64_t offset, uint64_t value) { pc->mmio_write(GuestPhysAddr(kLocalApicBase + offset), 4, value); }
  void init_pic() {
    for (const auto& [port, value] : std::initializer_list<std::pair<uint16_t, unsigned>>{{0x20, 0x11},
                                                                                          {0x21, 0x30},
                                                                                          {0x21, 4},
                                                                                          {0x21, 1},
                                                                                          {0xa0, 0x11},
                                                                                          {0xa1, 0x38},
                                                                                          {0xa1, 2},
                                                                                          {0xa1, 1},
                                                                                          {0x21, 0},
                                                                                          {0xa1, 0}})
      out(port, value);
  }
  void route(unsigned pin, uint32_t low) {
    pc->mmio_write(GuestPhysAddr(kIoApicBase), 4, 0x10 + 2 * pin);
    pc->mmio_write(GuestPhysAddr(kIoApicBase + 0x10), 4, low);
  }

  std::string sent;
  device::QueueChar com1{[this](uint8_t byte) { sent += static_cast<char>(byte); }};
  VcpuContext cpu;
  VirtualClock clock;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<Pc> pc;
};

TEST(Pc, NothingIsWhereNothingIs) {
  Machine m(true);
  EXPECT_EQ(m.in(0xcf8, 4), 0xffff'ffffu);
  EXPECT_EQ(m.in(0xcfc, 4), 0xffff'ffffu);
  m.out(0xcf8, 0x8000'ff00, 4);  // a PCI probe whose second byte would reset by port 0xcf9
  EXPECT_FALSE(m.pc->stop_requested());
  EXPECT_EQ(m.in(0x60), 0xffu);
  EXPECT_EQ(m.in(0x64), 0xffu);
  EXPECT_EQ(m.in(0x3d4, 2), 0xffffu);
  EXPECT_EQ(m.in(0xffff, 4), 0xffff'ffffu);
  EXPECT_EQ(m.pc->mmio_read(GuestPhysAddr(0xfed0'0000), 8), ~uint64_t{0});
  m.out(0x80, 0x12);
  m.pc->mmio_write(GuestPhysAddr(0xd000'0000), 8, 1);
}

TEST(Pc, PitInterruptsThroughVirtualWire) {
  Machine m(true);
  m.init_pic();
  EXPECT_FALSE(m.pc->interrupt_pending());
  m.out(0x43, 0x34), m.out(0x40, 0xa9), m.out(0x40, 0x04);  // 1193 ticks: a millisecond
  const uint64_t due = m.pc->next_event(m.now()).value;
  EXPECT_NEAR(static_cast<double>(due), 999'847.0, 2);
  while (m.pc->interrupt_pending()) m.pc->acknowledge_interrupt(m.now());  // what programming the mode raised
  m.out(0x20, 0x20);
  m.go_to(due - 1);
  EXPECT_FALSE(m.pc->interrupt_pending());
  m.go_to(due);
  ASSERT_TRUE(m.pc->interrupt_pending());
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x30);
  EXPECT_FALSE(m.pc->interrupt_pending());
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), std::nullopt);
}

TEST(Pc, PitInterruptsThroughTheIoApic) {
  Machine m(true);
  m.apic(0x350, 0x10700);  // mask the virtual wire
  m.route(2, 0x44);
  m.out(0x43, 0x30), m.out(0x40, 0xe8), m.out(0x40, 3);  // mode 0, 1000 ticks
  const uint64_t due = m.pc->next_event(m.now()).value;
  m.go_to(due);
  ASSERT_TRUE(m.pc->interrupt_pending());
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x44);
}

TEST(Pc, LocalApicTimerAndRegisters) {
  Machine m(true);
  EXPECT_EQ(m.pc->register_read(OutsideRegister::ApicBase, 0), 0xfee0'0900u);
  EXPECT_FALSE(m.pc->register_write(OutsideRegister::ApicBase, 0, 0xfee0'0d00));  // x2APIC is not announced
  EXPECT_FALSE(m.pc->register_read(OutsideRegister::X2Apic, 2).has_value());
  m.apic(0x320, 0x40050);  // TSC-deadline
  EXPECT_TRUE(m.pc->register_write(OutsideRegister::TscDeadline, 0, 7'000));
  EXPECT_EQ(m.pc->next_event(m.now()).value, 7'000u);
  EXPECT_TRUE(m.pc->register_write(OutsideRegister::TaskPriority, 0, 6));
  m.go_to(7'000);
  EXPECT_FALSE(m.pc->interrupt_pending());
  EXPECT_TRUE(m.pc->register_write(OutsideRegister::TaskPriority, 0, 4));
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x50);
  EXPECT_FALSE(m.pc->register_write(OutsideRegister::TaskPriority, 0, 16));
}

TEST(Pc, IdleJumpsToTheNextTimerWithIcount) {
  Machine m(true);
  m.com1.close();
  EXPECT_FALSE(m.pc->idle(m.now()));  // nothing can ever happen
  m.apic(0x320, 0x50);
  m.apic(0x3e0, 0xb);
  m.apic(0x380, 3'000'000'000);  // three seconds
  EXPECT_TRUE(m.pc->idle(m.now()));
  EXPECT_EQ(m.clock.now(m.now()).value, 3'000'000'000u);
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x50);
  m.out(0x70, 0);
  EXPECT_EQ(m.in(0x71), 0x03u);  // the clock has gone on, too
  EXPECT_FALSE(m.pc->idle(m.now()));
}

TEST(Pc, IdleSleepsOnTheHostWithoutIcount) {
  Machine m(false);
  const auto before = std::chrono::steady_clock::now();
  m.pc->resume(m.now());
  m.apic(0x320, 0x50);
  m.apic(0x3e0, 0xb);
  m.apic(0x380, 20'000'000);  // 20 ms
  while (!m.pc->interrupt_pending()) ASSERT_TRUE(m.pc->idle(m.now()));
  const auto slept = std::chrono::steady_clock::now() - before;
  EXPECT_GE(slept, std::chrono::milliseconds(20));
  EXPECT_GE(m.clock.now(m.now()).value, 20'000'000u);
}

TEST(Pc, VirtualTimeIsPulledForwardOnly) {
  Machine m(false);
  m.pc->resume(m.now());
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  m.go_to(Pc::kInteractiveSlice);
  EXPECT_GE(m.clock.now(m.now()).value, 5'000'000u);
  m.go_to(uint64_t{100} << 40);  // far ahead of the host
  const uint64_t ahead = m.clock.now(m.now()).value;
  m.go_to(m.now().value + Pc::kInteractiveSlice);
  EXPECT_EQ(m.clock.now(m.now()).value, ahead + Pc::kInteractiveSlice);
}

TEST(Pc, ASlowGuestSeesEveryTick) {
  Machine m(false);
  m.apic(0x320, 0x20050);
  m.apic(0x3e0, 0xb);
  m.apic(0x380, 2'000'000);  // 2 ms
  m.pc->resume(m.now());
  std::this_thread::sleep_for(std::chrono::milliseconds(21));
  int ticks = 0;
  for (; ticks < 10; ++ticks) {
    m.go_to(m.pc->next_event(m.now()).value);
    if (!m.pc->interrupt_pending()) break;
    EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x50);
    m.apic(0xb0, 0);
  }
  EXPECT_EQ(ticks, 10);
  EXPECT_LE(m.now().value, Pc::kInteractiveSlice + 10 * Pc::kCatchUpSlice);
}

TEST(Pc, HostInputWakesAndArrives) {
  Machine m(false);
  m.out(0x3fc, 8), m.out(0x3f9, 1);
  std::thread typist([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const uint8_t byte = 'k';
    m.com1.push({&byte, 1});
    m.pc->wake();
  });
  m.init_pic();
  while (!m.pc->interrupt_pending()) ASSERT_TRUE(m.pc->idle(m.now()));
  typist.join();
  EXPECT_EQ(m.pc->acknowledge_interrupt(m.now()), 0x34);
  EXPECT_EQ(m.in(0x3f8), 'k');
}

TEST(Pc, QueuedInputArrivesAtFixedCountsWithIcount) {
  const auto arrival = [] {
    Machine m(true);
    const uint8_t bytes[] = {'a', 'b'};
    m.com1.push(bytes);
    m.out(0x3fa, 1);
    for (uint64_t count = 0;; ++count) {
      m.go_to(count * 1000);
      if ((m.in(0x3fd) & 1) != 0) return count;
    }
  };
  EXPECT_EQ(arrival(), arrival());
}

TEST(Pc, StopRequestEndsASleep) {
  Machine m(false);
  std::thread monitor([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    m.pc->request_stop();
  });
  while (!m.pc->stop_requested()) m.pc->idle(m.now());
  monitor.join();
  m.pc->clear_stop();
  EXPECT_FALSE(m.pc->stop_requested());
}

TEST(Pc, PowerOffAndReset) {
  Machine m(true);
  m.out(kPmBase + 4, 5 << 10 | 1 << 13, 2);
  EXPECT_TRUE(m.pc->stop_requested());
  EXPECT_EQ(m.pc->take_power_request(), PowerRequest::PowerOff);
  EXPECT_FALSE(m.pc->stop_requested());
  m.out(0xcf9, 6);
  EXPECT_EQ(m.pc->take_power_request(), PowerRequest::Reset);
  m.pc->reset();
  m.out(0x64, 0xfe);
  EXPECT_EQ(m.pc->take_power_request(), PowerRequest::Reset);
  EXPECT_EQ(m.memory->host(GuestPhysAddr(kBiosAreaBase))[0], 'R');
}

TEST(Pc, SerialOutput) {
  Machine m(true);
  for (const char c : std::string("hello")) m.out(0x3f8, static_cast<uint8_t>(c));
  EXPECT_EQ(m.sent, "hello");
}

TEST(RtcBase, Parses) {
  EXPECT_EQ(parse_rtc_base("2024-01-01"), kFixedRtcBase);
  EXPECT_EQ(parse_rtc_base("2006-06-17T16:01:21"), 1'150'560'081);
  for (const char* bad : {"", "2024", "2024-02-30", "2024-01-01T", "2024-01-01T10:00", "2024-01-01T24:00:00", "now",
                          "2024-01-01x", "-024-01-01"})
    EXPECT_FALSE(parse_rtc_base(bad).has_value()) << bad;
  EXPECT_TRUE(parse_rtc_base("utc").has_value());
  EXPECT_TRUE(parse_rtc_base("localtime").has_value());
}

}  // namespace
}  // namespace panda::board
