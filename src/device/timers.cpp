#include "device/timers.h"

#include <algorithm>
#include <utility>

namespace panda::device {

__extension__ typedef unsigned __int128 Wide;

uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) { return static_cast<uint64_t>(Wide{a} * b / c); }
uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c) { return static_cast<uint64_t>((Wide{a} * b + c - 1) / c); }

std::optional<VirtualNs> Timers::next_deadline() const {
  if (changed_) {
    next_.reset();
    for (const Timer* t : timers_)
      if (t->armed_ && (!next_ || t->deadline_ < *next_)) next_ = t->deadline_;
    changed_ = false;
  }
  return next_;
}

void Timers::run_due() {
  for (size_t left = 16 * timers_.size(); left != 0; --left) {
    Timer* due = nullptr;
    for (Timer* t : timers_)
      if (t->armed_ && t->deadline_ <= now_ && (due == nullptr || t->deadline_ < due->deadline_)) due = t;
    if (due == nullptr) return;
    due->cancel();
    due->fire_();
  }
}

Timer::Timer(Timers& timers, std::function<void()> fire) : timers_(timers), fire_(std::move(fire)) {
  timers_.timers_.push_back(this);
}

Timer::~Timer() {
  cancel();
  std::erase(timers_.timers_, this);
}

}  // namespace panda::device
