// What the engine talks to in every mode: passes on to the live board, the recorder or the replayer,
// and lets the session interrupt the run. So the outside can be exchanged between two instructions
// without the engine knowing.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>

#include "memory/outside.h"

namespace panda::cli {

class Gate final : public Outside {
 public:
  void set_inner(Outside& inner) { inner_ = &inner; }
  // Called on the guest's thread every kSlice_insns or so; makes no difference to the guest.
  void on_slice(std::function<void(InsnCount)> f) { slice_ = std::move(f); }
  void restart_slices(InsnCount now) { slice_end_ = now + kSlice_insns; }

  // Any thread: the run loop is left soon.
  void call_attention() { attention_.store(true, std::memory_order_release); }
  void attention_paid() { attention_.store(false, std::memory_order_release); }

  uint64_t port_read(uint16_t port, unsigned size) override { return inner_->port_read(port, size); }
  void port_write(uint16_t port, unsigned size, uint64_t value) override { inner_->port_write(port, size, value); }
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override { return inner_->mmio_read(address, size); }
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override {
    inner_->mmio_write(address, size, value);
  }
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override {
    return inner_->register_read(kind, index);
  }
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override {
    return inner_->register_write(kind, index, value);
  }
  InsnCount next_event(InsnCount now) override {
    inner_due_ = inner_->next_event(now);
    return std::min(inner_due_, slice_end_);
  }
  void service(InsnCount now) override {
    if (inner_due_ <= now) inner_->service(now);
    if (slice_end_ <= now) {
      restart_slices(now);
      if (slice_) slice_(now);
    }
  }
  bool interrupt_pending() override { return inner_->interrupt_pending(); }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override { return inner_->acknowledge_interrupt(now); }
  bool idle(InsnCount now) override { return inner_->idle(now); }
  bool stop_requested() override { return attention_.load(std::memory_order_acquire) || inner_->stop_requested(); }

 private:
  static constexpr uint64_t kSlice_insns = 1'000'000;

  Outside* inner_ = nullptr;
  InsnCount inner_due_;
  InsnCount slice_end_;
  std::atomic<bool> attention_{false};
  std::function<void(InsnCount)> slice_;
};

}  // namespace panda::cli
