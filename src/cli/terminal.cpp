#include "cli/terminal.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace panda::cli {

void Terminal::set_raw() {
  if (raw_ || isatty(STDIN_FILENO) == 0 || tcgetattr(STDIN_FILENO, &before_) != 0) return;
  termios t = before_;
  t.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  t.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
  t.c_cflag = (t.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
  t.c_oflag |= OPOST;
  t.c_cc[VMIN] = 1;
  t.c_cc[VTIME] = 0;
  raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

Terminal::~Terminal() {
  flush();
  restore();
}

void Terminal::restore() {
  if (!raw_) return;
  raw_ = false;
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

void Terminal::write(std::string_view text) {
  std::lock_guard lock(mutex_);
  pending_ += text;
  if (pending_.size() >= 4096) flush_locked();
}

void Terminal::flush() {
  std::lock_guard lock(mutex_);
  if (!pending_.empty()) flush_locked();
}

void Terminal::flush_locked() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n > 0) {
      rest.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && errno == EAGAIN) {  // somebody made the terminal non-blocking
      pollfd p{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&p, 1, 1000);
    } else {
      break;  // nobody reads any more: the guest goes on without being seen
    }
  }
  pending_.clear();
}

}  // namespace panda::cli
