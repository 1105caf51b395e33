// One stream of keys for console and monitor, with QEMU's escapes: Ctrl-A c switches, Ctrl-A x ends
// the program, Ctrl-A b sends a break, Ctrl-A h explains, Ctrl-A Ctrl-A is one Ctrl-A. Keys for the
// monitor are edited into lines here. Knows no terminal and no thread: bytes in, callbacks out.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace panda::cli {

class Multiplexer {
 public:
  struct Callbacks {
    std::function<void(std::span<const uint8_t>)> to_console;
    std::function<void(std::string)> monitor_line;
    std::function<void(std::string_view)> show;  // echo, prompt, help
    std::function<void()> quit;
    std::function<void()> send_break;
  };
  struct Setup {
    bool console = true;  // there is a console on this stream
    bool monitor = true;  // there is a monitor on it
    bool monitor_first = false;
    bool echo = true;  // keys of monitor lines are shown: the terminal is raw
  };

  Multiplexer(Setup setup, Callbacks callbacks);

  void input(std::span<const uint8_t> bytes);
  void end_of_input();  // a last line without a newline counts
  [[nodiscard]] bool monitor_has_focus() const { return in_monitor_; }

 private:
  void escape(uint8_t key, std::vector<uint8_t>& console);
  void edit(uint8_t key);
  void recall(int direction);
  void replace_line(const std::string& line);

  Setup setup_;
  Callbacks callbacks_;
  bool in_monitor_;
  bool escaped_ = false;
  unsigned csi_ = 0;  // inside an ESC [ sequence of a cursor key
  uint8_t last_ = 0;
  std::string line_;
  std::vector<std::string> history_;
  size_t recalled_ = 0;
};

}  // namespace panda::cli
