// Every device under the conformance suite, and broken ones that it must find.
#include "device/conformance.h"

#include <gtest/gtest.h>

#include "device/acpi_pm.h"
#include "device/char_backend.h"
#include "device/ioapic.h"
#include "device/lapic.h"
#include "device/pic8259.h"
#include "device/pit8254.h"
#include "device/reset_ports.h"
#include "device/rtc_mc146818.h"
#include "device/uart16550.h"

namespace panda::device {
namespace {

class PortRig : public Rig {
 public:
  [[nodiscard]] uint64_t read(uint64_t address, unsigned size) override {
    return bus_.port_read(static_cast<uint16_t>(address), size);
  }
  void write(uint64_t address, unsigned size, uint64_t value) override {
    bus_.port_write(static_cast<uint16_t>(address), size, static_cast<uint32_t>(value));
  }
  [[nodiscard]] std::vector<Range> ranges() const override { return ranges_; }

 protected:
  void add(uint16_t first, unsigned count, PortDevice& device, unsigned width = 1) {
    bus_.add_ports(first, count, device, width);
    ranges_.push_back({first, count, std::min(4u, count)});
  }
  IrqLine line(char name) {
    return IrqLine([this, name](bool level) { trace += {name, level ? '1' : '0'}; });
  }
  IoBus bus_;
  std::vector<Range> ranges_;
};

class MmioRig : public Rig {
 public:
  [[nodiscard]] uint64_t read(uint64_t address, unsigned size) override {
    return bus_.mmio_read(GuestPhysAddr(address), size);
  }
  void write(uint64_t address, unsigned size, uint64_t value) override {
    bus_.mmio_write(GuestPhysAddr(address), size, value);
  }
  [[nodiscard]] std::vector<Range> ranges() const override { return {{0, 0x500, 8}}; }

