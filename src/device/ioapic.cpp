#include "device/ioapic.h"

namespace panda::device {
namespace {

constexpr uint64_t kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16;
constexpr uint64_t kReadOnly = kRemoteIrr | 1u << 12;
constexpr uint64_t kWritable = 0xff00'0000'0001'afffull;  // destination, mask, trigger, polarity, modes, vector
constexpr uint32_t kVersion = 0x20 | (IoApic::kPins - 1) << 16;

}  // namespace

void IoApic::reset() {
  const uint32_t lines = s_.lines;
  s_ = State{};
  s_.lines = lines;
  s_.id = id_;
  s_.entries.fill(kMasked);
}

void IoApic::send(unsigned pin) {
  const uint64_t e = s_.entries[pin];
  bus_({.vector = static_cast<uint8_t>(e),
        .delivery = static_cast<uint8_t>((e >> 8) & 7),
        .logical = (e & (1u << 11)) != 0,
        .level = (e & kLevel) != 0,
        .destination = static_cast<uint32_t>(e >> 56)});
}

void IoApic::deliver_level(unsigned pin) {
  uint64_t& e = s_.entries[pin];
  if ((s_.lines & (1u << pin)) == 0 || (e & kLevel) == 0 || (e & (kMasked | kRemoteIrr)) != 0) return;
  e |= kRemoteIrr;
  send(pin);
}

void IoApic::set_irq(unsigned pin, bool level) {
  if (pin >= kPins) return;
  const bool rises = level && (s_.lines & (1u << pin)) == 0;
  if (level)
    s_.lines |= 1u << pin;
  else
    s_.lines &= ~(1u << pin);
  const uint64_t e = s_.entries[pin];
  if ((e & kLevel) != 0)
    deliver_level(pin);
  else if (rises && (e & kMasked) == 0)
    send(pin);
}

void IoApic::end_of_interrupt(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& e = s_.entries[pin];
    if ((e & kLevel) == 0 || static_cast<uint8_t>(e) != vector || (e & kRemoteIrr) == 0) continue;
    e &= ~kRemoteIrr;
    deliver_level(pin);
  }
}

bool IoApic::passes_ext_int() const { return (s_.entries[0] & kMasked) == 0 && ((s_.entries[0] >> 8) & 7) == 7; }

uint32_t IoApic::read_register(unsigned index) const {
  if (index == 0 || index == 2) return s_.id << 24;  // ID, arbitration ID
  if (index == 1) return kVersion;
  if (index < 0x10 || index >= 0x10 + 2 * kPins) return 0;
  const uint64_t e = s_.entries[(index - 0x10) / 2];
  return static_cast<uint32_t>((index & 1) != 0 ? e >> 32 : e);
}

void IoApic::write_register(unsigned index, uint32_t value) {
  if (index == 0) s_.id = (value >> 24) & 15;
  if (index < 0x10 || index >= 0x10 + 2 * kPins) return;
  const unsigned pin = (index - 0x10) / 2;
  uint64_t& e = s_.entries[pin];
  const uint64_t wide =
      (index & 1) != 0 ? (e & 0xffff'ffff) | uint64_t{value} << 32 : (e & ~uint64_t{0xffff'ffff}) | value;
  e = (wide & kWritable) | (e & kReadOnly);
  if ((e & kLevel) == 0) e &= ~kRemoteIrr;  // how software forgets a lost EOI
  deliver_level(pin);
}

uint64_t IoApic::mmio_read(uint64_t offset, unsigned size_bytes) {
  uint64_t value = 0;
  if (offset < 4) value = s_.select >> (8 * offset);
  if (offset >= 0x10 && offset < 0x14) value = read_register(static_cast<unsigned>(s_.select)) >> (8 * (offset - 0x10));
  return value & all_ones(size_bytes);
}

void IoApic::mmio_write(uint64_t offset, unsigned size_bytes, uint64_t value) {
  if (offset == 0) s_.select = value & 0xff;
  if (size_bytes < 4) return;  // the window and EOI take whole words
  if (offset == 0x10) write_register(static_cast<unsigned>(s_.select), static_cast<uint32_t>(value));
  if (offset == 0x40) end_of_interrupt(static_cast<uint8_t>(value));
}

}  // namespace panda::device
