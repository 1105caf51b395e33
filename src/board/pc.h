// The PC: all devices, wired, as the outside of one CPU and its RAM.
//
//   8254 ch.0 ─IRQ0─┐          ┌─ LINT0 (ExtINT) ─┐
//   RTC ───── IRQ8 ─┼─▶ 8259s ─┤                  ├─▶ local APIC ─▶ CPU
//   COM1/2 ─ IRQ4/3 ┤          └─ I/O APIC pin 0  │
//   ACPI PM ─ IRQ9 ─┴─▶ I/O APIC (IRQ0 at pin 2) ─┘
//
// No PCI (0xcf8 and 0xcfc read ones), no keyboard controller, no VGA, no HPET, no DMA controller.
// The board starts as firmware would leave it: virtual wire mode, IRQ 9 level-triggered.
//
// Time. Virtual time 0 is the construction of the VirtualClock with count 0: power-on. It never
// goes back and goes on through resets. The RTC shows `rtc_start` at virtual time 0.
// Without `icount` virtual time is pulled forward to the host's monotonic clock at least every
// kInteractiveSlice instructions (never back: a guest that is ahead just runs), and an idle guest
// sleeps until the host's clock reaches its next timer. A pull ends at the next timer, so that a
// slow guest sees each tick instead of many at once (Linux gives up on a timer that skips); the
// rest follows kCatchUpSlice instructions later. What is more than kLongestLagNs behind is given up:
// the guest's clock stays behind, as after a pause. With `icount` the host's clock is never
// read: an idle guest's time jumps to its next timer, and it sleeps only where it has none and
// waits for input. A change of virtual time is a change of VirtualClock::offset_ns().
//
// Whatever is not a function of guest and count (host clock, host input) enters in service() and
// idle() and nowhere else. All methods are the guest thread's, but those marked.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "base/virtual_clock.h"
#include "board/acpi_tables.h"
#include "board/linux_boot.h"
#include "board/pc_map.h"
#include "device/acpi_pm.h"
#include "device/bus.h"
#include "device/char_backend.h"
#include "device/ioapic.h"
#include "device/lapic.h"
#include "device/pic8259.h"
#include "device/pit8254.h"
#include "device/reset_ports.h"
#include "device/rtc_mc146818.h"
#include "device/timers.h"
#include "device/uart16550.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"
#include "memory/vcpu_context.h"

namespace panda::board {

enum class PowerRequest : uint8_t { None, PowerOff, Reset };

struct PcConfig {
  bool icount = false;
  int64_t rtc_start = 0;  // Unix seconds: the caller chooses (rtc_base.h)
  bool x2apic = false;    // CPUID announces x2APIC
  unsigned physical_address_bits = 40;
  // Not owned; null: nothing connected.
  device::CharBackend* com1 = nullptr;
  device::CharBackend* com2 = nullptr;
};

class Pc final : public Outside {
 public:
  // How often host input is looked at and virtual time pulled, in instructions.
  static constexpr uint64_t kInteractiveSlice = uint64_t{1} << 18;
  static constexpr uint64_t kCatchUpSlice = uint64_t{1} << 15;
  static constexpr uint64_t kLongestLagNs = 10'000'000'000;
  static constexpr uint64_t kIcountSlice = uint64_t{1} << 20;

  // Both outlive the board. The RAM's ranges are pc_ram_layout()'s.
  Pc(const PcConfig& config, GuestMemory& memory, VirtualClock& clock);
  ~Pc() override = default;

  // Null: nobody follows the serial ports.
  void set_serial_observer(SerialObserver* observer);

  // The CPU whose accesses come in: its completed() is the time of each. Before the first run.
  void attach(const VcpuContext& cpu) { cpu_ = &cpu; }

  // Power-on or reset state of the devices and ACPI tables in RAM; the CPU is the caller's. RAM is
  // kept otherwise.
  void reset();
  // Puts a Linux kernel into RAM (after reset()).
  [[nodiscard]] Result<LinuxEntry> load_linux(std::span<const uint8_t> kernel, std::span<const uint8_t> initrd,
                                              std::string command_line);

  // --- Outside
  uint64_t port_read(uint16_t port, unsigned size) override;
  void port_write(uint16_t port, unsigned size, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;
  bool mmio_assigned(GuestPhysAddr address, unsigned size) override;
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override;
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override;
  InsnCount next_event(InsnCount now) override;
  void service(InsnCount now) override;
  bool interrupt_pending() override { return interrupt_pending_; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override;
  bool idle(InsnCount now) override;
  bool stop_requested() override { return stop_.load(std::memory_order_relaxed) || power_ != PowerRequest::None; }

  // What the guest asked for, once; None where it did not. stop_requested() holds until it is taken.
  [[nodiscard]] PowerRequest take_power_request();
  void press_power_button();
  // Before a run that follows a pause (or any time when the host's clock went on without the guest):
  // the pull starts from here.
  void resume(InsnCount now);

  // --- any thread
  void request_stop();                       // leave the run loop soon, out of a sleep too
  void clear_stop() { stop_.store(false); }  // before the next run
  void wake();                               // host input has arrived

 private:
  struct Serial {
    device::Uart16550* uart;
    device::CharBackend* backend;
  };

  void set_irq(unsigned irq, bool level);
  void at(InsnCount now) { timers_.set_now(clock_.now(now)); }
  void at_access();
  void update_interrupt();
  void request_power(PowerRequest request);
  bool poll_input();
  [[nodiscard]] bool input_possible() const;
  void flush_output();
  void advance_to(InsnCount now, uint64_t virtual_ns);
  [[nodiscard]] uint64_t host_virtual_ns(InsnCount now);
  bool pull(InsnCount now);  // true: still behind the host
  void run_timers();
  bool sleep(InsnCount now, std::optional<VirtualNs> deadline);

  PcConfig config_;
  GuestMemory& memory_;
  VirtualClock& clock_;
  const VcpuContext* cpu_ = nullptr;
  device::NullChar null_char_;

  device::Timers timers_;
  device::IoBus bus_;
  device::IoApic ioapic_;
  device::LocalApic lapic_;
  device::PicPair pic_;
  device::Pit8254 pit_;
  device::Rtc rtc_;
  device::Uart16550 com1_;
  device::Uart16550 com2_;
  device::AcpiPm pm_;
  device::ResetPorts reset_ports_;
  AcpiTables acpi_;
  std::array<Serial, 2> serials_;

  bool interrupt_pending_ = false;
  PowerRequest power_ = PowerRequest::None;
  uint64_t next_poll_ = 0;                 // count
  std::optional<uint64_t> host_epoch_ns_;  // host time at virtual time 0, while the pull is on

  std::atomic<bool> stop_{false};
  std::mutex wake_mutex_;
  std::condition_variable wake_condition_;
  bool woken_ = false;  // under wake_mutex_
};

}  // namespace panda::board