 protected:
  IoBus bus_;
};

struct UartRig : PortRig {
  UartRig() { add(0x3f8, 8, uart); }
  Device& device() override { return uart; }
  void stimulate(uint64_t random) override { uart.receive(static_cast<uint8_t>(random)); }
  QueueChar out{[this](uint8_t byte) { trace += static_cast<char>(byte); }};
  Uart16550 uart{0x3f8, line('i'), out};
};

struct PicRig : PortRig {
  PicRig() { add(0x20, 2, pic), add(0xa0, 2, pic), add(0x4d0, 2, pic); }
  Device& device() override { return pic; }
  void stimulate(uint64_t random) override {
    if (random % 4 == 0)
      trace += static_cast<char>(pic.acknowledge());
    else
      pic.set_irq(random >> 8 & 31, (random >> 16 & 1) != 0);
  }
  PicPair pic{line('i')};
};

struct PitRig : PortRig {
  PitRig() { add(0x40, 4, pit), add(0x61, 1, pit); }
  Device& device() override { return pit; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override { return {{0x43, 1, 0xff}}; }
  Pit8254 pit{line('i'), timers};
};

struct RtcRig : PortRig {
  RtcRig() { add(0x70, 2, rtc); }
  Device& device() override { return rtc; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override { return {{0x70, 1, 0xff}}; }
  // Random indices seldom hit the clock's registers.
  void stimulate(uint64_t random) override { rtc.port_write(0x70, 1, static_cast<uint32_t>(random % 16)); }
  Rtc rtc{line('i'), timers, 1'700'000'000, 64 << 20, 0};
};

struct PmRig : PortRig {
  PmRig() { add(0x600, AcpiPm::kPorts, pm, 4); }
  Device& device() override { return pm; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override { return {{0x606, 2, 0}}; }
  void stimulate(uint64_t) override { pm.press_power_button(); }
  AcpiPm pm{0x600, line('i'), timers, [this] { trace += "off"; }};
};

struct ResetRig : PortRig {
  ResetRig() { add(0x64, 1, ports), add(0x92, 1, ports), add(0xcf8, 8, ports, 4); }
  Device& device() override { return ports; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override {
    return {{0x64, 1, 0xff}, {0xcf8, 4, 0xffff'ffff}, {0xcfc, 1, 0xff}};
  }
  ResetPorts ports{[this] { trace += 'R'; }};
};

struct IoApicRig : MmioRig {
  IoApicRig() { bus_.add_mmio(GuestPhysAddr(0), 0x1000, ioapic); }
  [[nodiscard]] std::vector<Range> ranges() const override { return {{0, 0x50, 8}}; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override { return {{0x30, 4, 0}, {0x800, 4, 0}}; }
  Device& device() override { return ioapic; }
  void stimulate(uint64_t random) override {
    if (random % 8 == 0)
      ioapic.end_of_interrupt(static_cast<uint8_t>(random >> 8));
    else if (random % 8 < 4)
      ioapic.set_irq(random >> 8 & 31, (random >> 16 & 1) != 0);
    else  // random selects seldom hit an entry
      ioapic.mmio_write(0, 4, random >> 8 & 63), ioapic.mmio_write(0x10, 4, random >> 16);
  }
  IoApic ioapic{1, [this](const ApicMessage& m) { trace += fmt::format("{}.{}.{};", m.vector, m.delivery, m.level); }};
};

struct LapicRig : MmioRig {
  explicit LapicRig(bool x2apic = false)
      : lapic({.id = 0, .x2apic = x2apic}, timers, [this](uint8_t v) { trace += fmt::format("E{};", v); }) {
    bus_.add_mmio(GuestPhysAddr(0), 0x1000, lapic);
  }
  Device& device() override { return lapic; }
  [[nodiscard]] std::vector<Unmapped> unmapped() const override { return {{0x84, 4, 0}, {0x0, 4, 0}, {0x3f0, 4, 0}}; }
  void stimulate(uint64_t random) override {
    const uint64_t value = random >> 16;
    switch (random % 8) {
      case 0:
        return lapic.set_lint(value & 1, (value & 2) != 0);
      case 1:
        return lapic.receive(
            {.vector = static_cast<uint8_t>(value), .level = (value & 0x100) != 0, .destination = 0xff});
      case 2:
        trace += fmt::format("A{};", lapic.acknowledge());
        return;
      case 3:
        return lapic.mmio_write(0xf0, 4, 0x1ff);
      case 4:
        return lapic.write_tsc_deadline(timers.now().value + (value >> 20));
      case 5:
        trace += lapic.write_base_msr(value & 0xfee0'0d00) ? 'b' : 'B';
        return;
      case 6:
        trace += lapic.x2apic_write(random >> 8 & 0x3f, value) ? 'x' : 'X';
        return;
      default:
        trace += fmt::format("R{};", lapic.x2apic_read(random >> 8 & 0x3f).value_or(0));
        return;
    }
  }
  LocalApic lapic;
};

template <typename T>
Conformance suite_of() {
  return Conformance([] { return std::make_unique<T>(); });
}

TEST(Conformance, Uart) { EXPECT_EQ(suite_of<UartRig>().run(), std::nullopt); }
TEST(Conformance, Pic) { EXPECT_EQ(suite_of<PicRig>().run(), std::nullopt); }
TEST(Conformance, Pit) { EXPECT_EQ(suite_of<PitRig>().run(), std::nullopt); }
TEST(Conformance, Rtc) { EXPECT_EQ(suite_of<RtcRig>().run(), std::nullopt); }
TEST(Conformance, AcpiPm) { EXPECT_EQ(suite_of<PmRig>().run(), std::nullopt); }
TEST(Conformance, ResetPorts) { EXPECT_EQ(suite_of<ResetRig>().run(), std::nullopt); }
TEST(Conformance, IoApic) { EXPECT_EQ(suite_of<IoApicRig>().run(), std::nullopt); }
TEST(Conformance, LocalApic) { EXPECT_EQ(suite_of<LapicRig>().run(), std::nullopt); }
TEST(Conformance, LocalApicWithX2Apic) {
  EXPECT_EQ(Conformance([] { return std::make_unique<LapicRig>(true); }).run(), std::nullopt);
}

// A counter with one flaw at a time.
enum class Flaw { None, ForgetsState, ForgetsTimer, TakesAnySize, WideValue, SaveCounts };

class Counter final : public Device, public PortDevice {
 public:
  Counter(Flaw flaw, Timers& timers)
      : flaw_(flaw), timers_(timers), timer_(timers, [this] {
          ++s_.value;
          s_.due = 0;
        }) {}
  [[nodiscard]] std::string_view name() const override { return "counter"; }
  void reset() override {}
  [[nodiscard]] std::string save() const override {
    if (flaw_ == Flaw::SaveCounts) ++s_.value;
    return save_plain(s_);
  }
  bool load(std::string_view bytes) override {
    if (flaw_ == Flaw::TakesAnySize && bytes.size() != sizeof(State)) return true;
    if (!load_plain(bytes, s_)) return false;
    if (flaw_ == Flaw::ForgetsState) hidden_ = 0;
    if (flaw_ != Flaw::ForgetsTimer && s_.due != 0) timer_.arm(VirtualNs(s_.due));
    return true;
  }
  uint32_t port_read(uint16_t, unsigned) override { return s_.value + (flaw_ == Flaw::ForgetsState ? hidden_ : 0); }
  void port_write(uint16_t, unsigned, uint32_t value) override {
    s_.value = value;
    hidden_ = value;
    s_.due = timers_.now().value + value + 1;
    timer_.arm(VirtualNs(s_.due));
  }

 private:
  struct State {
    uint64_t due = 0;
    uint32_t value = 0;
    uint32_t unused = 0;
  };
  Flaw flaw_;
  Timers& timers_;
  Timer timer_;
  mutable State s_;
  uint32_t hidden_ = 0;
};

struct CounterRig : PortRig {
  explicit CounterRig(Flaw f) : flaw(f), counter(f, timers) { add(0x10, 4, counter, 4); }
  Device& device() override { return counter; }
  uint64_t read(uint64_t address, unsigned size) override {
    return PortRig::read(address, size) | (flaw == Flaw::WideValue ? 0x100 : 0);
  }
  Flaw flaw;
  Counter counter;
};

std::optional<std::string> suite_with(Flaw flaw) {
  return Conformance([flaw] { return std::make_unique<CounterRig>(flaw); }).run();
}

TEST(Conformance, FindsBrokenDevices) {
  EXPECT_EQ(suite_with(Flaw::None), std::nullopt);
  for (const Flaw flaw :
       {Flaw::ForgetsState, Flaw::ForgetsTimer, Flaw::TakesAnySize, Flaw::WideValue, Flaw::SaveCounts})
    EXPECT_NE(suite_with(flaw), std::nullopt) << static_cast<int>(flaw);
}

}  // namespace
}  // namespace panda::device
