// 16550A UART. Transmission takes no guest time: the holding register is empty again at once, and
// its interrupt follows each write. Received bytes below the FIFO's trigger level are reported as
// a character time-out at once, not after four character times. The interrupt output is gated by
// OUT2, as on a PC. Modem inputs are those of a connected, ready peer.
#pragma once

#include <array>

#include "device/bus.h"
#include "device/char_backend.h"
#include "device/device.h"
#include "device/irq_line.h"
#include "memory/serial_traffic.h"

namespace panda::device {

class Uart16550 final : public Device, public PortDevice {
 public:
  static constexpr unsigned kPorts = 8;

  Uart16550(uint16_t base, IrqLine irq, CharBackend& out) : base_(base), irq_(std::move(irq)), out_(out) { reset(); }

  [[nodiscard]] std::string_view name() const override { return "16550a"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override;

  uint32_t port_read(uint16_t port, unsigned size_bytes) override;
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override;

  // The line's other end. A byte given while !can_receive() is lost as an overrun.
  [[nodiscard]] bool can_receive() const;
  void receive(uint8_t byte);
  void set_observer(SerialObserver* observer) { observer_ = observer; }  // may be null

 private:
  static constexpr unsigned kFifoBytes = 16;

  struct State {
    std::array<uint8_t, kFifoBytes> fifo{};  // oldest first
    uint8_t fifo_count = 0;
    uint8_t ier = 0;
    uint8_t fcr = 0;
    uint8_t lcr = 0;
    uint8_t mcr = 0;
    uint8_t msr_delta = 0;
    uint8_t msr_level = 0xb0;
    uint8_t lsr_error = 0;  // OE
    uint8_t scratch = 0;
    uint8_t dll = 12;  // 9600 baud
    uint8_t dlm = 0;
    uint8_t thre_pending = 0;
  };

  [[nodiscard]] unsigned capacity() const { return (s_.fcr & 1) != 0 ? kFifoBytes : 1; }
  [[nodiscard]] unsigned trigger() const;
  [[nodiscard]] uint8_t lsr() const;
  [[nodiscard]] uint8_t interrupt_id() const;  // IIR bits 3:0
  void update_irq() { irq_.set((interrupt_id() & 1) == 0 && (s_.mcr & 8) != 0); }
  void enqueue(uint8_t byte);
  void tell(SerialTraffic::Kind kind, unsigned slot, uint8_t value);
  void set_modem_lines(uint8_t level);
  void write_fcr(uint8_t value);

  uint16_t base_;
  IrqLine irq_;
  CharBackend& out_;
  State s_;
  // Of all bytes, to name their places in the FIFOs to the observer: no state of the chip.
  unsigned received_ = 0, sent_ = 0;
  SerialObserver* observer_ = nullptr;
};

}  // namespace panda::device
