#include "device/pit8254.h"

#include <algorithm>

namespace panda::device {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kRefreshToggleNs = 15'085;  // 18 CLK periods

uint32_t from_bcd(uint32_t v) {
  return (v & 15) + 10 * ((v >> 4) & 15) + 100 * ((v >> 8) & 15) + 1000 * ((v >> 12) & 15);
}
uint32_t to_bcd(uint32_t v) { return (v % 10) | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12; }

}  // namespace

Pit8254::Pit8254(IrqLine irq0, Timers& timers)
    : irq0_(std::move(irq0)), timers_(timers), timer_(timers, [this] { update_irq(); }) {
  reset();
}

void Pit8254::reset() {
  s_ = State{};
  s_.channels[2].gate = 0;
  update_irq();
}

bool Pit8254::load(std::string_view bytes) {
  State s;
  if (!load_plain(bytes, s)) return false;
  for (const Channel& c : s.channels)
    if (c.count > 65536 || c.reload > 65536 || c.mode > 5 || (c.counting != 0 && c.count == 0) ||
        ((c.mode == 2 || c.mode == 3) && c.counting != 0 && c.count < 2))
      return false;
  s_ = s;
  rearm();
  return true;
}

uint64_t Pit8254::ticks(const Channel& c) const {
  if (c.counting == 0 || now() < c.start_ns) return c.base_ticks;
  return c.base_ticks + mul_div(now() - c.start_ns, kPitHz, kNsPerSecond);
}

uint64_t Pit8254::ns_of(const Channel& c, uint64_t tick) const {
  return c.start_ns + mul_div_up(tick - c.base_ticks, kNsPerSecond, kPitHz);
}

// Takes a waiting count into use once its period has begun.
void Pit8254::sync(Channel& c) {
  if (c.reload_at_ns == 0 || now() < c.reload_at_ns) return;
  c.start_ns = c.reload_at_ns;
  c.base_ticks = 0;
  c.seen_ticks = 0;
  c.count = c.reload;
  c.reload_at_ns = 0;
  c.null_count = 0;
  c.rise_missed = 1;
}

bool Pit8254::level(const Channel& c) const {
  if (c.count == 0) return c.mode != 0;
  const uint64_t t = ticks(c);
  switch (c.mode) {
    case 0:
      return t >= c.count;
    case 1:
      return c.counting == 0 || t >= c.count;
    case 2:
      return c.counting == 0 || t % c.count != c.count - 1;
    case 3:
      return c.counting == 0 || t % c.count < (c.count + 1) / 2;
    default:
      return t != c.count;
  }
}

bool Pit8254::output(unsigned channel) {
  Channel& c = s_.channels[channel % 3];
  sync(c);
  return level(c);
}

std::optional<uint64_t> Pit8254::next_rise(const Channel& c, uint64_t after_tick) const {
  if (c.counting == 0 || c.count == 0) return {};
  switch (c.mode) {
    case 0:
    case 1:
      return after_tick < c.count ? std::optional<uint64_t>(c.count) : std::nullopt;
    case 2:
    case 3:
      return (after_tick / c.count + 1) * c.count;
    default:  // the strobe is low for the tick `count`
      return after_tick < c.count + uint64_t{1} ? std::optional<uint64_t>(c.count + uint64_t{1}) : std::nullopt;
  }
}

void Pit8254::start(Channel& c) {
  c.count = c.reload;
  c.start_ns = now();
  c.base_ticks = 0;
  c.seen_ticks = 0;
  c.reload_at_ns = 0;
  c.null_count = 0;
  c.counting = 1;
}

void Pit8254::load_count(Channel& c, uint32_t raw) {
  uint32_t value = c.bcd != 0 ? from_bcd(raw) : raw;
  if (value == 0) value = c.bcd != 0 ? 10000 : 65536;
  if (value == 1 && (c.mode == 2 || c.mode == 3)) value = 2;  // 1 is illegal there
  c.reload = value;
  c.null_count = 1;
  switch (c.mode) {
    case 0:
    case 4:
      start(c);
      c.counting = c.gate;
      break;
    case 1:
    case 5:  // waits for the trigger
      if (c.count == 0) c.count = value;
      break;
    default:
      if (c.count == 0 || c.counting == 0) {
        start(c);
        c.counting = c.gate;
      } else {
        c.reload_at_ns = ns_of(c, (ticks(c) / c.count + 1) * c.count);
      }
      break;
  }
}

void Pit8254::set_gate(Channel& c, bool gate) {
  const bool rises = gate && c.gate == 0;
  const bool falls = !gate && c.gate != 0;
  c.gate = gate ? 1 : 0;
  sync(c);
  if (c.count == 0) return;
  switch (c.mode) {
    case 0:
    case 4:  // the gate holds the count
      if (falls) {
        c.base_ticks = ticks(c);
        c.counting = 0;
      } else if (rises) {
        c.start_ns = now();
        c.counting = 1;
      }
      break;
    case 1:
    case 5:
      if (rises) start(c);
      break;
    default:
      if (falls) {
        c.counting = 0;
        c.base_ticks = 0;
        c.reload_at_ns = 0;
      } else if (rises) {
        start(c);
      }
      break;
  }
}

