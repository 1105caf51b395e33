// The local APIC's timer: one-shot, periodic and TSC-deadline (SDM vol. 3, 11.5.4).
#include <algorithm>

#include "device/lapic.h"

namespace panda::device {
namespace {

constexpr unsigned kOneShot = 0, kPeriodic = 1, kTscDeadline = 2;

}  // namespace

uint64_t LocalApic::timer_divisor() const {
  const unsigned code = (s_.divide & 3) | ((s_.divide >> 1) & 4);
  return uint64_t{1} << ((code + 1) & 7);
}

uint32_t LocalApic::current_count() const {
  if (s_.initial_count == 0 || s_.timer_due_ns == 0 || timer_mode() == kTscDeadline) return 0;
  const uint64_t now = timers_.now().value;
  uint64_t elapsed = now < s_.timer_start_ns ? 0 : (now - s_.timer_start_ns) / timer_divisor();
  if (timer_mode() == kPeriodic) elapsed %= s_.initial_count;
  return elapsed >= s_.initial_count ? 0 : static_cast<uint32_t>(s_.initial_count - elapsed);
}

void LocalApic::start_timer(uint32_t initial_count) {
  if (timer_mode() == kTscDeadline) return;  // writes to the initial count are ignored
  s_.initial_count = initial_count;
  if (initial_count == 0) return stop_timer();
  s_.timer_start_ns = timers_.now().value;
  s_.timer_due_ns = s_.timer_start_ns + uint64_t{initial_count} * timer_divisor();
  rearm();
}

void LocalApic::stop_timer() {
  s_.timer_due_ns = 0;
  rearm();
}

void LocalApic::change_divide(uint32_t value) {
  const uint32_t left = current_count();
  s_.divide = value & 0x0b;
  if (s_.timer_due_ns == 0 || timer_mode() == kTscDeadline) return;
  // The count goes on from where it is at the new rate.
  const uint64_t now = timers_.now().value;
  s_.timer_start_ns = now - uint64_t{s_.initial_count - left} * timer_divisor();
  s_.timer_due_ns = now + uint64_t{left} * timer_divisor();
  rearm();
}

void LocalApic::write_tsc_deadline(uint64_t virtual_tsc) {
  if (timer_mode() != kTscDeadline || (s_.base & 0x800) == 0) return;
  s_.tsc_deadline = virtual_tsc;
  s_.timer_due_ns = virtual_tsc;  // kTscHz is 1 GHz
  if (virtual_tsc != 0 && virtual_tsc <= timers_.now().value)
    timer_fired();
  else
    rearm();
}

void LocalApic::timer_fired() {
  if (timer_mode() == kPeriodic && s_.initial_count != 0) {
    // Whole periods that passed unseen make one interrupt.
    const uint64_t period = uint64_t{s_.initial_count} * timer_divisor();
    const uint64_t now = timers_.now().value;
    const uint64_t passed = now < s_.timer_start_ns ? 0 : (now - s_.timer_start_ns) / period;
    s_.timer_start_ns += passed * period;
    s_.timer_due_ns = std::max(s_.timer_start_ns + period, now + kMinPeriodNs);
  } else {
    s_.timer_due_ns = 0;
    s_.tsc_deadline = 0;
  }
  rearm();
  raise_lvt(kLvtTimer);
}

void LocalApic::rearm() {
  if (s_.timer_due_ns != 0)
    timer_.arm(VirtualNs(s_.timer_due_ns));
  else
    timer_.cancel();
}

}  // namespace panda::device
