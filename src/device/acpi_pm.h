// The ACPI fixed hardware (ACPI 6, chapter 4.8): PM1a event and control blocks and the 24-bit PM
// timer. Always in ACPI mode (the FADT has no SMI command), SCI_EN reads as one. There are no
// general-purpose events. Bytes between the registers read as zeros.
#pragma once

#include <cstdint>
#include <functional>

#include "device/bus.h"
#include "device/device.h"
#include "device/irq_line.h"
#include "device/timers.h"

namespace panda::device {

inline constexpr uint64_t kPmTimerHz = 3'579'545;

class AcpiPm final : public Device, public PortDevice {
 public:
  // Offsets from the base port, for the FADT.
  static constexpr unsigned kEventBlock = 0, kControlBlock = 4, kTimerBlock = 8, kPorts = 12;
  static constexpr uint8_t kS5SleepType = 5;

  AcpiPm(uint16_t base, IrqLine sci, Timers& timers, std::function<void()> power_off);

  [[nodiscard]] std::string_view name() const override { return "acpi-pm"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override;

  uint32_t port_read(uint16_t port, unsigned size_bytes) override;
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override;

  void press_power_button();

 private:
  friend struct AcpiPmRows;
  struct State {
    uint64_t carry_seen = 0;  // number of the last half turn of the timer that set TMR_STS
    uint32_t status = 0;
    uint16_t enable = 0;
    uint16_t control = 0;
  };

  [[nodiscard]] uint64_t ticks() const;
  void update();
  void write_control(uint16_t value);
  void rearm();

  uint16_t base_;
  IrqLine sci_;
  Timers& timers_;
  Timer timer_;
  std::function<void()> power_off_;
  State s_;
};

}  // namespace panda::device
