#include "device/pic8259.h"

namespace panda::device {
namespace {

constexpr uint8_t kIcw1Icw4 = 1, kIcw1Single = 2, kIcw1 = 0x10;
constexpr uint8_t kIcw4AutoEoi = 2, kIcw4SpecialFullyNested = 0x10;
constexpr unsigned kCascade = 2;
constexpr std::array<uint8_t, 2> kElcrMask{0xf8, 0xde};  // IRQ 0-2, 8 and 13 are always edge-triggered

constexpr uint8_t bit(unsigned n) { return static_cast<uint8_t>(1u << n); }

}  // namespace

void PicPair::reset() {
  for (Chip& c : chips_) {
    const uint8_t lines = c.lines;
    c = Chip{};
    c.lines = lines;
  }
  chips_[0].lines &= static_cast<uint8_t>(~bit(kCascade));
  update();
}

bool PicPair::load(std::string_view bytes) {
  Chips chips;
  if (!load_plain(bytes, chips)) return false;
  for (const Chip& c : chips)
    if (c.lowest > 7 || c.step > kWantIcw4) return false;
  chips_ = chips;
  return true;
}

uint8_t PicPair::requests(const Chip& c) {
  const uint8_t level = level_triggered(c);
  return static_cast<uint8_t>((c.latched & ~level) | (c.lines & level));
}

int PicPair::highest(const Chip& c, uint8_t bits) {
  for (unsigned i = 1; i <= 8; ++i)
    if (const unsigned input = (c.lowest + i) & 7; (bits & bit(input)) != 0) return static_cast<int>(input);
  return -1;
}

int PicPair::pending(unsigned chip) const {
  const Chip& c = chips_[chip];
  const int request = highest(c, static_cast<uint8_t>(requests(c) & ~c.imr));
  if (request < 0) return -1;
  uint8_t in_service = c.isr;
  if (c.special_mask != 0) in_service &= static_cast<uint8_t>(~c.imr);
  // The slave resolves priorities among its own: its further requests pass.
  if (chip == 0 && (c.icw4 & kIcw4SpecialFullyNested) != 0) in_service &= static_cast<uint8_t>(~bit(kCascade));
  const int busy = highest(c, in_service);
  if (busy < 0) return request;
  const auto rank = [&](int input) { return (static_cast<unsigned>(input) + 7u - c.lowest) & 7; };
  return rank(request) < rank(busy) ? request : -1;
}

void PicPair::set_line(unsigned chip, unsigned input, bool level) {
  Chip& c = chips_[chip];
  if (level) {
    if ((c.lines & bit(input)) == 0) c.latched |= bit(input);
    c.lines |= bit(input);
  } else {
    c.lines &= static_cast<uint8_t>(~bit(input));
  }
}

void PicPair::update() {
  set_line(0, kCascade, pending(1) >= 0);
  intr_.set(pending(0) >= 0);
}

void PicPair::set_irq(unsigned irq, bool level) {
  if (irq >= 16 || irq == kCascade) return;
  set_line(irq >> 3, irq & 7, level);
  update();
}

void PicPair::take(Chip& c, unsigned input) {
  c.latched &= static_cast<uint8_t>(~bit(input));
  if ((c.icw4 & kIcw4AutoEoi) == 0) {
    c.isr |= bit(input);
  } else if (c.rotate_on_auto_eoi != 0) {
    c.lowest = static_cast<uint8_t>(input);
  }
}

uint8_t PicPair::acknowledge() {
  Chip& master = chips_[0];
  Chip& slave = chips_[1];
  const int input = pending(0);
  if (input < 0) return static_cast<uint8_t>(master.base | 7);
  take(master, static_cast<unsigned>(input));
  uint8_t vector = static_cast<uint8_t>(master.base | static_cast<unsigned>(input));
  if (input == static_cast<int>(kCascade)) {
    const int slave_input = pending(1);
    if (slave_input >= 0) take(slave, static_cast<unsigned>(slave_input));
    vector = static_cast<uint8_t>(slave.base | (slave_input >= 0 ? static_cast<unsigned>(slave_input) : 7u));
    drop_cascade();
  }
  update();
  return vector;
}

uint8_t PicPair::poll(unsigned chip) {
  const int input = pending(chip);
  if (input < 0) return 0;
  take(chips_[chip], static_cast<unsigned>(input));
  if (chip == 1) drop_cascade();
  update();
  return static_cast<uint8_t>(0x80 | input);
}

void PicPair::end_of_interrupt(Chip& c, uint8_t command) {
  const bool rotate = (command & 0x80) != 0;
  const bool specific = (command & 0x40) != 0;
  const bool eoi = (command & 0x20) != 0;
  if (!eoi) {
    if (specific && rotate) c.lowest = command & 7;        // set priority
    if (!specific) c.rotate_on_auto_eoi = rotate ? 1 : 0;  // rotate in automatic EOI mode
    return;
  }
  int input = command & 7;
  if (!specific) {
    uint8_t candidates = c.isr;
    if (c.special_mask != 0) candidates &= static_cast<uint8_t>(~c.imr);
    input = highest(c, candidates);
    if (input < 0) return;
  }
  c.isr &= static_cast<uint8_t>(~bit(static_cast<unsigned>(input)));
  if (rotate) c.lowest = static_cast<uint8_t>(input);
}

void PicPair::write_command(unsigned chip, uint8_t value) {
  Chip& c = chips_[chip];
  if ((value & kIcw1) != 0) {
    const Chip fresh{.lines = c.lines, .imr = 0, .elcr = c.elcr, .base = c.base, .step = kWantIcw2, .icw1 = value};
    c = fresh;
  } else if ((value & 8) != 0) {  // OCW3
    if ((value & 4) != 0) c.poll = 1;
    if ((value & 2) != 0) c.read_isr = value & 1;
    if ((value & 0x40) != 0) c.special_mask = (value >> 5) & 1;
  } else {
    end_of_interrupt(c, value);
  }
  update();
}

void PicPair::write_data(unsigned chip, uint8_t value) {
  Chip& c = chips_[chip];
  switch (c.step) {
    case kWantIcw2:
      c.base = value & 0xf8;
      c.step = (c.icw1 & kIcw1Single) == 0 ? kWantIcw3 : (c.icw1 & kIcw1Icw4) != 0 ? kWantIcw4 : kReady;
      break;
    case kWantIcw3:
      c.icw3 = value;  // the wiring is fixed
      c.step = (c.icw1 & kIcw1Icw4) != 0 ? kWantIcw4 : kReady;
      break;
    case kWantIcw4:
      c.icw4 = value;
      c.step = kReady;
      break;
    default:
      c.imr = value;
      break;
  }
  update();
}

uint32_t PicPair::port_read(uint16_t port, unsigned) {
  if ((port & 0xfffe) == 0x4d0) return chips_[port & 1].elcr;
  const unsigned chip = (port & 0x80) != 0 ? 1 : 0;
  Chip& c = chips_[chip];
  if (c.poll != 0) {
    c.poll = 0;
    return poll(chip);
  }
  if ((port & 1) != 0) return c.imr;
  return c.read_isr != 0 ? c.isr : requests(c);
}

void PicPair::port_write(uint16_t port, unsigned, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  if ((port & 0xfffe) == 0x4d0) {
    chips_[port & 1].elcr = byte & kElcrMask[port & 1];
    return update();
  }
  const unsigned chip = (port & 0x80) != 0 ? 1 : 0;
  if ((port & 1) != 0)
    write_data(chip, byte);
  else
    write_command(chip, byte);
}

}  // namespace panda::device
