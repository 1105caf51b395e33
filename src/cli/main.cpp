// panda-system-ARCH: one source for all targets; PANDA_SYSTEM_NAME says which.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/heap.h"
#include "base/version.h"
#include "cli/host_input.h"
#include "cli/machine.h"
#include "cli/multiplexer.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "device/char_backend.h"

// Of the plugin API that is linked in (panda/common.h, which is for plugins of one target).
extern "C" void panda_set_os_name(char* os_name);

namespace panda::cli {
namespace {

constexpr const char* kProgram = "panda-system-" PANDA_SYSTEM_NAME;

int complain(const Error& error) {
  std::fprintf(stderr, "%s: %s\n", kProgram, error.message.c_str());
  return 1;
}

std::string executable_directory() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : path.parent_path().string();
}

// Where the guest's first serial line goes.
class SerialOutput {
 public:
  static Result<std::unique_ptr<SerialOutput>> create(const Config& config, Terminal& terminal) {
    auto serial = std::unique_ptr<SerialOutput>(new SerialOutput);
    if (!config.replay.empty() || config.serial == SerialKind::Null) {
      serial->backend_ = std::make_unique<device::NullChar>();
    } else if (config.serial == SerialKind::File) {
      serial->file_.open(config.serial_path, std::ios::binary | std::ios::trunc);
      if (!serial->file_) return fail("{}: cannot create: {}", config.serial_path, std::strerror(errno));
      auto queue = std::make_unique<device::QueueChar>(
          [s = serial.get()](uint8_t byte) { s->file_.put(static_cast<char>(byte)); },
          [s = serial.get()] { s->file_.flush(); });
      queue->close();
      serial->backend_ = std::move(queue);
    } else {
      auto queue = std::make_unique<device::QueueChar>(
          [&terminal](uint8_t byte) {
            const char c = static_cast<char>(byte);
            terminal.write({&c, 1});
          },
          [&terminal] { terminal.flush(); });
      serial->queue_ = queue.get();
      serial->backend_ = std::move(queue);
    }
    return serial;
  }
  [[nodiscard]] device::CharBackend& backend() { return *backend_; }
  [[nodiscard]] device::QueueChar* queue() { return queue_; }  // null: takes no input

