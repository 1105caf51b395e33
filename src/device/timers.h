// The devices' clock: what time it is (the board sets it before it calls into a device) and the
// timers on it. Timers due at one moment fire by deadline, then in the order they were made, so
// two runs fire them alike. There are about ten: a scan is cheaper than a heap.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/types.h"

namespace panda::device {

// a * b / c without overflow of the product; the quotient must fit.
[[nodiscard]] uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c);
[[nodiscard]] uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c);

class Timer;

class Timers {
 public:
  [[nodiscard]] VirtualNs now() const { return now_; }
  void set_now(VirtualNs now) { now_ = now; }
  [[nodiscard]] std::optional<VirtualNs> next_deadline() const;
  // Fires what is due at now(). A timer that its owner arms again in the past fires again, but
  // only a bounded number of times per call, so that no guest can keep the host here.
  void run_due();

 private:
  friend class Timer;
  VirtualNs now_;
  std::vector<Timer*> timers_;
  // The engine asks for the deadline at every turn: it is worked out again where a timer changed.
  mutable std::optional<VirtualNs> next_;
  mutable bool changed_ = false;
};

class Timer {
 public:
  Timer(Timers& timers, std::function<void()> fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(VirtualNs deadline) {
    deadline_ = deadline;
    armed_ = true;
    timers_.changed_ = true;
  }
  void cancel() {
    armed_ = false;
    timers_.changed_ = true;
  }
  [[nodiscard]] bool armed() const { return armed_; }
  [[nodiscard]] VirtualNs deadline() const { return deadline_; }

 private:
  friend class Timers;
  Timers& timers_;
  std::function<void()> fire_;
  VirtualNs deadline_;
  bool armed_ = false;
};

}  // namespace panda::device
