#include "plugin/api_bridge.h"

#include <dlfcn.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "memory/access.h"
#include "plugin/plugin_host.h"

namespace panda::plugin::api {
namespace {

// The plugin of a handle; says so where there is none.
Plugin* plugin_of(void* handle, const char* what) {
  PluginHost* host = current_host();
  if (host == nullptr) return nullptr;
  Plugin* plugin = host->by_handle(handle);
  if (plugin == nullptr) {
    PluginHost::complain(host->caller(), fmt::format("{}: {} is not a loaded plugin's handle", what, handle));
  }
  return plugin;
}

bool good(const Plugin* plugin, unsigned type, const void* function, const char* what) {
  if (type >= CallbackRegistry::kTypes) {
    PluginHost::complain(plugin, fmt::format("{}: there is no callback type {}", what, type));
    return false;
  }
  if (function == nullptr) {
    PluginHost::complain(plugin, fmt::format("{}: the callback for {} is NULL", what, callback_name(type)));
    return false;
  }
  return true;
}

// Who calls: the plugin that is being initialised, or whose callback runs.
Plugin* caller() { return current_host() != nullptr ? current_host()->caller() : nullptr; }

VcpuContext& cpu() { return current_host()->engine().cpu(); }

template <typename Write>
bool write_as_plugin(Write write) {
  PluginHost& host = *current_host();
  if (!host.plugin_write_begins()) return false;
  const bool done = write();
  host.plugin_write_ends();
  return done;
}

// Runs `action(address, bytes, offset)` for each part of a range that lies in one page.
template <typename Action>
bool by_page(uint64_t address, uint64_t size, Action action) {
  uint64_t done = 0;
  while (done < size) {
    const uint64_t here = std::min(size - done, kPageSize - ((address + done) & ~kPageMask));
    if (!action(address + done, here, done)) return false;
    done += here;
  }
  return true;
}

int answer(RrAnswer a) { return a == RrAnswer::Accepted ? 0 : a == RrAnswer::Pending ? -1 : -2; }

}  // namespace

// ---- callbacks

void register_callback(void* handle, unsigned type, void* function, void* context, bool with_context) {
  Plugin* plugin = plugin_of(handle, "panda_register_callback");
  if (plugin == nullptr || !good(plugin, type, function, "panda_register_callback")) return;
  PluginHost& host = *current_host();
  if (!plugin->loaded) return host.complain(plugin, "panda_register_callback: it is being unloaded");
  if (callback_kind(type) == CallbackKind::Silent) {
    host.complain_once(plugin, callback_name(type),
                       fmt::format("the callback {} does not fire in this version", callback_name(type)));
  }
  host.registry().add(type, {.plugin = plugin, .function = function, .context = context, .with_context = with_context});
}

void enable_callback(void* handle, unsigned type, void* function, void* context, bool with_context, bool on) {
  const char* const what = on ? "panda_enable_callback" : "panda_disable_callback";
  Plugin* plugin = plugin_of(handle, what);
  if (plugin == nullptr || !good(plugin, type, function, what)) return;
  if (!current_host()->registry().set_enabled(type, plugin, function, context, with_context, on)) {
    PluginHost::complain(plugin, fmt::format("{}: this callback was not registered for {}", what, callback_name(type)));
  }
}

bool is_callback_enabled(void* handle, unsigned type, void* function) {
  PluginHost* host = current_host();
  const Plugin* plugin = host != nullptr ? host->by_handle(handle) : nullptr;
  return plugin != nullptr && type < CallbackRegistry::kTypes && host->registry().is_enabled(type, plugin, function);
}

void unregister_callbacks(void* handle) {
  if (Plugin* plugin = plugin_of(handle, "panda_unregister_callbacks")) current_host()->registry().remove_all(plugin);
}

void unregister_callback(void* handle, unsigned type, void* function, void* context, bool with_context) {
  constexpr const char* kWhat = "panda_unregister_callback";
  Plugin* plugin = plugin_of(handle, kWhat);
  if (plugin == nullptr || !good(plugin, type, function, kWhat)) return;
  // One that is being unloaded has none left.
  if (!current_host()->registry().remove(type, plugin, function, context, with_context) && plugin->loaded) {
    PluginHost::complain(plugin,
                         fmt::format("{}: this callback was not registered for {}", kWhat, callback_name(type)));
  }
}

bool filter_callback(void* handle, unsigned type, void* function, void* context, const void* filter) {
  constexpr const char* kWhat = "panda_filter_callback";
  Plugin* plugin = plugin_of(handle, kWhat);
  if (plugin == nullptr || !good(plugin, type, function, kWhat)) return false;
  if (!MemoryCallbacks::is_virtual(type)) {
    PluginHost::complain(plugin, fmt::format("{}: {} is not one of PANDA_CB_VIRT_MEM_*", kWhat, callback_name(type)));
    return false;
  }
  return current_host()->registry().set_filter(type, plugin, function, context, filter);
}

uint64_t* add_counter(void* handle, unsigned what) {
  Plugin* plugin = plugin_of(handle, "panda_inline_counter");
  if (plugin == nullptr) return nullptr;
  if (what != PANDA_CB_BEFORE_BLOCK_EXEC && what != PANDA_CB_INSN_EXEC) {
    PluginHost::complain(plugin, "panda_inline_counter: counts BEFORE_BLOCK_EXEC or INSN_EXEC, nothing else");
    return nullptr;
  }
  return current_host()->instrumentation().add_counter(
      *plugin, what == PANDA_CB_INSN_EXEC ? Instrumentation::Counts::Insns : Instrumentation::Counts::Blocks);
}

void remove_counter(void* handle, const uint64_t* counter) {
  Plugin* plugin = plugin_of(handle, "panda_remove_inline_counter");
  if (plugin != nullptr) current_host()->instrumentation().remove_counter(*plugin, counter);
}

// ---- plugins

bool load_plugin(std::string_view file) {
  if (current_host() == nullptr) return false;
  const Status status = current_host()->load(file, {});
  if (!status) std::fprintf(stderr, "panda: %s\n", status.error().message.c_str());
  return status.has_value();
}

bool load_external(std::string_view name, std::string_view path, void* handle, bool (*init)(void*)) {
  if (current_host() == nullptr) return false;
  const Status status = current_host()->load_external(name, path, handle, init);
  if (!status) std::fprintf(stderr, "panda: %s\n", status.error().message.c_str());
  return status.has_value();
}

void add_argument(std::string_view plugin, std::string_view text) {
  if (current_host() == nullptr) return;
  for (Argument& a : parse_argument_list(text)) current_host()->arguments().add(plugin_name_of(plugin), std::move(a));
}

void* handle_of(std::string_view name) {
  const Plugin* plugin = current_host() != nullptr ? current_host()->by_name(name) : nullptr;
  return plugin != nullptr ? plugin->handle : nullptr;
}

namespace {
void unload(Plugin& plugin) {
  if (const Status status = current_host()->unload(plugin); !status) {
    PluginHost::complain(current_host()->caller(), status.error().message);
  }
}
}  // namespace

void unload_name(std::string_view name) {
  if (current_host() == nullptr) return;
  if (Plugin* plugin = current_host()->by_name(name))
    unload(*plugin);
  else
    PluginHost::complain(caller(), fmt::format("cannot unload {}: it is not loaded", name));
}

void unload_handle(void* handle) {
  if (Plugin* plugin = plugin_of(handle, "panda_unload_plugin")) unload(*plugin);
}

void unload_index(int index) {
  if (current_host() == nullptr) return;
  if (Plugin* plugin = current_host()->by_index(index))
    unload(*plugin);
  else
    PluginHost::complain(caller(), fmt::format("cannot unload plugin number {}: there is none", index));
}

void unload_all() {
  if (current_host() != nullptr) current_host()->unload_all();
}

void set_enabled(void* handle, bool on) {
  if (Plugin* plugin = plugin_of(handle, on ? "panda_enable_plugin" : "panda_disable_plugin")) {
    current_host()->set_enabled(*plugin, on);
  }
}

void require(std::string_view name) { static_cast<void>(need(name)); }

void* need(std::string_view name) {
  if (current_host() == nullptr) return nullptr;
  const Result<Plugin*> found = current_host()->need(name);
  if (found) return (*found)->handle;
  if (current_host()->initialising() != nullptr)
    current_host()->loading_problem(fmt::format("needs another plugin: {}", found.error().message));
  else
    PluginHost::complain(caller(), fmt::format("needs another plugin: {}", found.error().message));
  return nullptr;
}

const char* name_of(void* handle) {
  const Plugin* plugin = current_host() != nullptr ? current_host()->by_handle(handle) : nullptr;
  return plugin != nullptr ? plugin->name.c_str() : "?";
}

void message(void* handle, std::string_view text) {
  PluginHost::complain(current_host() != nullptr ? current_host()->by_handle(handle) : nullptr, text);
}

void refuse(void* handle, std::string_view why) {
  PluginHost* host = current_host();
  if (host != nullptr && host->initialising() != nullptr && host->initialising()->handle == handle)
    host->loading_problem(std::string(why));
  else
    message(handle, why);
}

void give_up(std::string why) { throw PluginFailure(why); }

bool find_function(void* handle, std::string_view plugin_name, const char* function, void** found) {
  *found = dlsym(handle, function);
  if (*found != nullptr) return true;
  const std::string why = fmt::format("the plugin {} has no function {}: build them together", plugin_name, function);
  if (current_host() != nullptr && current_host()->initialising() != nullptr)
    current_host()->loading_problem(why);
  else
    PluginHost::complain(caller(), why);
  return false;
}

void offer_callbacks(Forget forget) {
  if (current_host() != nullptr) current_host()->offer_callbacks(forget);
}

std::optional<std::string> plugin_path(std::string_view name) {
  if (current_host() == nullptr) return std::nullopt;
  Result<std::string> path = find_plugin(current_host()->search_paths(), name);
  if (!path) return std::nullopt;
  return *path;
}

std::optional<std::string> file_beside_plugins(std::string_view file) {
  if (current_host() == nullptr) return std::nullopt;
  for (const std::string& place : candidates(current_host()->search_paths(), "x")) {
    const std::filesystem::path path = std::filesystem::path(place).parent_path() / file;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path, ignored)) return path.string();
  }
  return std::nullopt;
}

