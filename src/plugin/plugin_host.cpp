#include "plugin/plugin_host.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <set>
#include <utility>

#include "pandalog/log.h"
#include "plugin/api_bridge.h"

namespace panda::plugin {
namespace {

PluginHost* g_current = nullptr;

}  // namespace

PluginHost* current_host() { return g_current; }

Result<std::unique_ptr<PluginHost>> PluginHost::create(Options options) {
  const Target* target = options.target != nullptr ? options.target : find_target(options.arch);
  if (target == nullptr) return fail("plugins: no support for the architecture {}", options.arch);
  if (g_current != nullptr) return fail("plugins: another machine in this process has them already");
  return std::unique_ptr<PluginHost>(new PluginHost(std::move(options), *target));
}

PluginHost::PluginHost(Options options, const Target& target)
    : engine_(options.engine),
      target_(&target),
      paths_{std::move(options.arch), std::move(options.executable_dir), std::move(options.library_dir)},
      hooks_(std::move(options.hooks)),
      instrumentation_(std::make_unique<Instrumentation>(*engine_, target, registry_)) {
  g_current = this;
  instrumentation_->on_cpu_written = [this] {
    if (hooks_.cpu_written) hooks_.cpu_written();
  };
  instrumentation_->on_changed = [this](const char* what) {
    if (!hooks_.rr_mode || hooks_.rr_mode() != RrMode::Record) return;
    complain_once(nullptr, what,
                  fmt::format("{} was changed or dropped while recording: the recording replays only with the plugin "
                              "that did so",
                              what));
  };
  pandalog::set_machine({.stamp = [] { return pandalog::Stamp{.pc = api::pc(), .instr = api::instruction_count()}; },
                         .who =
                             [] {
                               const Plugin* plugin = g_current->registry().running();
                               if (plugin == nullptr) plugin = g_current->initialising_;
                               return plugin != nullptr ? plugin->name : std::string();
                             }});
}

PluginHost::~PluginHost() {
  unload_all();
  close_pandalog();
  pandalog::set_machine({});
  g_current = nullptr;
}

Status PluginHost::open_pandalog(const std::string& path) { return pandalog::open_machine_log(path); }
void PluginHost::close_pandalog() { pandalog::close_machine_log(); }

// ---- messages

void PluginHost::complain(const Plugin* plugin, std::string_view message) {
  if (plugin != nullptr) {
    std::fprintf(stderr, "panda: plugin %s: %.*s\n", plugin->name.c_str(), static_cast<int>(message.size()),
                 message.data());
  } else {
    std::fprintf(stderr, "panda: plugins: %.*s\n", static_cast<int>(message.size()), message.data());
  }
}

void PluginHost::complain_once(const Plugin* plugin, std::string_view subject, std::string_view message) {
  std::string key = (plugin != nullptr ? plugin->name : std::string()) + ":" + std::string(subject);
  if (std::find(complained_.begin(), complained_.end(), key) != complained_.end()) return;
  complained_.push_back(std::move(key));
  complain(plugin, message);
}

// ---- plugins that write memory

bool PluginHost::plugin_write_begins() {
  const RrMode mode = hooks_.rr_mode ? hooks_.rr_mode() : RrMode::Off;
  if (mode == RrMode::Off) return true;
  if (mode == RrMode::Replay) {
    complain_once(registry_.running(), "write in replay",
                  "it writes guest memory in a replay, which from now on need not follow the recording");
    return true;
  }
  if (instrumentation_->inside_instruction()) {
    complain_once(registry_.running(), "write while recording",
                  "guest memory cannot be written from a memory or exception callback while recording: the "
                  "instruction is not complete. Write it in a block or instruction callback");
    return false;
  }
  if (hooks_.plugin_writes) hooks_.plugin_writes(InsnCount(instrumentation_->current_count()));
  return true;
}

void PluginHost::plugin_write_ends() {
  if (hooks_.plugin_writes) hooks_.plugin_writes(std::nullopt);
}

// ---- command line

Status PluginHost::add_plugins(std::string_view list) {
  PANDA_TRY(std::vector<PluginSpec> specs, parse_plugin_list(list));
  for (PluginSpec& s : specs) wanted_.push_back(std::move(s));
  return {};
}

Status PluginHost::add_plugin_file(std::string_view path) {
  if (path.empty()) return fail("-panda-plugin: a file is missing");
  std::string file(path);
  if (file.find('/') == std::string::npos) file = "./" + file;
  wanted_.push_back({std::move(file), {}});
  return {};
}

Status PluginHost::add_argument(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return fail("-panda-arg '{}': expected PLUGIN:KEY=VALUE", text);
  }
  for (Argument& a : parse_argument_list(text.substr(colon + 1))) {
    arguments_.add(plugin_name_of(text.substr(0, colon)), std::move(a));
  }
  return {};
}

