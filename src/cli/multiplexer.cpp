#include "cli/multiplexer.h"

#include "monitor/monitor.h"

namespace panda::cli {
namespace {

constexpr uint8_t kEscape = 0x01;  // Ctrl-A
constexpr std::string_view kHelp =
    "\n"
    "Ctrl-A h    this help\n"
    "Ctrl-A x    end the program\n"
    "Ctrl-A c    switch between console and monitor\n"
    "Ctrl-A b    send a break\n"
    "Ctrl-A Ctrl-A  send Ctrl-A\n";

}  // namespace

Multiplexer::Multiplexer(Setup setup, Callbacks callbacks)
    : setup_(setup),
      callbacks_(std::move(callbacks)),
      in_monitor_(setup.monitor && (setup.monitor_first || !setup.console)) {}

void Multiplexer::input(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> console;
  for (const uint8_t key : bytes) {
    if (escaped_) {
      escaped_ = false;
      escape(key, console);
    } else if (key == kEscape && setup_.console) {
      escaped_ = true;
    } else if (in_monitor_) {
      edit(key);
    } else if (setup_.console) {
      console.push_back(key);
    }
  }
  if (!console.empty()) callbacks_.to_console(console);
}

void Multiplexer::end_of_input() {
  if (!line_.empty()) callbacks_.monitor_line(std::exchange(line_, {}));
}

void Multiplexer::escape(uint8_t key, std::vector<uint8_t>& console) {
  switch (key) {
    case 'x':
      callbacks_.quit();
      break;
    case 'b':
      callbacks_.send_break();
      break;
    case 'h':
    case '?':
      callbacks_.show(kHelp);
      break;
    case kEscape:
      if (in_monitor_)
        edit(key);
      else
        console.push_back(key);
      break;
    case 'c':
      if (!setup_.monitor) break;
      if (!console.empty()) callbacks_.to_console(std::exchange(console, {}));
      in_monitor_ = !in_monitor_;
      callbacks_.show(in_monitor_ ? "\n(qemu) " : "\n");
      break;
    default:
      break;
  }
}

void Multiplexer::replace_line(const std::string& line) {
  std::string text;
  for (size_t i = 0; i < line_.size(); i++) text += "\b \b";
  line_ = line;
  callbacks_.show(text + line_);
}

void Multiplexer::recall(int direction) {
  if (direction < 0 ? recalled_ == 0 : recalled_ == history_.size()) return;
  recalled_ = direction < 0 ? recalled_ - 1 : recalled_ + 1;
  replace_line(recalled_ < history_.size() ? history_[recalled_] : std::string());
}

void Multiplexer::edit(uint8_t key) {
  const uint8_t last = std::exchange(last_, key);
  if (csi_ != 0) {
    csi_ = csi_ == 1 && key == '[' ? 2 : 0;
    if (csi_ == 0 && key == 'A') recall(-1);
    if (csi_ == 0 && key == 'B') recall(1);
    return;
  }
  if (key == '\n' && last == '\r') return;
  if (key == '\r' || key == '\n') {
    if (setup_.echo) callbacks_.show("\n");
    if (!line_.empty() && (history_.empty() || history_.back() != line_)) history_.push_back(line_);
    recalled_ = history_.size();
    callbacks_.monitor_line(std::exchange(line_, {}));
  } else if (key == 0x7f || key == '\b') {
    if (line_.empty()) return;
    line_.pop_back();
    if (setup_.echo) callbacks_.show("\b \b");
  } else if (key == 0x15 || key == 0x03) {  // Ctrl-U, Ctrl-C
    if (setup_.echo)
      replace_line({});
    else
      line_.clear();
  } else if (key == 0x1b && setup_.echo) {
    csi_ = 1;
  } else if (key == '\t' || key >= 0x20) {
    line_ += static_cast<char>(key);
    if (setup_.echo) callbacks_.show({reinterpret_cast<const char*>(&key), 1});
  }
}

}  // namespace panda::cli
