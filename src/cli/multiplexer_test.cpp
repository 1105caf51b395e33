#include "cli/multiplexer.h"

#include <gtest/gtest.h>

namespace panda::cli {
namespace {

struct Fixture {
  std::string console;
  std::vector<std::string> lines;
  std::string shown;
  int quits = 0;
  Multiplexer mux;

  explicit Fixture(Multiplexer::Setup setup)
      : mux(setup, {.to_console = [this](std::span<const uint8_t> b) { console.append(b.begin(), b.end()); },
                    .monitor_line = [this](std::string l) { lines.push_back(std::move(l)); },
                    .show = [this](std::string_view t) { shown += t; },
                    .quit = [this] { quits++; },
                    .send_break = [] {}}) {}
  // One byte at a time or all at once: it must not matter.
  void type(std::string_view text, bool whole = true) {
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    if (whole)
      mux.input({p, text.size()});
    else
      for (size_t i = 0; i < text.size(); i++) mux.input({p + i, 1});
  }
};

TEST(Multiplexer, EscapesSwitchAndQuit) {
  for (const bool whole : {true, false}) {
    Fixture f({});
    f.type(
        "ls\n\x01"
        "cinfo status\n\x01"
        "cpwd\n\x01\x01\x01x",
        whole);
    EXPECT_EQ(f.console, "ls\npwd\n\x01");
    EXPECT_EQ(f.lines, std::vector<std::string>{"info status"});
    EXPECT_EQ(f.quits, 1);
    EXPECT_NE(f.shown.find("(qemu) "), std::string::npos);
  }
}

TEST(Multiplexer, WithoutAMonitorThereIsNothingToSwitchTo) {
  Fixture f({.monitor = false});
  f.type(
      "a\x01"
      "cb");
  EXPECT_EQ(f.console, "ab");
  EXPECT_TRUE(f.lines.empty());
}

TEST(Multiplexer, MonitorAloneTakesPlainLines) {
  Fixture f({.console = false, .monitor_first = true, .echo = false});
  f.type("stop\r\ncont\nquit");
  EXPECT_EQ(f.lines, (std::vector<std::string>{"stop", "cont"}));
  f.mux.end_of_input();
  EXPECT_EQ(f.lines.back(), "quit");
  EXPECT_EQ(f.shown, "");
}

TEST(Multiplexer, EditsLines) {
  Fixture f({.monitor_first = true});
  f.type("stip\x7f\x7fop\n");
  f.type(
      "junk\x15"
      "cont\n");
  f.type("\x1b[A\x1b[A\n");  // twice up: "stop"
  EXPECT_EQ(f.lines, (std::vector<std::string>{"stop", "cont", "stop"}));
}

}  // namespace
}  // namespace panda::cli
