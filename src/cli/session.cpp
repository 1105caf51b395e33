#include "cli/session.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

namespace panda::cli {

using replay::EndReason;
using replay::Outcome;

namespace {

constexpr int kStatusError = 1;
constexpr int kStatusDiverged = 2;
constexpr int kStatusCutOff = 3;
constexpr int kStatusCheckFailed = 4;
constexpr int kStatusSignal = 128;  // plus the signal's number, as shells count

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

uint64_t file_bytes(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

Session::Session(std::string program, const Config& config, Machine& machine, plugin::PluginHost& plugins,
                 Terminal& terminal)
    : program_(std::move(program)),
      config_(config),
      machine_(machine),
      plugins_(plugins),
      terminal_(terminal),
      crossings_(machine.outside(), plugins, machine.replayer() != nullptr),
      stopped_(config.start_stopped),
      first_(machine.engine().count()) {
  gate_.set_inner(crossings_);
  if (machine_.replayer() != nullptr) machine_.replayer()->set_observer(&crossings_);
  gate_.restart_slices(first_);
  gate_.on_slice([this](InsnCount now) { slice(now); });
  machine_.engine().set_outside(gate_);
  plugins_.set_hooks(hooks());
  if (isatty(STDERR_FILENO) == 0) progress_interval_s_ = 10;
  if (check::CheckBackend* checker = machine_.checker()) {
    checker->on_difference([this](const std::string& report) { post(CheckFailed{report}); });
  }
}

void Session::say(const std::string& line) {
  terminal_.flush();
  if (progress_shown_) std::fputs("\r\033[K", stderr);
  progress_shown_ = false;
  std::fprintf(stderr, "%s: %s\n", program_.c_str(), line.c_str());
}

double Session::running_seconds() const {
  return seconds(run_time_ + (running_ ? Clock::now() - run_since_ : Clock::duration{}));
}

// --- the loop

int Session::run() {
  if (!config_.record.empty()) {
    if (auto began = begin_record(config_.record); !began) {
      say(began.error().message);
      return kStatusError;
    }
  }
  next_progress_ = Clock::now() + std::chrono::milliseconds(500);
  while (!finished_) {
    carry_out_requests();
    if (finished_) break;
    if (stopped_ || stuck_) {
      terminal_.flush();
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return !requests_.empty(); });
      continue;
    }
    if (live()) machine_.board()->resume(machine_.engine().count());
    plugins_.top_loop();
    run_since_ = Clock::now();
    running_ = true;
    plugins_.run_begins();
    const exec::StopReason reason = machine_.engine().run();
    plugins_.run_ends();
    running_ = false;
    run_time_ += Clock::now() - run_since_;
    after_run(reason);
    plugins_.main_loop_wait();
  }
  if (recorder_) finish_recording(EndReason::Quit);
  report_check();
  terminal_.flush();
  return status_;
}

void Session::after_run(exec::StopReason reason) {
  if (live()) {
    after_live_run(reason);
    return;
  }
  replay::Replayer& r = *machine_.replayer();
  if (reason == exec::StopReason::Shutdown) r.cpu_stopped("it shut down");
  if (reason == exec::StopReason::IdleForever) r.cpu_stopped("it waits for ever");
  if (r.outcome() != Outcome::Running) report_replay();
}

void Session::after_live_run(exec::StopReason reason) {
  if (reason == exec::StopReason::Shutdown) {
    say(fmt::format("the guest's CPU shut down (triple fault) at instruction {}", machine_.engine().count().value));
    reset_after(EndReason::Shutdown);
    return;
  }
  if (reason == exec::StopReason::IdleForever) {
    say(fmt::format("the guest halted for ever at instruction {}: nothing can wake it",
                    machine_.engine().count().value));
    if (input_possible_ && config_.monitor_on_stdio)
      stuck_ = true;
    else
      finish(kStatusError, EndReason::IdleForever);
    return;
  }
  switch (machine_.board()->take_power_request()) {
    case board::PowerRequest::None:
      break;
    case board::PowerRequest::PowerOff:
      finish(status_, EndReason::PowerOff);
      break;
    case board::PowerRequest::Reset:
      reset_after(EndReason::Reset);
      break;
  }
}

void Session::reset_after(EndReason why) {
  if (config_.no_reboot) {
    finish(status_, why);
    return;
  }
  if (recorder_) {
    say("the machine is reset, which ends the recording");
    finish_recording(why);
  }
  if (auto s = machine_.reset(); !s) {
    say(s.error().message);
    finish(kStatusError, why);
  }
}

void Session::finish(int status, EndReason why) {
  if (recorder_) finish_recording(why);
  if (status != 0) status_ = status;
  finished_ = true;
}

void Session::slice(InsnCount now) {
  if (!live()) {
    progress(now);
  } else if (recorder_ && recorder_->failure()) {
    post(EndRecord{});
  }
  plugins_.main_loop_wait();
  plugins_.top_loop();
}

// --- requests

void Session::post(Request request) {
  {
    std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }
  gate_.call_attention();
  if (live()) machine_.board()->request_stop();
  posted_.notify_one();
}

void Session::post_line(std::string line, bool prompt) { post(Line{std::move(line), prompt}); }
void Session::post_quit() { post(Quit{}); }
void Session::post_signal(int number) { post(Signal{number}); }
void Session::input_ended() { post(InputEnded{}); }

void Session::carry_out_requests() {
  while (!finished_) {
    gate_.attention_paid();
    if (live()) machine_.board()->clear_stop();
    std::deque<Request> requests;
    {
      std::lock_guard lock(mutex_);
      requests.swap(requests_);
    }
    if (requests.empty()) return;
    for (const Request& r : requests) {
      if (!finished_) carry_out(r);
    }
  }
}

void Session::carry_out(const Request& request) {
  if (const auto* line = std::get_if<Line>(&request)) {
    terminal_.write(monitor::execute(*this, line->text));
    if (line->prompt && !finished_) terminal_.write(monitor::kPrompt);
    terminal_.flush();
  } else if (std::holds_alternative<Quit>(request)) {
    quit();
  } else if (const auto* signal = std::get_if<Signal>(&request)) {
    signal_ = signal->number;
    if (live())
      say(fmt::format("ended by signal {}", signal_));
    else
      report_replay();
    finish(live() ? 0 : kStatusSignal + signal_, EndReason::Signal);
  } else if (std::holds_alternative<InputEnded>(request)) {
    input_possible_ = false;
    if (stuck_) finish(kStatusError, EndReason::IdleForever);
  } else if (const auto* begin = std::get_if<BeginRecord>(&request)) {
    begin_pending_ = false;
    const auto r = begin_record(begin->name);
    if (!r) {
      say(r.error().message);
      if (status_ == 0) status_ = kStatusError;
    }
  } else if (std::holds_alternative<EndRecord>(request)) {
    end_pending_ = false;
    if (recorder_) finish_recording(EndReason::Requested);
  } else if (const auto* failed = std::get_if<CheckFailed>(&request)) {
    say(failed->report);
    finish(kStatusCheckFailed, EndReason::Quit);
  } else if (std::holds_alternative<EndReplay>(request)) {
    if (!live()) {
      report_replay();
      finished_ = true;
    }
  }
}

plugin::MachineHooks Session::hooks() {
  using plugin::RrAnswer;
  plugin::MachineHooks h;
  h.begin_record = [this](const std::string& name, const std::string& from) {
    if (!live() || !from.empty() || name.empty()) return RrAnswer::Invalid;
    if (recorder_ || begin_pending_) return RrAnswer::Pending;
    begin_pending_ = true;
    post(BeginRecord{name});
    return RrAnswer::Accepted;
  };
  h.end_record = [this] {
    if (!recorder_ && !begin_pending_) return RrAnswer::Invalid;
    if (end_pending_) return RrAnswer::Pending;
    end_pending_ = true;
    post(EndRecord{});
    return RrAnswer::Accepted;
  };
  h.begin_replay = [](const std::string&) { return RrAnswer::Invalid; };  // a live machine cannot become a replay
  h.end_replay = [this] {
    if (live()) return RrAnswer::Invalid;
    post(EndReplay{});
    return RrAnswer::Accepted;
  };
  h.cpu_written = [this] {
    if (recorder_) recorder_->cpu_written();
  };
  h.quit = [this] { post(Quit{}); };
  h.monitor = [this](const std::string& line) {
    if (monitor::only_answers(line)) return monitor::execute(*this, line);
    post_line(line, false);
    return std::string();
  };
  h.break_main_loop = [this] { post(Nothing{}); };
  h.rr_mode = [this] {
    if (!live()) return plugin::RrMode::Replay;
    return recorder_ ? plugin::RrMode::Record : plugin::RrMode::Off;
  };
  h.rr_name = [this] {
    if (!live()) return config_.replay;
    return recorder_ ? recorder_->name() : std::string();
  };
  h.plugin_writes = [this](std::optional<InsnCount> at) {
    if (recorder_) recorder_->plugin_writes(at);
  };
  if (!live()) h.count_origin = first_.value;
  h.replay_total = [this]() -> uint64_t { return live() ? 0 : machine_.replayer()->log().last_count() - first_; };
  if (!live()) h.next_event = [this] { return machine_.replayer()->next_asynchronous(); };
  return h;
}

// --- recording

Result<std::string> Session::begin_record(const std::string& name) {
  if (!live()) return fail("begin_record: this is a replay");
  if (recorder_) return fail("begin_record: {} is being recorded already; end_record ends it", recorder_->name());
  PANDA_TRY(recorder_,
            replay::Recorder::begin(name, crossings_, replay::Line::of(machine_.engine()), machine_.description(),
                                    config_.icount_shift ? 0 : replay::Recorder::kFlushInterval_ns));
  gate_.set_inner(*recorder_);
  machine_.board()->set_serial_observer(recorder_.get());
  recording_since_ = Clock::now();
  return fmt::format("recording to {} and {} from instruction {}\n", replay::snapshot_path(name),
                     replay::log_path(name), recorder_->start().value);
}

Result<std::string> Session::end_record() {
  if (!recorder_) return fail("end_record: nothing is being recorded");
  finish_recording(EndReason::Requested);
  return std::string();
}

void Session::finish_recording(EndReason why) {
  const auto ended = recorder_->end(why);
  gate_.set_inner(crossings_);
  machine_.board()->set_serial_observer(nullptr);
  const std::string name = recorder_->name();
  if (!ended) {
    say(fmt::format("the recording {} is not whole: {}", name, ended.error().message));
    status_ = kStatusError;
  } else {
    const uint64_t insns = machine_.engine().count() - recorder_->start();
    const double s = seconds(Clock::now() - recording_since_);
    say(fmt::format(
        "recorded {}: {} instructions in {:.2f} s, {:.1f} M/s, log {} bytes, snapshot {} bytes, "
        "digest {}, ended by {}",
        name, insns, s, static_cast<double>(insns) / s / 1e6, recorder_->log_bytes(),
        file_bytes(replay::snapshot_path(name)), recorder_->final_digest().combined().hex(), replay::name_of(why)));
  }
  recorder_.reset();
}

// --- replay

void Session::progress(InsnCount now) {
  const auto time = Clock::now();
  if (time < next_progress_) return;
  next_progress_ = time + std::chrono::milliseconds(static_cast<int64_t>(progress_interval_s_ * 1000));
  const uint64_t done = now - first_;
  const uint64_t all = machine_.replayer()->log().last_count() - first_;
  const double percent = all == 0 ? 100 : 100.0 * static_cast<double>(done) / static_cast<double>(all);
  const double speed = static_cast<double>(done) / running_seconds() / 1e6;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::fprintf(stderr, "%s%s: replay of %s: %5.1f %%, %llu of %llu instructions, %.1f M/s%s", terminal ? "\r" : "",
               program_.c_str(), config_.replay.c_str(), percent, static_cast<unsigned long long>(done),
               static_cast<unsigned long long>(all), speed, terminal ? "\033[K" : "\n");
  std::fflush(stderr);
  progress_shown_ = terminal;
}

void Session::report_replay() {
  const replay::Replayer& r = *machine_.replayer();
  const uint64_t insns = machine_.engine().count() - first_;
  const double s = running_seconds();
  const std::string speed = fmt::format("{} instructions in {:.2f} s, {:.1f} M/s", insns, s,
                                        s > 0 ? static_cast<double>(insns) / s / 1e6 : 0.0);
  finished_ = true;
  switch (r.outcome()) {
    case Outcome::Completed:
      say(fmt::format("replayed {}: {}, digest {} agrees", config_.replay, speed, r.final_digest().combined().hex()));
      break;
    case Outcome::Running:
      say(fmt::format("replay of {} ended early: {}", config_.replay, speed));
      break;
    case Outcome::CutOff:
      say(fmt::format("replayed {}: {}; {}", config_.replay, speed, r.report()));
      status_ = kStatusCutOff;
      break;
    case Outcome::Diverged:
      say(fmt::format("replay of {} failed: {}", config_.replay, r.report()));
      status_ = kStatusDiverged;
      break;
    case Outcome::Damaged:
      say(fmt::format("replay of {} failed: {}", config_.replay, r.report()));
      status_ = kStatusError;
      break;
  }
}

void Session::report_check() {
  const check::CheckBackend* checker = machine_.checker();
  if (checker == nullptr) return;
  const check::Stats s = checker->stats();
  say(fmt::format("checked {} units, {} instructions, {} crossings in {:.1f} s: {}", s.units, s.insns, s.crossings,
                  running_seconds(), checker->failed() ? "the back ends DIFFER" : "no difference"));
}

// --- the monitor's commands

Status Session::stop() {
  stopped_ = true;
  return {};
}

Status Session::cont() {
  if (stuck_) return fail("cont: the guest halted for ever; system_reset or quit");
  stopped_ = false;
  return {};
}

void Session::quit() {
  if (!live()) report_replay();
  finish(0, EndReason::Quit);
}

Status Session::system_reset() {
  if (!live()) return fail("system_reset: this is a replay");
  stuck_ = false;
  reset_after(EndReason::Reset);
  return {};
}

Status Session::system_powerdown() {
  if (!live()) return fail("system_powerdown: this is a replay");
  if (stuck_) return fail("system_powerdown: the guest halted for ever; system_reset or quit");
  machine_.board()->press_power_button();
  return {};
}

std::string Session::describe_registers() {
  std::string text = machine_.engine().frontend().describe_registers(machine_.engine().cpu());
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

std::string Session::describe_status() {
  const uint64_t count = machine_.engine().count().value;
  const double s = running_seconds();
  return fmt::format("VM status: {}\ninstructions: {}\nrunning time: {:.2f} s, {:.1f} M instructions/s\n",
                     stuck_     ? "halted for ever"
                     : stopped_ ? "paused"
                                : "running",
                     count, s, s > 0 ? static_cast<double>(count - first_.value) / s / 1e6 : 0.0) +
         describe_record();
}

std::string Session::describe_jit() {
  exec::Engine& engine = machine_.engine();
  const exec::EngineStats& s = engine.stats();
  const exec::CodeSpace space = engine.backend().code_space();
  const auto kib = [](uint64_t bytes) { return bytes >> 10; };
  return fmt::format(
      "back end: {}\ntranslations: {}\ncode: {} KiB of {} KiB\nrecords about them: {} KiB\n"
      "made: {}, of {} instructions\nevicted: {}\ninvalidated: {}\nflushes: {}\n",
      engine.backend().name(), engine.units(), kib(space.used_bytes), kib(space.capacity_bytes),
      kib(engine.unit_record_bytes()), s.units_translated, s.insns_translated, s.evictions, s.smc_invalidations,
      s.flushes);
}

std::string Session::describe_record() {
  if (!live()) {
    return fmt::format("replaying {}: {} of {} instructions\n", config_.replay, machine_.engine().count() - first_,
                       machine_.replayer()->log().last_count() - first_);
  }
  if (!recorder_) return "not recording\n";
  return fmt::format("recording {}: {} instructions, log {} bytes\n", recorder_->name(),
                     machine_.engine().count() - recorder_->start(), recorder_->log_bytes());
}

std::string Session::load_plugin(const std::string& name_or_path, const std::string& arguments) {
  if (machine_.checker() != nullptr) return "not with --backend=check, which runs everything twice\n";
  return plugins_.monitor_load(name_or_path, arguments);
}
std::string Session::unload_plugin(const std::string& index_or_name) { return plugins_.monitor_unload(index_or_name); }
std::string Session::list_plugins() { return plugins_.monitor_list(); }
std::string Session::plugin_command(const std::string& text) { return plugins_.monitor_command(text); }

}  // namespace panda::cli
