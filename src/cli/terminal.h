// Standard input and output as the user's terminal or a pipe: raw mode while the guest's console is
// there, put back however the program ends short of SIGKILL.
#pragma once

#include <termios.h>

#include <mutex>
#include <string>
#include <string_view>

namespace panda::cli {

class Terminal {
 public:
  Terminal() = default;
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Keys go through one by one and unechoed, Ctrl-C included. No effect where there is no terminal.
  void set_raw();
  [[nodiscard]] bool raw() const { return raw_; }
  void restore();

  // Any thread. Output is gathered until flush(), or until it is much.
  void write(std::string_view text);
  void flush();

 private:
  void flush_locked();
  bool raw_ = false;
  termios before_{};
  std::mutex mutex_;
  std::string pending_;
};

}  // namespace panda::cli