Status PluginHost::load_all() {
  const std::vector<PluginSpec> wanted = std::move(wanted_);
  wanted_.clear();
  for (const PluginSpec& spec : wanted) {
    if (Plugin* there = by_name(spec.name); there != nullptr && spec.arguments.empty()) {
      PANDA_TRY_STATUS(same_plugin(*there, spec.name));
      complain(there, "is loaded already: it is not loaded a second time");
      continue;
    }
    PANDA_TRY_STATUS(load(spec.name, spec.arguments));
  }
  for (const std::string& name : arguments_.plugins()) {
    if (by_name(name) == nullptr)
      complain(nullptr, fmt::format("there are arguments for {}, which is not loaded (yet)", name));
  }
  return {};
}

Result<std::string> PluginHost::show_help() {
  std::string out;
  for (const PluginSpec& spec : std::exchange(wanted_, {})) {
    const bool help =
        std::any_of(spec.arguments.begin(), spec.arguments.end(), [](const Argument& a) { return a.key == "help"; });
    if (spec.name == "help") {
      out += plugin_list();
    } else if (help || arguments_.wants_help(plugin_name_of(spec.name))) {
      PANDA_TRY(const std::string text, argument_help(spec.name));
      out += text;
    }
  }
  return out;
}

Result<std::string> PluginHost::argument_help(std::string_view file) {
  const std::string name = plugin_name_of(file);
  if (by_name(name) != nullptr) return arguments_.help(name);
  help_.clear();
  const Status status = load(file, {{"help", ""}});
  if (Plugin* plugin = by_name(name)) {  // it did not ask for arguments at all
    begin_unloading(*plugin);
    return arguments_.help(name);
  }
  if (help_.empty()) return tl::unexpected<Error>(status ? Error{"plugin " + name + ": no help"} : status.error());
  return std::move(help_);
}

std::string PluginHost::plugin_list() const {
  std::string out;
  std::string folders;
  std::set<std::string> seen;
  for (const std::string& folder : search_folders(paths_)) {
    folders += "  " + folder + "\n";
    for (const std::string& path : plugin_files(folder)) {
      const std::string name = plugin_name_of(path);
      if (seen.insert(name).second) out += fmt::format("  {:<24} {}\n", name, path);
    }
  }
  if (out.empty()) return "No plugins were found. These folders were looked into:\n" + folders;
  return "Plugins for panda-system-" + paths_.arch + " ('-panda NAME:help' lists a plugin's arguments):\n" + out;
}

// ---- loading and unloading

std::vector<Plugin*> PluginHost::loaded() {
  std::vector<Plugin*> out;
  for (const auto& p : plugins_) {
    if (p->loaded) out.push_back(p.get());
  }
  return out;
}

Plugin* PluginHost::by_name(std::string_view name) {
  const std::string plain = plugin_name_of(name);
  for (Plugin* p : loaded()) {
    if (p->name == plain) return p;
  }
  return nullptr;
}

Plugin* PluginHost::by_handle(const void* handle) {
  const auto found = std::find_if(plugins_.begin(), plugins_.end(), [&](const auto& p) {
    return p->handle == handle && handle != nullptr;  // one that is gone has none
  });
  return found != plugins_.end() ? found->get() : nullptr;
}

