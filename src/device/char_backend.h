// The host's end of a serial line. The guest's bytes go out through put() as the guest writes
// them; bytes for the guest are fetched with get(), which the board calls only where host input may
// cross the line (Outside::service and idle).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

namespace panda::device {

class CharBackend {
 public:
  virtual ~CharBackend() = default;
  virtual void put(uint8_t byte) = 0;
  // Called at slice ends and before the guest sleeps: show what was put.
  virtual void flush() {}
  [[nodiscard]] virtual std::optional<uint8_t> get() { return {}; }
  // False where get() will never give a byte again: a guest that waits for nothing else is stuck.
  [[nodiscard]] virtual bool may_get() const { return false; }
};

class NullChar final : public CharBackend {
 public:
  void put(uint8_t) override {}
};

// Bytes in through a queue that any thread fills, bytes out through a function on the guest's
// thread. A thread that pushes calls Pc::wake() afterwards. What is pushed before the run starts
// reaches the guest at counts that do not depend on the host.
class QueueChar : public CharBackend {
 public:
  explicit QueueChar(std::function<void(uint8_t)> out, std::function<void()> flush = {})
      : out_(std::move(out)), flush_(std::move(flush)) {}

  void put(uint8_t byte) override {
    if (out_) out_(byte);
  }
  void flush() override {
    if (flush_) flush_();
  }
  [[nodiscard]] std::optional<uint8_t> get() override {
    if (size_.load(std::memory_order_acquire) == 0) return {};
    std::lock_guard lock(mutex_);
    if (in_.empty()) return {};
    const uint8_t byte = in_.front();
    in_.pop_front();
    size_.fetch_sub(1, std::memory_order_release);
    return byte;
  }
  [[nodiscard]] bool may_get() const override { return open_.load() || size_.load() != 0; }

  // --- any thread
  void push(std::span<const uint8_t> bytes) {
    std::lock_guard lock(mutex_);
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    size_.fetch_add(bytes.size(), std::memory_order_release);
  }
  void close() { open_.store(false); }  // end of file: nothing more will be pushed

 private:
  std::function<void(uint8_t)> out_;
  std::function<void()> flush_;
  std::mutex mutex_;
  std::deque<uint8_t> in_;
  std::atomic<size_t> size_{0};
  std::atomic<bool> open_{true};
};

}  // namespace panda::device
