// The local APIC of the (only) CPU: SDM vol. 3, chapter 11. xAPIC by MMIO; x2APIC by MSR where the
// board allows it. The timer counts at 1 GHz, one tick per virtual nanosecond, before its divider.
//
// As on the chip, registers are 32 bits wide at 16-byte steps: reads of any width see the bytes of
// that word, zeros between; writes that are not one aligned word are ignored. NMI, INIT and SMI
// messages: NMI is offered as vector 2 like any other interrupt; SMI and INIT to the running CPU
// have no receiver and are dropped.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "device/bus.h"
#include "device/device.h"
#include "device/ioapic.h"
#include "device/timers.h"

namespace panda::device {

class LocalApic final : public Device, public MmioDevice {
 public:
  static constexpr uint64_t kDefaultBase = 0xfee0'0000;
  static constexpr uint64_t kMmioBytes = 0x1000;
  static constexpr uint64_t kTimerHz = 1'000'000'000;
  static constexpr uint64_t kMinPeriodNs = 1000;  // faster periodic timers are served at this rate

  struct Config {
    uint8_t id = 0;
    bool x2apic = false;  // the CPU announces it
    unsigned physical_address_bits = 40;
  };
  LocalApic(Config config, Timers& timers, std::function<void(uint8_t vector)> broadcast_eoi);

  [[nodiscard]] std::string_view name() const override { return "lapic"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override;

  // What firmware leaves behind: enabled, LINT0 passes the 8259s' interrupts, LINT1 is NMI.
  void set_up_virtual_wire();

  uint64_t mmio_read(uint64_t offset, unsigned size_bytes) override;
  void mmio_write(uint64_t offset, unsigned size_bytes, uint64_t value) override;

  // IA32_APIC_BASE, CR8, IA32_TSC_DEADLINE, x2APIC MSRs (index: MSR - 0x800). False, nullopt: #GP.
  [[nodiscard]] uint64_t base_msr() const { return s_.base; }
  bool write_base_msr(uint64_t value);
  [[nodiscard]] bool answers_at(uint64_t phys) const {  // MMIO decoding
    return (s_.base & 0xc00) == 0x800 && phys - (s_.base & ~uint64_t{0xfff}) < kMmioBytes;
  }
  [[nodiscard]] uint8_t task_priority() const { return static_cast<uint8_t>(s_.tpr >> 4); }
  void set_task_priority(uint8_t cr8);
  [[nodiscard]] uint64_t tsc_deadline() const { return s_.tsc_deadline; }
  void write_tsc_deadline(uint64_t virtual_tsc);
  [[nodiscard]] std::optional<uint64_t> x2apic_read(uint32_t index);
  bool x2apic_write(uint32_t index, uint64_t value);

  void receive(const ApicMessage& message);
  void set_lint(unsigned pin, bool level);  // 0 or 1
  // LINT0 hands the 8259s' interrupts to the CPU (also when the APIC is off altogether).
  [[nodiscard]] bool passes_ext_int() const;

  [[nodiscard]] bool interrupt_pending() const;
  // The vector taken; the spurious vector where nothing is pending any more.
  uint8_t acknowledge();

 private:
  enum Lvt : unsigned { kLvtTimer, kLvtThermal, kLvtPerformance, kLvtLint0, kLvtLint1, kLvtError, kLvtCount };
  using Bits = std::array<uint32_t, 8>;

  struct State {
    uint64_t base = 0;
    uint64_t tsc_deadline = 0;
    uint64_t timer_start_ns = 0;  // when the current period began
    uint64_t timer_due_ns = 0;    // 0: not running
    Bits isr{};
    Bits tmr{};
    Bits irr{};
    std::array<uint32_t, kLvtCount> lvt{};
    uint32_t id = 0;
    uint32_t tpr = 0;
    uint32_t ldr = 0;
    uint32_t dfr = ~0u;
    uint32_t svr = 0xff;
    uint32_t esr = 0;          // as the guest reads it
    uint32_t esr_pending = 0;  // since its last write to ESR
    uint32_t icr_low = 0;
    uint32_t icr_high = 0;
    uint32_t initial_count = 0;
    uint32_t divide = 0;
    uint32_t lint_lines = 0;
    uint32_t nmi_pending = 0;
    uint32_t unused = 0;
  };

  [[nodiscard]] bool enabled() const { return (s_.base & 0x800) != 0 && (s_.svr & 0x100) != 0; }
  [[nodiscard]] bool x2apic_mode() const { return (s_.base & 0xc00) == 0xc00; }
  [[nodiscard]] static int highest(const Bits& bits);
  [[nodiscard]] uint32_t processor_priority() const;
  [[nodiscard]] bool matches(uint32_t destination, bool logical) const;
  [[nodiscard]] uint32_t read_register(unsigned index);
  void write_register(unsigned index, uint32_t value);
  void write_lvt(unsigned lvt, uint32_t value);
  void write_icr();
  void clear_registers();
  void accept(uint8_t vector, bool level);
  void error(uint32_t bit);
  void raise_lvt(unsigned lvt);
  void end_of_interrupt();
  // --- timer (lapic_timer.cpp)
  [[nodiscard]] uint64_t timer_divisor() const;
  [[nodiscard]] unsigned timer_mode() const { return (s_.lvt[kLvtTimer] >> 17) & 3; }
  [[nodiscard]] uint32_t current_count() const;
  void start_timer(uint32_t initial_count);
  void stop_timer();
  void timer_fired();
  void change_divide(uint32_t value);
  void rearm();

  Config config_;
  Timers& timers_;
  Timer timer_;
  std::function<void(uint8_t)> broadcast_eoi_;
  State s_;
};

}  // namespace panda::device