Plugin* PluginHost::by_index(int index) {
  const std::vector<Plugin*> all = loaded();
  return index >= 0 && static_cast<size_t>(index) < all.size() ? all[static_cast<size_t>(index)] : nullptr;
}

Status PluginHost::same_plugin(const Plugin& there, std::string_view file) const {
  if (file.find('/') == std::string_view::npos) return {};
  std::error_code error;
  if (std::filesystem::equivalent(there.path, file, error) || error) return {};
  return fail("plugin {}: {} cannot be loaded: another plugin of that name is, from {}", there.name, file, there.path);
}

Status PluginHost::load(std::string_view file, const std::vector<Argument>& arguments) {
  const std::string name = plugin_name_of(file);
  if (Plugin* there = by_name(name)) {
    PANDA_TRY_STATUS(same_plugin(*there, file));
    if (!arguments.empty()) complain(there, "is loaded already: its new arguments are ignored");
    return {};
  }
  // Both would be one shared object, and the first one's end that of the second.
  if (std::any_of(plugins_.begin(), plugins_.end(),
                  [&](const auto& p) { return !p->loaded && p->handle != nullptr && p->name == name; })) {
    return fail("plugin {}: it is being unloaded: load it when the running callbacks have returned", name);
  }
  PANDA_TRY(const std::string path, find_plugin(paths_, file));
  PANDA_TRY(const OpenedPlugin opened, open_plugin(path, paths_.arch));
  for (const Argument& a : arguments) arguments_.add(name, a);
  auto record = std::make_unique<Plugin>();
  record->name = name;
  record->path = path;
  record->handle = opened.handle;
  Plugin& plugin = *record;
  plugins_.push_back(std::move(record));
  return initialise(plugin, opened.init);
}

Status PluginHost::load_external(std::string_view name, std::string_view path, void* handle, bool (*init)(void*)) {
  const std::string plain = plugin_name_of(name);
  if (plain.empty()) return fail("panda_load_external_plugin: a plugin's name is missing");
  if (handle == nullptr || by_handle(handle) != nullptr || by_name(plain) != nullptr) {
    return fail("plugin {}: its handle is NULL, or a plugin of this handle or name is loaded already", plain);
  }
  auto record = std::make_unique<Plugin>();
  record->name = plain;
  record->path = path;
  record->handle = handle;
  record->external = true;
  plugins_.push_back(std::move(record));
  return init != nullptr ? initialise(*plugins_.back(), init) : Status();
}

Status PluginHost::initialise(Plugin& plugin, bool (*init)(void*)) {
  // A plugin that init_plugin loads is initialised in between: each has its own list of problems.
  const std::vector<std::string> outer = arguments_.problems();
  arguments_.begin(plugin.name);
  std::string why;
  bool started = false;
  if (registry_.depth() == 0) instrumentation_->synchronise();
  Plugin* const outer_plugin = std::exchange(initialising_, &plugin);
  try {
    started = init(plugin.handle);
    if (!started) why = "init_plugin returned false";
  } catch (const ArgumentsRefused&) {
  } catch (const PluginFailure& e) {
    why = e.what();
  } catch (const std::exception& e) {
    why = fmt::format("init_plugin threw an exception ({})", e.what());
  } catch (...) {
    why = "init_plugin threw an exception";
  }
  initialising_ = outer_plugin;
  if (!arguments_.problems().empty()) {
    why.clear();
    for (const std::string& p : arguments_.problems()) why += (why.empty() ? "" : "; ") + p;
  }
  if (arguments_.wants_help(plugin.name)) {
    help_ = arguments_.help(plugin.name);
  } else {
    for (const std::string& key : arguments_.unknown(plugin.name)) {
      complain(&plugin, fmt::format("has no argument '{}': '-panda {}:help' lists them", key, plugin.name));
    }
  }
  arguments_.begin("");
  for (const std::string& p : outer) arguments_.problem(p);
  if (why.empty() && plugin.loaded) {
    if (!busy()) finish_unloading();
    return {};
  }
  if (why.empty()) why = "unloaded itself in init_plugin";
  const std::string name = plugin.name;
  if (started) {
    begin_unloading(plugin);
    if (!busy()) finish_unloading();
  } else {
    registry_.remove_all(&plugin);
    forget_callbacks_of(plugin);
    instrumentation_->remove_counters(plugin);
    plugin.loaded = false;
    plugin.unloading = false;
    arguments_.forget(name);
    close(plugin);
  }
  return fail("plugin {}: {}", name, why);
}

