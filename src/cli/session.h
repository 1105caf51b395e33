// One run of the program: the loop around Engine::run, and everything that interrupts it. Requests
// (monitor lines, signals, plugins) wait in a queue and are carried out on the guest's thread,
// between two instructions.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "cli/gate.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "monitor/monitor.h"
#include "plugin/crossing_callbacks.h"
#include "plugin/plugin_host.h"
#include "replay/recorder.h"

namespace panda::cli {

class Session final : private monitor::Target {
 public:
  Session(std::string program, const Config& config, Machine& machine, plugin::PluginHost& plugins, Terminal& terminal);

  // Runs until something ends it; the program's exit status.
  int run();

  // --- any thread
  void post_line(std::string line, bool prompt);  // for the monitor
  void post_quit();
  void post_signal(int number);
  void input_ended();  // nobody can give monitor commands any more

 private:
  struct Line {
    std::string text;
    bool prompt;  // the monitor has the focus: show a prompt when done
  };
  struct Quit {};
  struct Signal {
    int number;
  };
  struct InputEnded {};
  struct BeginRecord {
    std::string name;
  };
  struct EndRecord {};
  struct EndReplay {};
  struct CheckFailed {
    std::string report;
  };
  struct Nothing {};  // only leave the run loop once
  using Request = std::variant<Line, Quit, Signal, InputEnded, BeginRecord, EndRecord, EndReplay, CheckFailed, Nothing>;

  void post(Request request);
  void carry_out_requests();
  void carry_out(const Request& request);
  [[nodiscard]] plugin::MachineHooks hooks();
  void after_run(exec::StopReason reason);
  void after_live_run(exec::StopReason reason);
  void reset_after(replay::EndReason why);
  void finish(int status, replay::EndReason why);
  void finish_recording(replay::EndReason why);
  void report_replay();
  void report_check();
  void slice(InsnCount now);
  void progress(InsnCount now);
  void say(const std::string& line);  // one line on standard error, with the program's name
  [[nodiscard]] bool live() const { return machine_.board() != nullptr; }
  [[nodiscard]] double running_seconds() const;

  // monitor::Target
  Status stop() override;
  Status cont() override;
  void quit() override;
  Result<std::string> begin_record(const std::string& name) override;
  Result<std::string> end_record() override;
  Status system_reset() override;
  Status system_powerdown() override;
  std::string describe_registers() override;
  std::string describe_status() override;
  std::string describe_jit() override;
  std::string describe_record() override;
  std::string load_plugin(const std::string& name_or_path, const std::string& arguments) override;
  std::string unload_plugin(const std::string& index_or_name) override;
  std::string list_plugins() override;
  std::string plugin_command(const std::string& text) override;

  using Clock = std::chrono::steady_clock;

  std::string program_;
  const Config& config_;
  Machine& machine_;
  plugin::PluginHost& plugins_;
  Terminal& terminal_;
  Gate gate_;
  plugin::CrossingCallbacks crossings_;  // around the devices or the log
  std::unique_ptr<replay::Recorder> recorder_;
  Clock::time_point recording_since_;
  bool begin_pending_ = false;  // asked for by a plugin, not carried out yet
  bool end_pending_ = false;

  bool stopped_ = false;
  bool stuck_ = false;  // the guest halted for ever
  bool finished_ = false;
  bool input_possible_ = true;
  int status_ = 0;
  int signal_ = 0;

  Clock::duration run_time_{};
  Clock::time_point run_since_;
  bool running_ = false;
  InsnCount first_;
  Clock::time_point next_progress_;
  double progress_interval_s_ = 0.2;
  bool progress_shown_ = false;

  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Request> requests_;
};

}  // namespace panda::cli
