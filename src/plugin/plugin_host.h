// The plugins of one machine: loading and unloading them, the callbacks that are not part of
// translated code, the monitor's commands. Everything here runs on the guest's thread.
//
// How a main program uses it:
//     auto host = PluginHost::create({.engine = &engine, .arch = "x86_64", .executable_dir = dir,
//                                     .hooks = {...}});
//     (*host)->add_plugins("syscalls:file=x;other");       -panda, as often as given
//     (*host)->add_plugin_file("path/panda_x.so");         -panda-plugin
//     (*host)->add_argument("syscalls:names");             -panda-arg
//     (*host)->load_all();       once the machine exists; an error names the plugin: print it, exit 1
//     (*host)->after_machine_init(); ... run_begins(); engine.run(); run_ends(); top_loop() ...
//     (*host)->pre_shutdown(); (*host)->unload_all();      before the engine goes
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exec/engine.h"
#include "plugin/arguments.h"
#include "plugin/callback_registry.h"
#include "plugin/instrumentation.h"
#include "plugin/loader.h"
#include "plugin/target.h"

namespace panda::plugin {

enum class RrMode : uint8_t { Off, Record, Replay };
enum class RrAnswer : uint8_t { Accepted, Pending, Invalid };

// What plugins may ask of the machine around the engine. Requests take effect when the guest's
// thread is between blocks: the hook notes them and makes Outside::stop_requested() true. An empty
// function: the request is refused, the query answers Off, "" or 0.
struct MachineHooks {
  std::function<RrAnswer(const std::string& name, const std::string& snapshot)> begin_record;
  std::function<RrAnswer()> end_record;
  std::function<RrAnswer(const std::string& name)> begin_replay;
  std::function<RrAnswer()> end_replay;
  std::function<void()> cpu_written;  // a plugin wrote the CPU's state, to be recorded
  std::function<void()> quit;         // end the run as the monitor's `quit` does
  // A monitor command: its answer, or "" where it has to wait until the guest is between two blocks.
  std::function<std::string(const std::string& line)> monitor;
  std::function<void()> break_main_loop;  // return from Engine::run soon, then go on
  std::function<RrMode()> rr_mode;
  std::function<std::optional<RrMode>()> rr_requested;  // a request that waits
  std::function<std::string()> rr_name;                 // of the recording made or replayed
  uint64_t count_origin = 0;  // in a replay: the engine's count at its first instruction, from which plugins count
  std::function<uint64_t()> replay_total;  // its length in instructions, when replaying
  std::function<InsnCount()> next_event;   // when something reaches the guest again, when replaying
  // A plugin writes RAM at this count (recorded as such), until it is called with nothing.
  std::function<void(std::optional<InsnCount> at)> plugin_writes;
};

// Leaves init_plugin: its arguments had problems, which are noted.
struct ArgumentsRefused {};

class PluginHost {
 public:
  struct Options {
    exec::Engine* engine = nullptr;
    std::string arch;            // "x86_64", "i386"
    std::string executable_dir;  // where panda-system-ARCH is; plugins are in ../lib/panda/ARCH
    std::string library_dir{};   // -L: looked into first
    MachineHooks hooks{};
    const Target* target = nullptr;  // nullptr: the one of `arch` (tests bring their own)
  };
  // Becomes the engine's instrumenter and its CPU's observer, and the machine that plugins speak to.
  static Result<std::unique_ptr<PluginHost>> create(Options options);
  ~PluginHost();  // unloads what is loaded
  PluginHost(const PluginHost&) = delete;
  PluginHost& operator=(const PluginHost&) = delete;

  void set_hooks(MachineHooks hooks) {
    hooks_ = std::move(hooks);
    instrumentation_->count_origin = hooks_.count_origin;
  }
  [[nodiscard]] const MachineHooks& hooks() const { return hooks_; }

  // --- command line
  Status add_plugins(std::string_view list);
  Status add_plugin_file(std::string_view path);
  Status add_argument(std::string_view text);  // plugin:key=value,...
  Status load_all();
  // Instead of load_all(): what -panda help and -panda NAME:help show of those that were added.
  Result<std::string> show_help();