// ---- arguments

std::vector<KeyValue> arguments_of(std::string_view plugin) {
  std::vector<KeyValue> out;
  if (current_host() == nullptr) return out;
  for (Argument& a : current_host()->arguments().of(plugin_name_of(plugin))) {
    out.emplace_back(std::move(a.key), std::move(a.value));
  }
  return out;
}

void argument_asked(std::string_view plugin, AskedArgument asked) {
  if (current_host() != nullptr) current_host()->arguments().asked_for(plugin_name_of(plugin), std::move(asked));
}

void argument_problem(std::string message) {
  if (current_host() != nullptr) current_host()->loading_problem(std::move(message));
}

void arguments_taken(std::string_view plugin) {
  PluginHost* host = current_host();
  if (host == nullptr || host->initialising() == nullptr || host->initialising()->name != plugin_name_of(plugin))
    return;
  // A plugin may free them in a destructor that runs because init_plugin is being left already.
  if (!host->arguments().problems().empty() && std::uncaught_exceptions() == 0) throw ArgumentsRefused();
}

// ---- execution

bool take_flush_request() { return current_host() != nullptr && std::exchange(current_host()->flush_requested, false); }
bool take_break_request() { return current_host() != nullptr && std::exchange(current_host()->break_requested, false); }
void request_flush() {
  if (current_host() != nullptr) current_host()->request_flush();
}
void request_break() {
  if (current_host() != nullptr) current_host()->request_break();
}
void set_chaining(bool on) {
  if (current_host() != nullptr) current_host()->engine().set_chaining(on);
}
void set_memory_callbacks(bool on) {
  if (current_host() != nullptr) current_host()->instrumentation().memory().set_on(on);
}
void not_there_yet(std::string_view subject, std::string_view message) {
  if (current_host() != nullptr) current_host()->complain_once(caller(), subject, message);
}
void monitor_output(std::string_view text) {
  if (current_host() != nullptr)
    current_host()->monitor_output(text);
  else
    std::fwrite(text.data(), 1, text.size(), stdout);
}

