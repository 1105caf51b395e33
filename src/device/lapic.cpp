#include "device/lapic.h"

#include <bit>

namespace panda::device {
namespace {

constexpr uint32_t kMasked = 1u << 16, kLvtLevel = 1u << 15, kLvtRemoteIrr = 1u << 14;
constexpr uint64_t kBsp = 1u << 8, kExtended = 1u << 10, kGlobalEnable = 1u << 11;
constexpr uint32_t kSoftwareEnable = 0x100;
constexpr uint32_t kVersion = 0x0005'0014;  // six LVT entries
// Which bits of the LVT entries the guest may set: timer, thermal, performance, LINT0, LINT1, error.
constexpr std::array<uint32_t, 6> kLvtWritable{0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};
enum Delivery : uint32_t { kFixed = 0, kLowest = 1, kNmi = 4, kExtInt = 7 };
enum Error : uint32_t { kSendIllegalVector = 1u << 5, kReceiveIllegalVector = 1u << 6, kIllegalRegister = 1u << 7 };

// Register numbers: offset / 16, MSR - 0x800.
enum Register : unsigned {
  kId = 0x02,
  kVersionRegister = 0x03,
  kTpr = 0x08,
  kApr = 0x09,
  kPpr = 0x0a,
  kEoi = 0x0b,
  kRrd = 0x0c,
  kLdr = 0x0d,
  kDfr = 0x0e,
  kSvr = 0x0f,
  kIsr = 0x10,
  kTmr = 0x18,
  kIrr = 0x20,
  kEsr = 0x28,
  kLvtCmci = 0x2f,
  kIcrLow = 0x30,
  kIcrHigh = 0x31,
  kLvtFirst = 0x32,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3e,
  kSelfIpi = 0x3f,
};

void set_bit(std::array<uint32_t, 8>& bits, uint8_t n, bool value) {
  const uint32_t mask = 1u << (n & 31);
  if (value)
    bits[n >> 5] |= mask;
  else
    bits[n >> 5] &= ~mask;
}
bool get_bit(const std::array<uint32_t, 8>& bits, uint8_t n) { return (bits[n >> 5] >> (n & 31) & 1) != 0; }

}  // namespace

LocalApic::LocalApic(Config config, Timers& timers, std::function<void(uint8_t)> broadcast_eoi)
    : config_(config),
      timers_(timers),
      timer_(timers, [this] { timer_fired(); }),
      broadcast_eoi_(std::move(broadcast_eoi)) {
  reset();
}

void LocalApic::clear_registers() {
  const uint32_t lines = s_.lint_lines;
  const uint64_t base = s_.base;
  s_ = State{};
  s_.lint_lines = lines;
  s_.base = base;
  s_.id = config_.id;
  s_.lvt.fill(kMasked);
  timer_.cancel();
}

void LocalApic::reset() {
  clear_registers();
  s_.base = kDefaultBase | kGlobalEnable | kBsp;
}

bool LocalApic::load(std::string_view bytes) {
  if (!load_plain(bytes, s_)) return false;
  rearm();
  return true;
}

void LocalApic::set_up_virtual_wire() {
  s_.svr = kSoftwareEnable | 0xff;
  s_.lvt[kLvtLint0] = kExtInt << 8;
  s_.lvt[kLvtLint1] = kNmi << 8;
}

bool LocalApic::write_base_msr(uint64_t value) {
  const uint64_t writable = (((uint64_t{1} << config_.physical_address_bits) - 1) & ~uint64_t{0xfff}) | kBsp |
                            kGlobalEnable | (config_.x2apic ? kExtended : 0);
  if ((value & ~writable) != 0) return false;
  const bool was_on = (s_.base & kGlobalEnable) != 0;
  const bool was_x2 = x2apic_mode();
  const bool on = (value & kGlobalEnable) != 0;
  const bool x2 = (value & kExtended) != 0;
  // SDM vol. 3, 11.12.5: only xAPIC -> x2APIC -> off -> xAPIC.
  if ((x2 && !on) || (was_x2 && on && !x2) || (!was_on && x2)) return false;
  s_.base = value;
  if (was_on && !on) clear_registers();
  if (x2 && !was_x2) {
    s_.id = config_.id;
    s_.ldr = (uint32_t{config_.id} >> 4) << 16 | 1u << (config_.id & 15);
    s_.icr_high = 0;
  }
  return true;
}

int LocalApic::highest(const Bits& bits) {
  for (int i = 7; i >= 0; --i)
    if (const uint32_t word = bits[static_cast<size_t>(i)]; word != 0) return i * 32 + 31 - std::countl_zero(word);
  return -1;
}

uint32_t LocalApic::processor_priority() const {
  const int in_service = highest(s_.isr);
  const uint32_t service = in_service < 0 ? 0 : static_cast<uint32_t>(in_service);
  return (s_.tpr >> 4) >= (service >> 4) ? s_.tpr : service & 0xf0;
}

void LocalApic::set_task_priority(uint8_t cr8) { s_.tpr = static_cast<uint32_t>(cr8 & 15) << 4; }

bool LocalApic::interrupt_pending() const {
  if (!enabled()) return false;
  if (s_.nmi_pending != 0) return true;
  const int request = highest(s_.irr);
  return request >= 0 && (static_cast<uint32_t>(request) >> 4) > (processor_priority() >> 4);
}

uint8_t LocalApic::acknowledge() {
  if (!interrupt_pending()) return static_cast<uint8_t>(s_.svr);
  if (s_.nmi_pending != 0) {
    s_.nmi_pending = 0;
    return 2;
  }
  const auto vector = static_cast<uint8_t>(highest(s_.irr));
  set_bit(s_.irr, vector, false);
  set_bit(s_.isr, vector, true);
  return vector;
}

bool LocalApic::passes_ext_int() const {
  if ((s_.base & kGlobalEnable) == 0) return true;
  const uint32_t lint0 = s_.lvt[kLvtLint0];
  return (lint0 & kMasked) == 0 && ((lint0 >> 8) & 7) == kExtInt;
}

void LocalApic::error(uint32_t bit) {
  const bool first = (s_.esr_pending & bit) == 0;
  s_.esr_pending |= bit;
  if (first) raise_lvt(kLvtError);
}

void LocalApic::accept(uint8_t vector, bool level) {
  if (vector < 16) return error(kReceiveIllegalVector);
  set_bit(s_.irr, vector, true);
  set_bit(s_.tmr, vector, level);
}

bool LocalApic::matches(uint32_t destination, bool logical) const {
  if (x2apic_mode()) {
    if (destination == ~0u || destination == 0xff) return true;  // I/O APICs send only eight bits
    if (!logical) return destination == s_.id;
    return (destination >> 16) == (s_.ldr >> 16) && (destination & s_.ldr & 0xffff) != 0;
  }
  destination &= 0xff;
  if (!logical) return destination == 0xff || destination == s_.id;
  const uint32_t ldr = s_.ldr >> 24;
  if ((s_.dfr >> 28) == 0xf) return (destination & ldr) != 0;  // flat
  return destination == 0xff || ((destination >> 4) == (ldr >> 4) && (destination & ldr & 15) != 0);
}

void LocalApic::receive(const ApicMessage& message) {
  if ((s_.base & kGlobalEnable) == 0 || !matches(message.destination, message.logical)) return;
  if (message.delivery == kNmi) s_.nmi_pending = 1;
  if (message.delivery != kFixed && message.delivery != kLowest) return;
  if (enabled()) accept(message.vector, message.level);
}

void LocalApic::raise_lvt(unsigned lvt) {
  uint32_t& entry = s_.lvt[lvt];
  if ((entry & kMasked) != 0 || !enabled()) return;
  switch ((entry >> 8) & 7) {
    case kFixed: {
      const bool level = (lvt == kLvtLint0) && (entry & kLvtLevel) != 0;  // LINT1 is always edge-triggered
      if (level && (entry & kLvtRemoteIrr) != 0) return;
      if (level) entry |= kLvtRemoteIrr;
      return accept(static_cast<uint8_t>(entry), level);
    }
    case kNmi:
      s_.nmi_pending = 1;
      return;
    default:  // ExtINT passes by (passes_ext_int); SMI and INIT have no receiver
      return;
  }
}

void LocalApic::set_lint(unsigned pin, bool level) {
  const uint32_t mask = 1u << (pin & 1);
  const bool rises = level && (s_.lint_lines & mask) == 0;
  s_.lint_lines = level ? s_.lint_lines | mask : s_.lint_lines & ~mask;
  if (rises) raise_lvt(kLvtLint0 + (pin & 1));
}

void LocalApic::end_of_interrupt() {
  const int in_service = highest(s_.isr);
  if (in_service < 0) return;
  const auto vector = static_cast<uint8_t>(in_service);
  set_bit(s_.isr, vector, false);
  if (!get_bit(s_.tmr, vector)) return;
  uint32_t& lint0 = s_.lvt[kLvtLint0];
  if ((lint0 & kLvtRemoteIrr) != 0 && static_cast<uint8_t>(lint0) == vector) {
    lint0 &= ~kLvtRemoteIrr;
    if ((s_.lint_lines & 1) != 0) raise_lvt(kLvtLint0);
  }
  broadcast_eoi_(vector);
}

void LocalApic::write_icr() {
  const uint32_t delivery = (s_.icr_low >> 8) & 7;
  const auto vector = static_cast<uint8_t>(s_.icr_low);
  const uint32_t shorthand = (s_.icr_low >> 18) & 3;
  if ((delivery == kFixed || delivery == kLowest) && vector < 16) return error(kSendIllegalVector);
  const uint32_t destination = x2apic_mode() ? s_.icr_high : s_.icr_high >> 24;
  const bool to_self =
      shorthand == 1 || shorthand == 2 || (shorthand == 0 && matches(destination, (s_.icr_low & 0x800) != 0));
  if (!to_self) return;
  if (delivery == kFixed || delivery == kLowest) {
    if (enabled()) accept(vector, false);  // interprocessor interrupts are edge-triggered
  } else if (delivery == kNmi) {
    s_.nmi_pending = 1;
  }
}

void LocalApic::write_lvt(unsigned lvt, uint32_t value) {
  const uint32_t old = s_.lvt[lvt];
  value = (value & kLvtWritable[lvt]) | (old & kLvtRemoteIrr);
  if ((s_.svr & kSoftwareEnable) == 0) value |= kMasked;
  // Going in or out of TSC-deadline mode disarms the timer.
  const bool deadline_mode_changed = lvt == kLvtTimer && ((old ^ value) & (1u << 18)) != 0;
  // The initial count serves one-shot and periodic alike; a stopped periodic timer stays stopped.
  s_.lvt[lvt] = value;
  if (deadline_mode_changed) {
    s_.tsc_deadline = 0;
    s_.initial_count = 0;
    stop_timer();
  }
}

uint32_t LocalApic::read_register(unsigned index) {
  if (index >= kIsr && index < kEsr) {
    const Bits& bits = index < kTmr ? s_.isr : index < kIrr ? s_.tmr : s_.irr;
    return bits[index & 7];
  }
  if (index - kLvtFirst < unsigned{kLvtCount}) return s_.lvt[index - kLvtFirst];
  switch (index) {
    case kId:
      return x2apic_mode() ? s_.id : s_.id << 24;
    case kVersionRegister:
      return kVersion;
    case kTpr:
      return s_.tpr;
    case kApr:
    case kPpr:
      return processor_priority();
    case kEoi:  // write-only, reads as zero
    case kRrd:
      return 0;
    case kLdr:
      return s_.ldr;
    case kDfr:
      return s_.dfr;
    case kSvr:
      return s_.svr;
    case kEsr:
      return s_.esr;
    case kIcrLow:
      return s_.icr_low;
    case kIcrHigh:
      return s_.icr_high;
    case kInitialCount:
      return s_.initial_count;
    case kCurrentCount:
      return current_count();
    case kDivide:
      return s_.divide;
    default:
      error(kIllegalRegister);
      return 0;
  }
}

void LocalApic::write_register(unsigned index, uint32_t value) {
  if (index - kLvtFirst < unsigned{kLvtCount}) return write_lvt(index - kLvtFirst, value);
  switch (index) {
    case kId:
      s_.id = value >> 24;
      break;
    case kTpr:
      s_.tpr = value & 0xff;
      break;
    case kEoi:
      end_of_interrupt();
      break;
    case kLdr:
      s_.ldr = value & 0xff00'0000;
      break;
    case kDfr:
      s_.dfr = value | 0x0fff'ffff;
      break;
    case kSvr:
      s_.svr = value & 0x3ff;
      if ((value & kSoftwareEnable) == 0)
        for (uint32_t& entry : s_.lvt) entry |= kMasked;
      break;
    case kEsr:
      s_.esr = s_.esr_pending;
      s_.esr_pending = 0;
      break;
    case kIcrLow:
      s_.icr_low = value & 0x000c'cfff;
      write_icr();
      break;
    case kIcrHigh:
      s_.icr_high = value & 0xff00'0000;
      break;
    case kInitialCount:
      start_timer(value);
      break;
    case kDivide:
      change_divide(value);
      break;
    case kVersionRegister:
    case kApr:
    case kPpr:
    case kRrd:
    case kCurrentCount:
      break;
    default:
      if (index < kIsr || index >= kEsr) error(kIllegalRegister);
      break;
  }
}

uint64_t LocalApic::mmio_read(uint64_t offset, unsigned size_bytes) {
  const uint64_t byte = offset & 15;
  if (byte >= 4 || offset >= kMmioBytes) return 0;
  const uint64_t value = read_register(static_cast<unsigned>(offset >> 4));
  return (value >> (8 * byte)) & all_ones(size_bytes);
}

void LocalApic::mmio_write(uint64_t offset, unsigned size_bytes, uint64_t value) {
  if ((offset & 15) != 0 || size_bytes < 4 || offset >= kMmioBytes) return;
  write_register(static_cast<unsigned>(offset >> 4), static_cast<uint32_t>(value));
}

std::optional<uint64_t> LocalApic::x2apic_read(uint32_t index) {
  if (!x2apic_mode()) return {};
  if (index == kIcrLow) return uint64_t{s_.icr_high} << 32 | s_.icr_low;
  const bool known = index == kId || index == kVersionRegister || index == kTpr || index == kPpr || index == kLdr ||
                     (index >= kSvr && index <= kEsr) || (index >= kLvtFirst && index <= kCurrentCount) ||
                     index == kDivide;
  if (!known) return {};
  return read_register(index);
}

bool LocalApic::x2apic_write(uint32_t index, uint64_t value) {
  if (!x2apic_mode()) return false;
  if (index == kIcrLow) {
    s_.icr_high = static_cast<uint32_t>(value >> 32);
    s_.icr_low = static_cast<uint32_t>(value) & 0x000c'cfff;
    write_icr();
    return true;
  }
  if (value >> 32 != 0) return false;
  if (index == kSelfIpi) {
    if (value > 0xff) return false;
    if (value < 16)
      error(kSendIllegalVector);
    else if (enabled())
      accept(static_cast<uint8_t>(value), false);
    return true;
  }
  if ((index == kEoi || index == kEsr) && value != 0) return false;
  const bool writable = index == kTpr || index == kEoi || index == kSvr || index == kEsr ||
                        (index >= kLvtFirst && index <= kInitialCount) || index == kDivide;
  if (!writable) return false;
  write_register(index, static_cast<uint32_t>(value));
  return true;
}

}  // namespace panda::device
