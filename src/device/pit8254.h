// 8254 interval timer and port 0x61 (gate and output of channel 2, speaker, refresh toggle).
// Everything is computed from virtual time; the timer only wakes us for the rising edges of
// channel 0's output, which is all an edge-triggered IRQ 0 sees. A count starts at the moment it
// is written: the one CLK period the chip takes to load it is not modelled.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "device/bus.h"
#include "device/device.h"
#include "device/irq_line.h"
#include "device/timers.h"

namespace panda::device {

inline constexpr uint64_t kPitHz = 1'193'182;

class Pit8254 final : public Device, public PortDevice {
 public:
  Pit8254(IrqLine irq0, Timers& timers);

  [[nodiscard]] std::string_view name() const override { return "8254"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override;

  // Ports 0x40-0x43 and 0x61.
  uint32_t port_read(uint16_t port, unsigned size_bytes) override;
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override;

  // The output pin of a channel now.
  [[nodiscard]] bool output(unsigned channel);

 private:
  struct Channel {
    uint64_t start_ns = 0;      // when `base_ticks` held, while counting
    uint64_t base_ticks = 0;    // CLK periods counted before that
    uint64_t reload_at_ns = 0;  // modes 2, 3: a new count waits for the end of this period (0: none)
    uint64_t seen_ticks = 0;    // channel 0: output edges up to here went to the IRQ line
    uint32_t count = 0;         // 1..65536; 0: none loaded since the control word
    uint32_t reload = 0;
    uint16_t latch = 0;
    uint8_t mode = 0;
    uint8_t bcd = 0;
    uint8_t access = 3;  // 1 low byte, 2 high byte, 3 both
    uint8_t write_high = 0;
    uint8_t write_low_byte = 0;
    uint8_t read_high = 0;
    uint8_t latched_bytes = 0;
    uint8_t status_latched = 0;
    uint8_t status = 0;
    uint8_t gate = 1;
    uint8_t null_count = 1;
    uint8_t counting = 0;
    uint8_t rise_missed = 0;  // a period ended inside sync(): tell the IRQ line
    uint8_t unused = 0;
  };
  struct State {
    std::array<Channel, 3> channels{};
    uint64_t speaker = 0;  // port 0x61 bits 3:0 as written
  };

  [[nodiscard]] uint64_t now() const { return timers_.now().value; }
  [[nodiscard]] uint64_t ticks(const Channel& c) const;
  [[nodiscard]] uint64_t ns_of(const Channel& c, uint64_t tick) const;
  void sync(Channel& c);
  [[nodiscard]] bool level(const Channel& c) const;
  [[nodiscard]] std::optional<uint64_t> next_rise(const Channel& c, uint64_t after_tick) const;
  void start(Channel& c);
  void load_count(Channel& c, uint32_t raw);
  void set_gate(Channel& c, bool gate);
  [[nodiscard]] uint16_t current_count(const Channel& c) const;
  void latch_count(Channel& c);
  void latch_status(Channel& c);
  void write_control(uint8_t value);
  void write_count(Channel& c, uint8_t value);
  uint8_t read_count(Channel& c);
  void update_irq();
  void rearm();

  IrqLine irq0_;
  Timers& timers_;
  Timer timer_;
  State s_;
};

}  // namespace panda::device