// ---- memory

bool read_virtual(uint64_t address, void* out, uint64_t size) {
  PluginHost* host = current_host();
  return host != nullptr &&
         peek_guest(cpu(), address & host->target().address_mask, host->target().privileged_mode, out, size);
}

bool write_virtual(uint64_t address, const void* data, uint64_t size) {
  PluginHost* host = current_host();
  return host != nullptr && write_as_plugin([&] {
           return poke_guest(cpu(), address & host->target().address_mask, host->target().privileged_mode, data, size);
         });
}

bool read_physical(uint64_t address, void* out, uint64_t size) {
  return current_host() != nullptr && current_host()->engine().memory().read(GuestPhysAddr(address), out, size);
}

bool write_physical(uint64_t address, const void* data, uint64_t size) {
  return current_host() != nullptr &&
         write_as_plugin([&] { return current_host()->engine().memory().write(GuestPhysAddr(address), data, size); });
}

std::optional<uint64_t> virtual_to_physical(uint64_t address) {
  PluginHost* host = current_host();
  if (host == nullptr || host->engine().memory().mmu() == nullptr) return std::nullopt;
  address &= host->target().address_mask;
  Translation found;
  if (!host->engine().memory().mmu()->translate(cpu(), address, Access::Read, host->target().privileged_mode, true,
                                                found)) {
    return std::nullopt;
  }
  return (found.phys & kPageMask) | (address & ~kPageMask);
}

