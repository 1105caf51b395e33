#include "device/uart16550.h"

#include <algorithm>

namespace panda::device {
namespace {

constexpr uint8_t kLsrDataReady = 0x01, kLsrOverrun = 0x02, kLsrTransmitterEmpty = 0x60;
constexpr uint8_t kIerReceived = 1, kIerTransmitted = 2, kIerLineStatus = 4, kIerModemStatus = 8;
constexpr uint8_t kMcrLoop = 0x10;
constexpr uint8_t kPeerReady = 0xb0;  // DCD, DSR, CTS
constexpr uint8_t kLcrDlab = 0x80;

}  // namespace

void Uart16550::reset() {
  s_ = State{};
  update_irq();
}

bool Uart16550::load(std::string_view bytes) {
  State s;
  if (!load_plain(bytes, s) || s.fifo_count > kFifoBytes) return false;
  s_ = s;
  return true;
}

unsigned Uart16550::trigger() const {
  static constexpr std::array<uint8_t, 4> kLevels{1, 4, 8, 14};
  return (s_.fcr & 1) != 0 ? kLevels[s_.fcr >> 6] : 1;
}

uint8_t Uart16550::lsr() const {
  return static_cast<uint8_t>(kLsrTransmitterEmpty | s_.lsr_error | (s_.fifo_count != 0 ? kLsrDataReady : 0));
}

uint8_t Uart16550::interrupt_id() const {
  if ((s_.ier & kIerLineStatus) != 0 && s_.lsr_error != 0) return 6;
  if ((s_.ier & kIerReceived) != 0 && s_.fifo_count != 0) return s_.fifo_count >= trigger() ? 4 : 12;
  if ((s_.ier & kIerTransmitted) != 0 && s_.thre_pending != 0) return 2;
  if ((s_.ier & kIerModemStatus) != 0 && s_.msr_delta != 0) return 0;
  return 1;
}

bool Uart16550::can_receive() const { return s_.fifo_count < capacity() && (s_.mcr & kMcrLoop) == 0; }

void Uart16550::receive(uint8_t byte) {
  if ((s_.mcr & kMcrLoop) != 0) return;  // the input pin is disconnected
  enqueue(byte);
  update_irq();
}

void Uart16550::tell(SerialTraffic::Kind kind, unsigned slot, uint8_t value) {
  if (observer_ != nullptr) observer_->serial_traffic({kind, base_, static_cast<uint8_t>(slot % kFifoBytes), value});
}

void Uart16550::enqueue(uint8_t byte) {
  if (s_.fifo_count >= capacity()) {
    s_.lsr_error |= kLsrOverrun;
    if ((s_.fcr & 1) == 0) {  // without a FIFO the new byte replaces the old
      s_.fifo[0] = byte;
      tell(SerialTraffic::Kind::Received, received_ - 1, byte);
    }
    return;
  }
  s_.fifo[s_.fifo_count++] = byte;
  tell(SerialTraffic::Kind::Received, received_++, byte);
}

void Uart16550::set_modem_lines(uint8_t level) {
  const uint8_t changed = static_cast<uint8_t>((s_.msr_level ^ level) >> 4);
  // The ring indicator reports only its trailing edge.
  const uint8_t ring_started = static_cast<uint8_t>(changed & (level >> 4) & 4);
  s_.msr_delta = static_cast<uint8_t>(s_.msr_delta | (changed & ~ring_started));
  s_.msr_level = level;
}

void Uart16550::write_fcr(uint8_t value) {
  if (((s_.fcr ^ value) & 1) != 0 || (value & 3) == 3) s_.fifo_count = 0;
  if (((s_.fcr ^ value) & 1) != 0 || (value & 5) == 5) s_.thre_pending = 1;
  s_.fcr = (value & 1) != 0 ? static_cast<uint8_t>(value & 0xc9) : 0;
}

uint32_t Uart16550::port_read(uint16_t port, unsigned) {
  const bool dlab = (s_.lcr & kLcrDlab) != 0;
  uint8_t value = 0;
  switch ((port - base_) & 7) {
    case 0:
      if (dlab) return s_.dll;
      value = s_.fifo[0];
      if (s_.fifo_count != 0) {
        tell(SerialTraffic::Kind::Read, received_ - s_.fifo_count, value);
        if (s_.fifo_count > 1) std::copy(s_.fifo.begin() + 1, s_.fifo.begin() + s_.fifo_count, s_.fifo.begin());
        --s_.fifo_count;
      }
      break;
    case 1:
      return dlab ? s_.dlm : s_.ier;
    case 2:
      value = interrupt_id();
      if (value == 2) s_.thre_pending = 0;
      if ((s_.fcr & 1) != 0) value |= 0xc0;
      break;
    case 3:
      return s_.lcr;
    case 4:
      return s_.mcr;
    case 5:
      value = lsr();
      s_.lsr_error = 0;
      break;
    case 6:
      value = static_cast<uint8_t>(s_.msr_level | s_.msr_delta);
      s_.msr_delta = 0;
      break;
    default:
      return s_.scratch;
  }
  update_irq();
  return value;
}

void Uart16550::port_write(uint16_t port, unsigned, uint32_t wide) {
  const auto value = static_cast<uint8_t>(wide);
  const bool dlab = (s_.lcr & kLcrDlab) != 0;
  switch ((port - base_) & 7) {
    case 0:
      if (dlab) {
        s_.dll = value;
        break;
      }
      if ((s_.mcr & kMcrLoop) != 0) {
        enqueue(value);
      } else {
        out_.put(value);
        tell(SerialTraffic::Kind::Sent, sent_++, value);
      }
      s_.thre_pending = 1;
      break;
    case 1:
      if (dlab) {
        s_.dlm = value;
        break;
      }
      // Enabling the interrupt while the transmitter is empty (it always is) raises it.
      if ((value & ~s_.ier & kIerTransmitted) != 0) s_.thre_pending = 1;
      s_.ier = value & 0x0f;
      break;
    case 2:
      write_fcr(value);
      break;
    case 3:
      s_.lcr = value;
      break;
    case 4: {
      s_.mcr = value & 0x1f;
      uint8_t level = kPeerReady;
      if ((s_.mcr & kMcrLoop) != 0)  // RTS -> CTS, DTR -> DSR, OUT1 -> RI, OUT2 -> DCD
        level = static_cast<uint8_t>(((value & 1) << 5) | ((value & 2) << 3) | ((value & 0x0c) << 4));
      set_modem_lines(level);
      break;
    }
    case 7:
      s_.scratch = value;
      break;
    default:  // LSR and MSR are read-only
      break;
  }
  update_irq();
}

}  // namespace panda::device