void PluginHost::loading_problem(std::string message) { arguments_.problem(std::move(message)); }

Result<Plugin*> PluginHost::need(std::string_view name) {
  Plugin* const user = caller();
  PANDA_TRY_STATUS(load(name, {}));
  Plugin* const found = by_name(name);
  if (found == nullptr) return fail("plugin {}: it unloaded itself", name);
  if (user != nullptr && user != found && std::find(user->uses.begin(), user->uses.end(), found) == user->uses.end()) {
    user->uses.push_back(found);
  }
  return found;
}

Plugin* PluginHost::user_of(const Plugin& plugin) {
  for (Plugin* p : loaded()) {
    if (std::find(p->uses.begin(), p->uses.end(), &plugin) != p->uses.end()) return p;
  }
  return nullptr;
}

Status PluginHost::unload(Plugin& plugin) {
  if (!plugin.loaded) return {};
  if (Plugin* const by = caller(); by != nullptr) std::erase(by->uses, &plugin);  // it knows what it does
  if (const Plugin* user = user_of(plugin); user != nullptr) {
    return fail("cannot unload {}: {} uses it; unload that first", plugin.name, user->name);
  }
  begin_unloading(plugin);
  return {};
}

void PluginHost::begin_unloading(Plugin& plugin) {
  if (!plugin.loaded) return;
  plugin.loaded = false;
  plugin.unloading = true;
  plugin.uses.clear();
  registry_.remove_all(&plugin);
  instrumentation_->remove_counters(plugin);
  if (!busy())
    finish_unloading();
  else if (registry_.depth() != 0)
    registry_.when_idle([this] { finish_unloading(); });
}

void PluginHost::offer_callbacks(Forget forget) {
  if (std::find(offers_.begin(), offers_.end(), forget) == offers_.end()) offers_.push_back(forget);
}

namespace {

// Where the shared object is that an address lies in; nullptr: in none.
const void* base_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}
const void* g_gone = nullptr;

}  // namespace

void PluginHost::forget_callbacks_of(const Plugin& plugin) {
  if (plugin.external) return;
  g_gone = base_of(dlsym(plugin.handle, "init_plugin"));
  std::erase_if(offers_, [](Forget f) { return base_of(reinterpret_cast<const void*>(f)) == g_gone; });
  const auto gone = [](void (*function)()) { return base_of(reinterpret_cast<const void*>(function)) == g_gone; };
  for (const Forget forget : offers_) forget(gone);
}

void PluginHost::finish_unloading() {
  if (busy()) return;  // the outermost one does it
  for (size_t i = 0; i < plugins_.size(); i++) {
    Plugin& p = *plugins_[i];
    if (!p.unloading) continue;
    p.unloading = false;
    void* const uninit = p.external ? nullptr : dlsym(p.handle, "uninit_plugin");
    if (uninit != nullptr) {
      try {
        reinterpret_cast<void (*)(void*)>(uninit)(p.handle);
      } catch (const std::exception& e) {
        complain(&p, fmt::format("uninit_plugin failed: {}", e.what()));
      } catch (...) {
        complain(&p, "uninit_plugin threw an exception");
      }
    }
    registry_.remove_all(&p);  // what uninit_plugin may have registered
    forget_callbacks_of(p);
    instrumentation_->remove_counters(p);
    arguments_.forget(p.name);
    close(p);
  }
}

void PluginHost::close(Plugin& plugin) {
  if (!plugin.external) close_plugin(plugin.handle);
  plugin.handle = nullptr;
}

void PluginHost::unload_all() {
  while (true) {
    const std::vector<Plugin*> all = loaded();
    if (all.empty()) break;
    const auto unused = std::find_if(all.rbegin(), all.rend(), [this](Plugin* p) { return user_of(*p) == nullptr; });
    begin_unloading(unused != all.rend() ? **unused : *all.back());
  }
  if (!busy()) finish_unloading();
}

