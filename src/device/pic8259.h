// The PC's two cascaded 8259A interrupt controllers and the ELCR that makes single inputs
// level-triggered. All of ICW and OCW, special mask, special fully nested mode, polling, rotation.
// Not there: 8080/85 call mode, buffered mode (the bits are kept and mean nothing on a PC).
#pragma once

#include <array>
#include <cstdint>

#include "device/bus.h"
#include "device/device.h"
#include "device/irq_line.h"

namespace panda::device {

class PicPair final : public Device, public PortDevice {
 public:
  explicit PicPair(IrqLine intr) : intr_(std::move(intr)) { reset(); }

  [[nodiscard]] std::string_view name() const override { return "8259a"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(chips_); }
  bool load(std::string_view bytes) override;

  // Ports 0x20-0x21, 0xa0-0xa1, 0x4d0-0x4d1.
  uint32_t port_read(uint16_t port, unsigned size_bytes) override;
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override;

  void set_irq(unsigned irq, bool level);
  [[nodiscard]] bool output() const { return pending(0) >= 0; }
  // INTA: the vector. IRQ 7 (of the chip that was asked) where the request went away.
  uint8_t acknowledge();

 private:
  enum Step : uint8_t { kReady, kWantIcw2, kWantIcw3, kWantIcw4 };
  struct Chip {
    uint8_t lines = 0;
    uint8_t latched = 0;  // edges seen and not yet acknowledged
    uint8_t imr = 0xff;   // masked until initialised: no firmware ran that would have set a base
    uint8_t isr = 0;
    uint8_t elcr = 0;
    uint8_t base = 0;
    uint8_t step = kReady;
    uint8_t icw1 = 0;
    uint8_t icw3 = 0;
    uint8_t icw4 = 0;
    uint8_t read_isr = 0;
    uint8_t poll = 0;
    uint8_t special_mask = 0;
    uint8_t lowest = 7;  // the input with the lowest priority
    uint8_t rotate_on_auto_eoi = 0;
  };
  using Chips = std::array<Chip, 2>;  // master, slave

  [[nodiscard]] static uint8_t level_triggered(const Chip& c) { return (c.icw1 & 8) != 0 ? 0xff : c.elcr; }
  [[nodiscard]] static uint8_t requests(const Chip& c);
  [[nodiscard]] static int highest(const Chip& c, uint8_t bits);  // input number, -1: none
  [[nodiscard]] int pending(unsigned chip) const;
  void set_line(unsigned chip, unsigned input, bool level);
  void take(Chip& c, unsigned input);
  void update();
  void end_of_interrupt(Chip& c, uint8_t command);
  void write_command(unsigned chip, uint8_t value);
  void write_data(unsigned chip, uint8_t value);
  uint8_t poll(unsigned chip);
  // The slave's INT falls while it is acknowledged, so that the master sees a new edge after it.
  void drop_cascade() { set_line(0, 2, false); }

  IrqLine intr_;
  Chips chips_;
};

}  // namespace panda::device
