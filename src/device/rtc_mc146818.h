// MC146818 real-time clock with its CMOS memory. The date is the start date given to the
// constructor plus virtual time, moved when the guest sets it. Update-in-progress shows in the last
// 244 us of a second. Flags in register C are computed when somebody looks; the timer runs only for
// interrupts that are enabled. The square-wave output and daylight saving are not there.
#pragma once

#include <array>
#include <cstdint>

#include "device/bus.h"
#include "device/device.h"
#include "device/irq_line.h"
#include "device/timers.h"

namespace panda::device {

class Rtc final : public Device, public PortDevice {
 public:
  // start_unix_seconds: what the clock shows at virtual time 0. ram_*: for the memory size registers.
  Rtc(IrqLine irq8, Timers& timers, int64_t start_unix_seconds, uint64_t low_ram_bytes, uint64_t high_ram_bytes);

  [[nodiscard]] std::string_view name() const override { return "mc146818"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override;

  // Ports 0x70 (index, write-only) and 0x71.
  uint32_t port_read(uint16_t port, unsigned size_bytes) override;
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override;

 private:
  struct State {
    std::array<uint8_t, 128> cmos{};
    int64_t base_ns = 0;       // Unix time in ns at virtual time 0
    uint64_t period_seen = 0;  // number of the last periodic tick that set PF
    int64_t second_seen = 0;   // the last second that set UF and was compared with the alarm
    uint64_t index = 0;
  };

  [[nodiscard]] bool frozen() const;  // SET, or the divider is held in reset
  [[nodiscard]] int64_t unix_ns() const;
  [[nodiscard]] int64_t unix_seconds() const;
  [[nodiscard]] uint64_t period_ticks() const;  // of 32768 Hz; 0: none
  [[nodiscard]] uint64_t ticks_now() const;
  [[nodiscard]] uint8_t encode(unsigned value) const;
  [[nodiscard]] unsigned decode(uint8_t value) const;
  void registers_from_time();
  void time_from_registers();
  [[nodiscard]] bool alarm_matches(int64_t second_of_day) const;
  void sync();  // brings register C and the IRQ line up to date
  void restart();
  void rearm();
  [[nodiscard]] uint8_t read_register(unsigned index);
  void write_register(unsigned index, uint8_t value);
  void fill_memory_sizes();

  IrqLine irq8_;
  Timers& timers_;
  Timer timer_;
  int64_t start_unix_seconds_;
  uint64_t low_ram_bytes_;
  uint64_t high_ram_bytes_;
  State s_;
};

}  // namespace panda::device
