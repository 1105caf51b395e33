// The threads that wait for the host: one for standard input, one for signals. They only hand over;
// everything happens on the guest's thread.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <thread>

namespace panda::cli {

// Calls `input` with what comes on standard input, then `ended` once. From its own thread; a regular
// file is read to its end in the constructor, so that its bytes are there before the guest starts.
class InputThread {
 public:
  InputThread(std::function<void(std::span<const uint8_t>)> input, std::function<void()> ended);
  ~InputThread();
  InputThread(const InputThread&) = delete;
  InputThread& operator=(const InputThread&) = delete;

 private:
  bool read_some();
  std::function<void(std::span<const uint8_t>)> input_;
  std::function<void()> ended_;
  int stop_pipe_[2] = {-1, -1};
  std::thread thread_;
};

// SIGINT, SIGTERM and SIGHUP become calls of `received`, on its own thread; the second one `again`.
// Constructed before other threads start: they inherit the blocked signals.
class SignalThread {
 public:
  SignalThread(std::function<void(int)> received, std::function<void(int)> again);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace panda::cli
