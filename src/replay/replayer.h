// In replay the log is the outside world: no device exists. Every answer is checked against the
// question it was recorded for, every asynchronous event happens at its exact count, and what does
// not fit stops the replay with a report.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "memory/outside.h"
#include "replay/line.h"
#include "replay/log.h"
#include "replay/replay_observer.h"

namespace panda::replay {

enum class Outcome : uint8_t {
  Running,
  Completed,  // reached the end, digests agree
  CutOff,     // reached the end of what is there of a recording that was not ended properly
  Diverged,   // the guest did something else than recorded, or the digests differ
  Damaged,    // the log cannot be read on
};

class Replayer final : public Outside {
 public:
  Replayer(std::unique_ptr<LogReader> log, Line line);
  ~Replayer() override = default;

  [[nodiscard]] Outcome outcome() const { return outcome_; }
  // What went wrong, or how it ended; several lines for a divergence.
  [[nodiscard]] const std::string& report() const { return report_; }
  [[nodiscard]] const LogReader& log() const { return *log_; }
  // The digests of the end, once Completed or Diverged there.
  [[nodiscard]] const snapshot::StateDigest& final_digest() const { return final_digest_; }
  // The engine left its run loop for `why` (CPU shutdown, nothing to wake it): that must be the end.
  void cpu_stopped(std::string_view why);

  // When the log next has something that no instruction asks for; its end, where nothing comes any more.
  [[nodiscard]] InsnCount next_asynchronous() const { return async_.empty() ? log_->last_count() : async_.front(); }

  void set_observer(ReplayObserver* observer) { observer_ = observer; }  // may be null

  uint64_t port_read(uint16_t port, unsigned size) override;
  void port_write(uint16_t port, unsigned size, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;
  bool mmio_assigned(GuestPhysAddr address, unsigned size) override;
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override;
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override;
  InsnCount next_event(InsnCount now) override;
  void service(InsnCount now) override;
  bool interrupt_pending() override;
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override;
  bool idle(InsnCount now) override;
  bool stop_requested() override { return outcome_ != Outcome::Running; }

 private:
  void fill();
  void pop();
  [[nodiscard]] bool at_front(InsnCount now) const { return !queue_.empty() && queue_.front().count == now; }
  void apply_access_effects();
  template <typename T>
  const T* take(const std::string& question);
  template <typename T>
  uint64_t answer_load(GuestPhysAddr address, unsigned size);
  void write_ram(GuestPhysAddr address, const std::vector<uint8_t>& bytes, std::string_view what);
  void apply(const Event& event);
  void check_state(const StateCheck& check);
  void check_end(const End& end);
  void finish(Outcome outcome, std::string report);
  void diverge(const std::string& what);
  [[nodiscard]] std::string expected_next() const;

  std::unique_ptr<LogReader> log_;
  Line line_;
  ReplayObserver* observer_ = nullptr;
  std::deque<Event> queue_;
  std::deque<InsnCount> async_;  // counts of the asynchronous events in queue_
  Event taken_;
  bool exhausted_ = false;
  InsnCount last_good_;  // the count of the last state check that agreed
  Outcome outcome_ = Outcome::Running;
  std::string report_;
  snapshot::StateDigest final_digest_;
};

}  // namespace panda::replay