std::optional<uint64_t> ram_offset(uint64_t physical) {
  if (current_host() == nullptr) return std::nullopt;
  for (const RamRange& r : current_host()->engine().memory().ranges()) {
    if (physical >= r.phys && physical - r.phys < r.size) return r.offset + (physical - r.phys);
  }
  return std::nullopt;
}

void* host_pointer(uint64_t address, uint64_t size) {
  const std::optional<uint64_t> physical = virtual_to_physical(address);
  if (!physical || size == 0 || (address & ~kPageMask) + size > kPageSize) return nullptr;
  return current_host()->engine().memory().host(GuestPhysAddr(*physical), size);
}

uint64_t ram_end() {
  uint64_t end = 0;
  if (current_host() == nullptr) return end;
  for (const RamRange& r : current_host()->engine().memory().ranges()) end = std::max<uint64_t>(end, r.phys + r.size);
  return end;
}

uint32_t ram_checksum() {
  if (current_host() == nullptr) return 0;
  const auto ram = current_host()->engine().memory().ram();
  return static_cast<uint32_t>(crc32_z(0, ram.data(), ram.size()));
}

uint64_t ram_bytes() { return current_host() != nullptr ? current_host()->engine().memory().size_bytes() : 0; }

// The physical address is the offset in the file; what is not RAM in between reads as zero.
bool save_ram(std::FILE* file) {
  if (current_host() == nullptr) return false;
  GuestMemory& memory = current_host()->engine().memory();
  std::vector<RamRange> ranges(memory.ranges().begin(), memory.ranges().end());
  std::sort(ranges.begin(), ranges.end(), [](const RamRange& a, const RamRange& b) { return a.phys < b.phys; });
  constexpr std::array<uint8_t, kPageSize> kZeros{};
  uint64_t at = 0;
  for (const RamRange& r : ranges) {
    for (; at < r.phys; at += kPageSize) {
      if (std::fwrite(kZeros.data(), 1, kPageSize, file) != kPageSize) return false;
    }
    if (std::fwrite(memory.ram().data() + r.offset, 1, r.size, file) != r.size) return false;
    at = r.phys + r.size;
  }
  return std::fflush(file) == 0;
}