  // --- loading and unloading
  // Success where it is loaded already. `file` is a name or a path.
  Status load(std::string_view file, const std::vector<Argument>& arguments);
  // A plugin that is no shared object, with a handle and an init function (or nullptr) of the caller's.
  Status load_external(std::string_view name, std::string_view path, void* handle, bool (*init)(void*));
  // What -panda NAME:help shows. The plugin's init_plugin runs up to its panda_free_args(); it is not loaded.
  Result<std::string> argument_help(std::string_view file);
  // What -panda help shows: the plugins that can be found by name.
  [[nodiscard]] std::string plugin_list() const;
  // The plugin, loaded where it was not, and noted as one that the caller uses.
  Result<Plugin*> need(std::string_view name);
  // At once, or when the callbacks that run have returned. An error where others use it.
  Status unload(Plugin& plugin);
  void unload_all();  // users before those they use
  [[nodiscard]] Plugin* by_name(std::string_view name);
  [[nodiscard]] Plugin* by_handle(const void* handle);  // one that is being unloaded, too
  [[nodiscard]] Plugin* by_index(int index);
  [[nodiscard]] std::vector<Plugin*> loaded();
  void set_enabled(Plugin& plugin, bool on);
  // The plugin being initialised cannot do without this: its loading fails with this message.
  void loading_problem(std::string message);
  // The plugin whose init_plugin is on the stack innermost; nullptr: none.
  [[nodiscard]] Plugin* initialising() { return initialising_; }
  // Who calls the API now, as far as is known.
  [[nodiscard]] Plugin* caller() { return initialising_ != nullptr ? initialising_ : registry_.running(); }
  // PPP: called for each plugin that is unloaded, to drop what it registered.
  using Forget = void (*)(bool (*gone)(void (*function)()));
  void offer_callbacks(Forget forget);

  // --- pandalog: before plugins are loaded, and when all are unloaded
  Status open_pandalog(const std::string& path);
  void close_pandalog();

  // --- monitor: what to print
  std::string monitor_load(std::string_view file, std::string_view arguments);  // arguments: key=value,key
  std::string monitor_unload(std::string_view index_or_name);
  std::string monitor_list();
  std::string monitor_command(std::string_view command);  // plugin_cmd
  void monitor_output(std::string_view text);             // of monitor_printf

  // --- moments
  void during_machine_init();
  void after_machine_init() { simple(PANDA_CB_AFTER_MACHINE_INIT, true); }
  void before_loadvm() { simple(PANDA_CB_BEFORE_LOADVM, false); }
  void after_loadvm() { simple(PANDA_CB_AFTER_LOADVM, true); }
  void top_loop() { simple(PANDA_CB_TOP_LOOP, true); }
  void main_loop_wait() { simple(PANDA_CB_MAIN_LOOP_WAIT, false); }
  void pre_shutdown() { simple(PANDA_CB_PRE_SHUTDOWN, false); }
  void run_begins();
  void run_ends();

  // --- for the API
  [[nodiscard]] exec::Engine& engine() { return *engine_; }
  [[nodiscard]] const Target& target() const { return *target_; }
  [[nodiscard]] CallbackRegistry& registry() { return registry_; }
  [[nodiscard]] Instrumentation& instrumentation() { return *instrumentation_; }
  [[nodiscard]] ArgumentStore& arguments() { return arguments_; }
  [[nodiscard]] const SearchPaths& search_paths() const { return paths_; }
  // One line on stderr. The second: once per plugin and subject.
  static void complain(const Plugin* plugin, std::string_view message);
  void complain_once(const Plugin* plugin, std::string_view subject, std::string_view message);
  // Around a plugin's write to RAM. False: it must not be, and the plugin is told.
  [[nodiscard]] bool plugin_write_begins();
  void plugin_write_ends();
  bool flush_requested = false;  // panda_do_flush_tb
  bool break_requested = false;  // panda_do_break_exec
  void request_flush();
  void request_break();

 private:
  explicit PluginHost(Options options, const Target& target);
  Status initialise(Plugin& plugin, bool (*init)(void*));
  void close(Plugin& plugin);
  // An error where `file` names another shared object than the one that is loaded.
  [[nodiscard]] Status same_plugin(const Plugin& there, std::string_view file) const;
  void simple(unsigned type, bool with_cpu);
  void finish_unloading();
  void begin_unloading(Plugin& plugin);
  void forget_callbacks_of(const Plugin& plugin);
  [[nodiscard]] Plugin* user_of(const Plugin& plugin);  // a loaded one that uses it, or nullptr
  [[nodiscard]] bool busy() const { return registry_.depth() != 0 || initialising_ != nullptr; }

  exec::Engine* engine_;
  const Target* target_;
  SearchPaths paths_;
  MachineHooks hooks_;
  CallbackRegistry registry_;
  ArgumentStore arguments_;
  std::unique_ptr<Instrumentation> instrumentation_;
  std::vector<std::unique_ptr<Plugin>> plugins_;  // records stay after unloading: see Plugin::loaded
  std::vector<PluginSpec> wanted_;
  std::vector<std::string> complained_;
  std::vector<Forget> offers_;
  std::string help_;  // of the last plugin that was only asked for its arguments
  Plugin* initialising_ = nullptr;
  std::string* monitor_text_ = nullptr;
  uint64_t run_began_ = 0;  // instruction count
};

// The machine that the C API, global by its nature, speaks to; nullptr: none.
[[nodiscard]] PluginHost* current_host();

}  // namespace panda::plugin