void PluginHost::set_enabled(Plugin& plugin, bool on) {
  if (plugin.enabled == on) return;
  plugin.enabled = on;
  registry_.new_generation();
  registry_.plugin_changed();
}

// ---- monitor

std::string PluginHost::monitor_load(std::string_view file, std::string_view arguments) {
  const std::vector<Argument> given = parse_argument_list(arguments);
  if (given.size() == 1 && given[0].key == "help") {
    const Result<std::string> text = argument_help(file);
    return text ? *text : text.error().message + "\n";
  }
  if (Plugin* p = by_name(file); p != nullptr) {
    const Status same = same_plugin(*p, file);
    return same ? fmt::format("plugin {} is loaded already\n", p->name) : same.error().message + "\n";
  }
  const Status status = load(file, given);
  return status ? std::string() : status.error().message + "\n";
}

std::string PluginHost::monitor_unload(std::string_view index_or_name) {
  int index = -1;
  const char* const end = index_or_name.data() + index_or_name.size();
  const auto parsed = std::from_chars(index_or_name.data(), end, index);
  const bool number = parsed.ec == std::errc() && parsed.ptr == end;
  Plugin* p = number ? by_index(index) : by_name(index_or_name);
  if (p == nullptr)
    return fmt::format("no loaded plugin has the {} {}: see list_plugins\n", number ? "index" : "name", index_or_name);
  const Status status = unload(*p);
  return status ? std::string() : status.error().message + "\n";
}

std::string PluginHost::monitor_list() {
  std::string out = "idx\tname\taddr\n";
  int index = 0;
  for (const Plugin* p : loaded()) {
    out += fmt::format("{}\tpanda_{}.so\t{}{}\n", index++, p->name, p->handle, p->enabled ? "" : "\t(disabled)");
  }
  return out;
}

std::string PluginHost::monitor_command(std::string_view command) {
  if (!registry_.active(PANDA_CB_MONITOR)) return "no loaded plugin has monitor commands\n";
  std::string text;
  const std::string line(command);
  monitor_text_ = &text;
  registry_.call_all(PANDA_CB_MONITOR, reinterpret_cast<Monitor*>(this), line.c_str());
  monitor_text_ = nullptr;
  finish_unloading();
  return text;
}

void PluginHost::monitor_output(std::string_view text) {
  if (monitor_text_ != nullptr)
    *monitor_text_ += text;
  else
    std::fwrite(text.data(), 1, text.size(), stdout);
}

// ---- moments

void PluginHost::simple(unsigned type, bool with_cpu) {
  if (!busy()) finish_unloading();
  if (!registry_.active(type)) return;
  instrumentation_->synchronise();
  if (with_cpu)
    registry_.call_all(type, engine_->cpu().state());
  else
    registry_.call_all(type);
  if (!busy()) finish_unloading();
}

void PluginHost::during_machine_init() {
  if (!registry_.active(PANDA_CB_DURING_MACHINE_INIT)) return;
  instrumentation_->synchronise();
  registry_.call_all(PANDA_CB_DURING_MACHINE_INIT, reinterpret_cast<MachineState*>(this));
}

void PluginHost::run_begins() {
  run_began_ = engine_->count().value;
  simple(PANDA_CB_AFTER_CPU_EXEC_ENTER, true);
}

void PluginHost::run_ends() {
  if (!registry_.active(PANDA_CB_BEFORE_CPU_EXEC_EXIT)) return;
  instrumentation_->synchronise();
  registry_.call_all(PANDA_CB_BEFORE_CPU_EXEC_EXIT, engine_->cpu().state(), engine_->count().value != run_began_);
}

void PluginHost::request_flush() {
  flush_requested = true;
  registry_.new_generation();
  instrumentation_->want_dispatch();
}

void PluginHost::request_break() {
  break_requested = true;
  instrumentation_->want_dispatch();
  if (hooks_.break_main_loop) hooks_.break_main_loop();
}

}  // namespace panda::plugin