// ---- CPU

void* cpu_state() { return current_host() != nullptr ? cpu().state() : nullptr; }
uint64_t asid() { return current_host() != nullptr ? current_host()->target().asid(cpu()) : 0; }
uint64_t pc() { return current_host() != nullptr ? current_host()->instrumentation().current_pc() : 0; }
uint64_t instruction_count() {
  PluginHost* const host = current_host();
  return host != nullptr ? host->instrumentation().current_count() - host->hooks().count_origin : 0;
}
uint32_t register_checksum() {
  if (current_host() == nullptr) return 0;
  const std::string text = current_host()->engine().frontend().describe_registers(cpu());
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}
uint32_t flags() { return current_host() != nullptr ? current_host()->target().flags(cpu()) : 0; }

void disassemble(std::FILE* out, uint64_t address, uint64_t size) {
  if (current_host() == nullptr) return;
  const Target& target = current_host()->target();
  uint64_t done = 0;
  while (done < size) {
    // The last instruction may end where nothing is mapped any more: as many bytes as there are.
    std::array<uint8_t, 16> bytes{};
    size_t n = static_cast<size_t>(std::min<uint64_t>(bytes.size(), size - done));
    while (n > 0 && !read_virtual(address + done, bytes.data(), n)) n--;
    if (n == 0) {
      std::fprintf(out, "0x%08llx:  (not mapped)\n", static_cast<unsigned long long>(address + done));
      return;
    }
    std::string text;
    const unsigned length = target.disassemble(cpu(), address + done, {bytes.data(), n}, text);
    if (length == 0) text = fmt::format(".byte 0x{:02x}", bytes[0]);
    std::fprintf(out, "0x%08llx:  %s\n", static_cast<unsigned long long>(address + done), text.c_str());
    done += length == 0 ? 1 : length;
  }
}

// ---- record and replay

int record_begin(const char* name, const char* snapshot) {
  if (current_host() == nullptr || name == nullptr || !current_host()->hooks().begin_record) return -2;
  return answer(current_host()->hooks().begin_record(name, snapshot != nullptr ? snapshot : ""));
}
int record_end() {
  if (current_host() == nullptr || !current_host()->hooks().end_record) return -2;
  return answer(current_host()->hooks().end_record());
}
int replay_begin(const char* name) {
  if (current_host() == nullptr || name == nullptr || !current_host()->hooks().begin_replay) return -2;
  return answer(current_host()->hooks().begin_replay(name));
}
int replay_end() {
  if (current_host() == nullptr || !current_host()->hooks().end_replay) return -2;
  return answer(current_host()->hooks().end_replay());
}
int quit() {
  if (current_host() == nullptr || !current_host()->hooks().quit) return -2;
  current_host()->hooks().quit();
  return 0;
}
std::string monitor(std::string_view line) {
  if (current_host() == nullptr || !current_host()->hooks().monitor) return "";
  return current_host()->hooks().monitor(std::string(line));
}
int rr_mode() {
  if (current_host() == nullptr || !current_host()->hooks().rr_mode) return 0;
  return static_cast<int>(current_host()->hooks().rr_mode());
}
int rr_requested() {
  if (current_host() == nullptr || !current_host()->hooks().rr_requested) return -1;
  const std::optional<RrMode> mode = current_host()->hooks().rr_requested();
  return mode ? static_cast<int>(*mode) : -1;
}
std::string rr_name() {
  return current_host() != nullptr && current_host()->hooks().rr_name ? current_host()->hooks().rr_name() : "";
}
uint64_t insns_to_next_event() {
  if (current_host() == nullptr || !current_host()->hooks().next_event) return 0;
  const InsnCount now(current_host()->instrumentation().current_count());
  const InsnCount next = current_host()->hooks().next_event();
  return next > now ? next - now : 0;
}
uint64_t replay_total() {
  return current_host() != nullptr && current_host()->hooks().replay_total ? current_host()->hooks().replay_total() : 0;
}

}  // namespace panda::plugin::api
