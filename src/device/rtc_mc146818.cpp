#include "device/rtc_mc146818.h"

#include <algorithm>

namespace panda::device {
namespace {

constexpr int64_t kNs = 1'000'000'000;
constexpr int64_t kDay = 86'400;
constexpr uint64_t kCrystalHz = 32'768;
constexpr int64_t kUpdateNs = 244'141;
// A base that keeps nanoseconds in 64 bits for decades of virtual time: the years 1739 to 2201.
constexpr int64_t kMaxUnixSeconds = 7'290'000'000;

enum Register : unsigned {
  kSeconds = 0,
  kSecondsAlarm,
  kMinutes,
  kMinutesAlarm,
  kHours,
  kHoursAlarm,
  kWeekday,
  kDayOfMonth,
  kMonth,
  kYear,
  kA,
  kB,
  kC,
  kD,
  kCentury = 0x32,
};
constexpr uint8_t kUip = 0x80, kSet = 0x80, kPeriodic = 0x40, kAlarm = 0x20, kUpdate = 0x10, kBinary = 4, k24Hours = 2;

struct Date {
  int64_t year;
  unsigned month;
  unsigned day;
};

// Proleptic Gregorian calendar, days since 1970-01-01; eras of 400 years begin on 1 March.
int64_t days_of(Date d) {
  const int64_t y = d.year - (d.month <= 2 ? 1 : 0);
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * ((static_cast<int64_t>(d.month) + 9) % 12) + 2) / 5 + d.day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

Date date_of(int64_t days) {
  const int64_t z = days + 719'468;
  const int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const int64_t day = z - era * 146'097;
  const int64_t year_of_era = (day - day / 1460 + day / 36'524 - day / 146'096) / 365;
  const int64_t day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t m = (5 * day_of_year + 2) / 153;
  const auto month = static_cast<unsigned>(m < 10 ? m + 3 : m - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          static_cast<unsigned>(day_of_year - (153 * m + 2) / 5 + 1)};
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

Rtc::Rtc(IrqLine irq8, Timers& timers, int64_t start_unix_seconds, uint64_t low_ram_bytes, uint64_t high_ram_bytes)
    : irq8_(std::move(irq8)),
      timers_(timers),
      timer_(timers, [this] { sync(); }),
      start_unix_seconds_(std::clamp(start_unix_seconds, -kMaxUnixSeconds, kMaxUnixSeconds)),
      low_ram_bytes_(low_ram_bytes),
      high_ram_bytes_(high_ram_bytes) {
  s_.base_ns = start_unix_seconds_ * kNs;
  s_.cmos[kA] = 0x26;
  s_.cmos[kB] = k24Hours;
  fill_memory_sizes();
  restart();
}

// The battery keeps date and memory: a reset only disables the interrupts.
void Rtc::reset() {
  s_.cmos[kB] &= static_cast<uint8_t>(~(kPeriodic | kAlarm | kUpdate));
  s_.cmos[kC] = 0;
  s_.index = 0;
  irq8_.set(false);
  restart();
}

bool Rtc::load(std::string_view bytes) {
  State s;
  if (!load_plain(bytes, s)) return false;
  const auto in_range = [](int64_t v, int64_t limit) { return v <= limit && v >= -limit; };
  if (s.index > 127 || !in_range(s.base_ns, kMaxUnixSeconds * kNs)) return false;
  if (!in_range(s.second_seen, INT64_MAX / kNs + 1)) return false;
  s_ = s;
  rearm();
  return true;
}

void Rtc::fill_memory_sizes() {
  const auto word = [&](unsigned at, uint64_t value) {
    s_.cmos[at] = static_cast<uint8_t>(value);
    s_.cmos[at + 1] = static_cast<uint8_t>(value >> 8);
  };
  const uint64_t kib = low_ram_bytes_ >> 10;
  const uint64_t extended = std::min<uint64_t>(kib > 1024 ? kib - 1024 : 0, 0xffff);
  word(0x15, 640);
  word(0x17, extended);
  word(0x30, extended);
  word(0x34, std::min<uint64_t>(kib > 16384 ? (kib - 16384) / 64 : 0, 0xffff));
  word(0x5b, high_ram_bytes_ >> 16);
  s_.cmos[0x5d] = static_cast<uint8_t>(high_ram_bytes_ >> 32);
}

bool Rtc::frozen() const { return (s_.cmos[kB] & kSet) != 0 || (s_.cmos[kA] & 0x60) == 0x60; }
int64_t Rtc::unix_ns() const { return static_cast<int64_t>(static_cast<uint64_t>(s_.base_ns) + timers_.now().value); }
int64_t Rtc::unix_seconds() const { return floor_div(unix_ns(), kNs); }
uint64_t Rtc::ticks_now() const { return mul_div(timers_.now().value, kCrystalHz, kNs); }

uint64_t Rtc::period_ticks() const {
  unsigned rate = s_.cmos[kA] & 15;
  if (rate == 0 || (s_.cmos[kA] & 0x60) == 0x60) return 0;
  if (rate <= 2) rate += 7;
  return uint64_t{1} << (rate - 1);
}

uint8_t Rtc::encode(unsigned value) const {
  if ((s_.cmos[kB] & kBinary) != 0) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(uint8_t value) const {
  if ((s_.cmos[kB] & kBinary) != 0) return value;
  return (value >> 4) * 10u + (value & 15);
}

void Rtc::registers_from_time() {
  const int64_t seconds = unix_seconds();
  const int64_t days = floor_div(seconds, kDay);
  const auto of_day = static_cast<unsigned>(seconds - days * kDay);
  const Date date = date_of(days);
  const unsigned hour = of_day / 3600;
  auto& r = s_.cmos;
  r[kSeconds] = encode(of_day % 60);
  r[kMinutes] = encode(of_day / 60 % 60);
  if ((r[kB] & k24Hours) != 0)
    r[kHours] = encode(hour);
  else
    r[kHours] = static_cast<uint8_t>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
  r[kWeekday] = encode(static_cast<unsigned>((days % 7 + 7 + 4) % 7) + 1);  // 1970-01-01 was a Thursday; Sunday is 1
  r[kDayOfMonth] = encode(date.day);
  r[kMonth] = encode(date.month);
  r[kYear] = encode(static_cast<unsigned>((date.year % 100 + 100) % 100));
  r[kCentury] = encode(static_cast<unsigned>(std::clamp<int64_t>(date.year / 100, 0, 99)));
}

void Rtc::time_from_registers() {
  const auto& r = s_.cmos;
  unsigned hour = decode(r[kHours]);
  if ((r[kB] & k24Hours) == 0) {
    hour = decode(r[kHours] & 0x7f) % 12 + ((r[kHours] & 0x80) != 0 ? 12 : 0);
  }
  // The guest may have written anything; what is no date becomes one near it.
  const int64_t year = int64_t{decode(r[kCentury])} * 100 + decode(r[kYear]);
  const Date date{std::clamp<int64_t>(year, 1, 2300), std::clamp(decode(r[kMonth]), 1u, 12u),
                  std::clamp(decode(r[kDayOfMonth]), 1u, 31u)};
  int64_t seconds =
      days_of(date) * kDay + int64_t{hour} * 3600 + int64_t{decode(r[kMinutes])} * 60 + decode(r[kSeconds]);
  // A date that does not fit stops at the nearest that does.
  seconds = std::clamp(seconds, -kMaxUnixSeconds, kMaxUnixSeconds);
  const auto now = static_cast<int64_t>(timers_.now().value);
  s_.base_ns = std::clamp(static_cast<int64_t>(static_cast<uint64_t>(seconds * kNs) - static_cast<uint64_t>(now)),
                          -kMaxUnixSeconds * kNs, kMaxUnixSeconds * kNs);
}

bool Rtc::alarm_matches(int64_t of_day) const {
  const auto matches = [&](unsigned reg, int64_t value) {
    const uint8_t want = s_.cmos[reg];
    return (want & 0xc0) == 0xc0 || want == value;
  };
  const auto hour = static_cast<unsigned>(of_day / 3600);
  uint8_t hours = encode(hour);
  if ((s_.cmos[kB] & k24Hours) == 0)
    hours = static_cast<uint8_t>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
  return matches(kSecondsAlarm, encode(static_cast<unsigned>(of_day % 60))) &&
         matches(kMinutesAlarm, encode(static_cast<unsigned>(of_day / 60 % 60))) && matches(kHoursAlarm, hours);
}

void Rtc::sync() {
  uint8_t flags = s_.cmos[kC];
  if (const uint64_t period = period_ticks(); period != 0) {
    const uint64_t seen = ticks_now() / period;
    if (seen != s_.period_seen) flags |= kPeriodic;
    s_.period_seen = seen;
  }
  if (const int64_t second = unix_seconds(); !frozen() && second != s_.second_seen) {
    flags |= kUpdate;
    // After a jump of more than a day every time of day has been passed once.
    const int64_t passed = second > s_.second_seen ? std::min(second - s_.second_seen, kDay) : 1;
    for (int64_t s = second - passed + 1; s <= second && (flags & kAlarm) == 0; ++s)
      if (alarm_matches(s - floor_div(s, kDay) * kDay)) flags |= kAlarm;
    s_.second_seen = second;
  }
  flags &= 0x70;
  if ((flags & s_.cmos[kB] & 0x70) != 0) flags |= 0x80;
  s_.cmos[kC] = flags;
  irq8_.set((flags & 0x80) != 0);
  rearm();
}

// After the rate or the date changed: what lies before is not an event.
void Rtc::restart() {
  if (const uint64_t period = period_ticks(); period != 0) s_.period_seen = ticks_now() / period;
  s_.second_seen = unix_seconds();
  rearm();
}

void Rtc::rearm() {
  timer_.cancel();
  const uint8_t enabled = s_.cmos[kB];
  if ((s_.cmos[kC] & 0x80) != 0) return;  // the line is up until the guest reads C
  uint64_t when = ~uint64_t{0};
  if (const uint64_t period = period_ticks(); (enabled & kPeriodic) != 0 && period != 0)
    when = mul_div_up((s_.period_seen + 1) * period, kNs, kCrystalHz);
  if ((enabled & (kAlarm | kUpdate)) != 0 && !frozen()) {
    const int64_t left = kNs - (unix_ns() - unix_seconds() * kNs);
    when = std::min(when, timers_.now().value + static_cast<uint64_t>(left));
  }
  if (when != ~uint64_t{0}) timer_.arm(VirtualNs(when));
}

uint8_t Rtc::read_register(unsigned index) {
  const bool is_time = index == kCentury || (index <= kYear && (index >= kWeekday || index % 2 == 0));
  if (is_time && !frozen()) registers_from_time();
  switch (index) {
    case kA: {
      const bool updating = !frozen() && unix_ns() - unix_seconds() * kNs >= kNs - kUpdateNs;
      return static_cast<uint8_t>(s_.cmos[kA] | (updating ? kUip : 0));
    }
    case kC: {
      sync();
      const uint8_t flags = s_.cmos[kC];
      s_.cmos[kC] = 0;
      irq8_.set(false);
      rearm();
      return flags;
    }
    case kD:
      return 0x80;  // the battery is good
    default:
      return s_.cmos[index];
  }
}

void Rtc::write_register(unsigned index, uint8_t value) {
  const bool is_time = index == kCentury || (index <= kYear && (index >= kWeekday || index % 2 == 0));
  switch (index) {
    case kA:
    case kB: {
      sync();
      const bool was_frozen = frozen();
      if (!was_frozen) registers_from_time();
      if (index == kA) {
        s_.cmos[kA] = value & 0x7f;
      } else {
        if ((value & kSet) != 0) value &= static_cast<uint8_t>(~kUpdate);
        s_.cmos[kB] = value;
      }
      if (was_frozen && !frozen()) time_from_registers();
      if (index == kA || was_frozen != frozen()) restart();
      sync();
      break;
    }
    case kC:
    case kD:
      break;
    default:
      if (is_time && !frozen()) registers_from_time();
      s_.cmos[index] = value;
      if (is_time && !frozen()) {
        time_from_registers();
        restart();
      }
      break;
  }
}

uint32_t Rtc::port_read(uint16_t port, unsigned) {
  if ((port & 1) == 0) return 0xff;
  return read_register(static_cast<unsigned>(s_.index));
}

void Rtc::port_write(uint16_t port, unsigned, uint32_t value) {
  if ((port & 1) == 0)
    s_.index = value & 0x7f;  // bit 7 masks NMI on a PC; there is no source of one behind it
  else
    write_register(static_cast<unsigned>(s_.index), static_cast<uint8_t>(value));
}

}  // namespace panda::device
