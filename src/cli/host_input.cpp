#include "cli/host_input.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace panda::cli {

InputThread::InputThread(std::function<void(std::span<const uint8_t>)> input, std::function<void()> ended)
    : input_(std::move(input)), ended_(std::move(ended)) {
  struct stat st{};
  if (::fstat(STDIN_FILENO, &st) != 0 || S_ISREG(st.st_mode)) {
    while (read_some()) {
    }
    ended_();
    return;
  }
  if (::pipe2(stop_pipe_, O_CLOEXEC) != 0) {
    ended_();
    return;
  }
  thread_ = std::thread([this] {
    while (true) {
      std::array<pollfd, 2> fds = {pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{stop_pipe_[0], POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) break;
      if (fds[1].revents != 0) return;
      if (fds[0].revents != 0 && !read_some()) break;
    }
    ended_();
  });
}

InputThread::~InputThread() {
  if (thread_.joinable()) {
    const char stop = 0;
    while (::write(stop_pipe_[1], &stop, 1) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  for (const int fd : stop_pipe_) {
    if (fd >= 0) ::close(fd);
  }
}

bool InputThread::read_some() {
  std::array<uint8_t, 4096> buffer;
  const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n == 0) return false;
  input_({buffer.data(), static_cast<size_t>(n)});
  return true;
}

namespace {

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR2}) sigaddset(&set, s);  // SIGUSR2: our own end
  return set;
}

}  // namespace

SignalThread::SignalThread(std::function<void(int)> received, std::function<void(int)> again) {
  ::signal(SIGPIPE, SIG_IGN);
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this, received = std::move(received), again = std::move(again)] {
    const sigset_t mine = ending_signals();
    bool first = true;
    while (true) {
      int number = 0;
      if (sigwait(&mine, &number) != 0) continue;
      if (stopping_.load()) return;
      if (number == SIGUSR2) continue;
      (first ? received : again)(number);
      first = false;
    }
  });
}

SignalThread::~SignalThread() {
  stopping_.store(true);
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace panda::cli