 private:
  SerialOutput() = default;
  std::ofstream file_;
  std::unique_ptr<device::CharBackend> backend_;
  device::QueueChar* queue_ = nullptr;
};

Status add_plugins(const Config& config, plugin::PluginHost& plugins) {
  for (const Config::PluginOption& p : config.plugins) {
    switch (p.kind) {
      case Config::PluginOption::Kind::List:
        PANDA_TRY_STATUS(plugins.add_plugins(p.text));
        break;
      case Config::PluginOption::Kind::File:
        PANDA_TRY_STATUS(plugins.add_plugin_file(p.text));
        break;
      case Config::PluginOption::Kind::Argument:
        PANDA_TRY_STATUS(plugins.add_argument(p.text));
        break;
    }
  }
  return {};
}

Status load_plugins(const Config& config, plugin::PluginHost& plugins) {
  PANDA_TRY_STATUS(add_plugins(config, plugins));
  if (!config.os.empty()) panda_set_os_name(std::string(config.os).data());
  return plugins.load_all();
}

plugin::PluginHost::Options host_options(const Config& config, Machine& machine) {
  return {.engine = &machine.engine(),
          .arch = PANDA_SYSTEM_NAME,
          .executable_dir = executable_directory(),
          .library_dir = config.plugin_directory,
          .hooks = {}};
}

// -panda help, -panda NAME:help: plugins tell their arguments in init_plugin, so there must be a machine.
Result<std::string> plugin_help(const Config& config) {
  PANDA_TRY(const auto machine, Machine::create_empty(config));
  PANDA_TRY(const auto plugins, plugin::PluginHost::create(host_options(config, *machine)));
  PANDA_TRY_STATUS(add_plugins(config, *plugins));
  return plugins->show_help();
}

int run(const Config& config) {
  const bool replaying = !config.replay.empty();
  const bool console = !replaying && config.serial == SerialKind::Stdio;
  const bool monitor = config.monitor_on_stdio && (!replaying || config.monitor_first);
  Session* session = nullptr;
  Terminal terminal;
  std::atomic<int> early_signal{0};
  std::mutex session_mutex;
  SignalThread signals(
      [&](int number) {
        std::lock_guard lock(session_mutex);
        if (session != nullptr)
          session->post_signal(number);
        else
          early_signal = number;
      },
      [&](int number) {  // twice: somebody is in a hurry
        terminal.restore();
        ::_exit(128 + number);
      });

  auto serial = SerialOutput::create(config, terminal);
  if (!serial) return complain(serial.error());
  auto machine = replaying ? Machine::create_replay(config) : Machine::create_live(config, (*serial)->backend());
  if (!machine) return complain(machine.error());
  auto plugins = plugin::PluginHost::create(host_options(config, **machine));
  if (!plugins) return complain(plugins.error());

  int status = 0;
  {
    Session s(kProgram, config, **machine, **plugins, terminal);
    if (!config.pandalog.empty()) {
      if (auto opened = (*plugins)->open_pandalog(config.pandalog); !opened) return complain(opened.error());
    }
    if (auto loaded = load_plugins(config, **plugins); !loaded) return complain(loaded.error());
    (*plugins)->during_machine_init();
    (*plugins)->after_machine_init();
    if (replaying) {
      (*plugins)->before_loadvm();
      if (auto restored = (*machine)->restore(); !restored) return complain(restored.error());
      (*plugins)->after_loadvm();
    }
    if (console) terminal.set_raw();
    Multiplexer* keys = nullptr;
    Multiplexer mux(
        {.console = console, .monitor = monitor, .monitor_first = config.monitor_first, .echo = terminal.raw()},
        {.to_console =
             [&](std::span<const uint8_t> bytes) {
               (*serial)->queue()->push(bytes);
               (*machine)->board()->wake();
             },
         .monitor_line = [&](std::string line) { s.post_line(std::move(line), keys->monitor_has_focus()); },
         .show =
             [&](std::string_view text) {
               terminal.write(text);
               terminal.flush();
             },
         .quit = [&] { s.post_quit(); },
         .send_break = [] {}});
    keys = &mux;
    if (monitor && (config.monitor_first || !console)) {
      terminal.write(
          fmt::format("PANDA {} monitor - type 'help' for more information\n{}", kVersion, monitor::kPrompt));
      terminal.flush();
    }
    {
      std::lock_guard lock(session_mutex);
      session = &s;
      if (early_signal != 0) s.post_signal(early_signal);
    }
    std::unique_ptr<InputThread> input;
    if (console || monitor) {
      input = std::make_unique<InputThread>([&](std::span<const uint8_t> bytes) { mux.input(bytes); },
                                            [&] {
                                              mux.end_of_input();
                                              if ((*serial)->queue() != nullptr) (*serial)->queue()->close();
                                              s.input_ended();
                                            });
    } else {
      s.input_ended();
    }
    status = s.run();
    input.reset();
    {
      std::lock_guard lock(session_mutex);
      session = nullptr;
    }
    (*plugins)->pre_shutdown();
    (*plugins)->unload_all();
    (*plugins)->close_pandalog();
    (*plugins)->set_hooks({});
  }
  terminal.flush();
  terminal.restore();
  return status;
}

int start(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is a full disk: the write fails, and says so
  auto config = parse_options(PANDA_SYSTEM_NAME, std::vector<std::string>(argv + 1, argv + argc));
  if (!config) return complain(config.error());
  switch (config->info) {
    case Config::Info::Help:
      std::fputs(help_text(kProgram).c_str(), stdout);
      return 0;
    case Config::Info::Version:
      std::printf("%s version %s\n", kProgram, std::string(kVersion).c_str());
      return 0;
    case Config::Info::CpuHelp:
      std::fputs(cpu_help(PANDA_SYSTEM_NAME).c_str(), stdout);
      return 0;
    case Config::Info::PluginHelp: {
      const auto text = plugin_help(*config);
      if (!text) return complain(text.error());
      std::fputs(text->c_str(), stdout);
      return 0;
    }
    case Config::Info::None:
      break;
  }
  use_large_heap_pages();
  return run(*config);
}

}  // namespace
}  // namespace panda::cli

int main(int argc, char** argv) { return panda::cli::start(argc, argv); }