uint16_t Pit8254::current_count(const Channel& c) const {
  if (c.count == 0) return 0;
  const uint64_t t = ticks(c);
  const uint64_t modulus = c.bcd != 0 ? 10000 : 65536;
  uint64_t value = 0;
  switch (c.mode) {
    case 2:
      value = c.count - t % c.count;
      break;
    case 3: {  // counts down by two, twice per period
      const uint64_t high = (c.count + 1) / 2;
      const uint64_t phase = t % c.count;
      const uint64_t down = 2 * (phase < high ? phase : phase - high);
      const uint64_t even = c.count & ~uint64_t{1};
      value = down > even ? 0 : even - down;
      break;
    }
    default:  // goes on below zero
      value = c.count + modulus - t % modulus;
      break;
  }
  value %= modulus;
  return static_cast<uint16_t>(c.bcd != 0 ? to_bcd(static_cast<uint32_t>(value)) : value);
}

void Pit8254::latch_count(Channel& c) {
  if (c.latched_bytes != 0) return;  // until it is read
  c.latch = current_count(c);
  c.latched_bytes = c.access == 3 ? 2 : 1;
  c.read_high = c.access == 2 ? 1 : 0;
}

void Pit8254::latch_status(Channel& c) {
  if (c.status_latched != 0) return;
  c.status = static_cast<uint8_t>((level(c) ? 0x80 : 0) | (c.null_count != 0 ? 0x40 : 0) | c.access << 4 | c.mode << 1 |
                                  c.bcd);
  c.status_latched = 1;
}

void Pit8254::write_control(uint8_t value) {
  const unsigned select = value >> 6;
  if (select == 3) {  // read-back
    for (unsigned i = 0; i < 3; ++i) {
      if ((value & (2u << i)) == 0) continue;
      if ((value & 0x20) == 0) latch_count(s_.channels[i]);
      if ((value & 0x10) == 0) latch_status(s_.channels[i]);
    }
    return;
  }
  Channel& c = s_.channels[select];
  const uint8_t access = (value >> 4) & 3;
  if (access == 0) return latch_count(c);
  const uint8_t gate = c.gate;
  c = Channel{};
  c.gate = gate;
  c.access = access;
  c.mode = (value >> 1) & 7;
  if (c.mode > 5) c.mode &= 3;  // 6 and 7 are 2 and 3
  c.bcd = value & 1;
}

void Pit8254::write_count(Channel& c, uint8_t value) {
  switch (c.access) {
    case 1:
      return load_count(c, value);
    case 2:
      return load_count(c, static_cast<uint32_t>(value) << 8);
    default:
      break;
  }
  if (c.write_high == 0) {
    c.write_low_byte = value;
    c.write_high = 1;
    if (c.mode == 0) {  // the first byte stops the count and lowers the output
      c.count = 0;
      c.counting = 0;
    }
  } else {
    c.write_high = 0;
    load_count(c, static_cast<uint32_t>(value) << 8 | c.write_low_byte);
  }
}

uint8_t Pit8254::read_count(Channel& c) {
  if (c.status_latched != 0) {
    c.status_latched = 0;
    return c.status;
  }
  const bool latched = c.latched_bytes != 0;
  const uint16_t value = latched ? c.latch : current_count(c);
  if (latched) --c.latched_bytes;
  if (c.access != 3) return static_cast<uint8_t>(c.access == 2 ? value >> 8 : value);
  const bool high = c.read_high != 0;
  c.read_high ^= 1;
  return static_cast<uint8_t>(high ? value >> 8 : value);
}

// Brings the IRQ line up to date. Time may have jumped over many periods: they make one edge.
void Pit8254::update_irq() {
  Channel& c = s_.channels[0];
  sync(c);
  const uint64_t t = ticks(c);
  const auto rise = next_rise(c, c.seen_ticks);
  if (c.rise_missed != 0 || (rise && *rise <= t)) irq0_.set(false), irq0_.set(true);
  c.rise_missed = 0;
  c.seen_ticks = t;
  irq0_.set(level(c));
  rearm();
}

void Pit8254::rearm() {
  const Channel& c = s_.channels[0];
  if (c.reload_at_ns != 0)
    timer_.arm(VirtualNs(c.reload_at_ns));
  else if (const auto rise = next_rise(c, std::max(c.seen_ticks, c.base_ticks)))
    timer_.arm(VirtualNs(ns_of(c, *rise)));
  else
    timer_.cancel();
}

uint32_t Pit8254::port_read(uint16_t port, unsigned) {
  if (port == 0x61) {
    const uint64_t refresh = (now() / kRefreshToggleNs) & 1;
    return static_cast<uint32_t>(s_.speaker | refresh << 4 | (output(2) ? 0x20u : 0u));
  }
  if ((port & 3) == 3) return 0xff;  // the control word cannot be read
  Channel& c = s_.channels[port & 3];
  sync(c);
  const uint8_t value = read_count(c);
  if ((port & 3) == 0) update_irq();
  return value;
}

void Pit8254::port_write(uint16_t port, unsigned, uint32_t value) {
  if (port == 0x61) {
    s_.speaker = value & 0x0f;
    return set_gate(s_.channels[2], (value & 1) != 0);
  }
  update_irq();  // edges before the change
  for (Channel& c : s_.channels) sync(c);
  if ((port & 3) == 3)
    write_control(static_cast<uint8_t>(value));
  else
    write_count(s_.channels[port & 3], static_cast<uint8_t>(value));
  update_irq();
}

}  // namespace panda::device
