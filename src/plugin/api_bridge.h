// What the C API does, free of its types: the API's own sources are compiled once per target, with
// the plugins' view of the CPU state, and can see nothing of the engine but this. All of it speaks
// to current_host(); where there is none, nothing happens and queries answer 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugin/arguments.h"

namespace panda::plugin::api {

// --- callbacks
void register_callback(void* plugin, unsigned type, void* function, void* context, bool with_context);
void enable_callback(void* plugin, unsigned type, void* function, void* context, bool with_context, bool on);
[[nodiscard]] bool is_callback_enabled(void* plugin, unsigned type, void* function);
void unregister_callbacks(void* plugin);
void unregister_callback(void* plugin, unsigned type, void* function, void* context, bool with_context);
[[nodiscard]] bool filter_callback(void* plugin, unsigned type, void* function, void* context, const void* filter);
[[nodiscard]] uint64_t* add_counter(void* plugin, unsigned what);
void remove_counter(void* plugin, const uint64_t* counter);

// --- plugins
bool load_plugin(std::string_view file);
bool load_external(std::string_view name, std::string_view path, void* handle, bool (*init)(void*));
void add_argument(std::string_view plugin, std::string_view text);
[[nodiscard]] void* handle_of(std::string_view name);
void unload_name(std::string_view name);
void unload_handle(void* plugin);
void unload_index(int index);
void unload_all();
void set_enabled(void* plugin, bool on);
void require(std::string_view name);
[[nodiscard]] void* need(std::string_view name);
[[nodiscard]] const char* name_of(void* plugin);
void message(void* plugin, std::string_view text);
void refuse(void* plugin, std::string_view why);
[[noreturn]] void give_up(std::string why);
[[nodiscard]] bool find_function(void* plugin, std::string_view plugin_name, const char* function, void** found);
using Forget = void (*)(bool (*gone)(void (*function)()));
void offer_callbacks(Forget forget);
[[nodiscard]] std::optional<std::string> plugin_path(std::string_view name);
[[nodiscard]] std::optional<std::string> file_beside_plugins(std::string_view file);

// --- arguments
using KeyValue = std::pair<std::string, std::string>;
[[nodiscard]] std::vector<KeyValue> arguments_of(std::string_view plugin);
void argument_asked(std::string_view plugin, AskedArgument asked);
void argument_problem(std::string message);
void arguments_taken(std::string_view plugin);  // throws where its arguments had problems

// --- execution
[[nodiscard]] bool take_flush_request();
[[nodiscard]] bool take_break_request();
void request_flush();
void request_break();
void set_chaining(bool on);
void set_memory_callbacks(bool on);
void not_there_yet(std::string_view subject, std::string_view message);  // said once per plugin
void monitor_output(std::string_view text);

// --- memory. Virtual addresses are in the current address space, read with the kernel's rights.
bool read_virtual(uint64_t address, void* out, uint64_t size);
bool write_virtual(uint64_t address, const void* data, uint64_t size);
bool read_physical(uint64_t address, void* out, uint64_t size);
bool write_physical(uint64_t address, const void* data, uint64_t size);
[[nodiscard]] std::optional<uint64_t> virtual_to_physical(uint64_t address);
[[nodiscard]] std::optional<uint64_t> ram_offset(uint64_t physical);
[[nodiscard]] void* host_pointer(uint64_t address, uint64_t size);
[[nodiscard]] uint64_t ram_bytes();
[[nodiscard]] uint64_t ram_end();  // one more than the highest physical address
[[nodiscard]] uint32_t ram_checksum();
bool save_ram(std::FILE* file);

// --- CPU
[[nodiscard]] void* cpu_state();
[[nodiscard]] uint64_t asid();
[[nodiscard]] uint64_t pc();
[[nodiscard]] uint64_t instruction_count();
[[nodiscard]] uint32_t flags();
[[nodiscard]] uint32_t register_checksum();
void disassemble(std::FILE* out, uint64_t address, uint64_t size);

// --- record and replay; answers as RRCTRL_ret, modes as RR_mode
int record_begin(const char* name, const char* snapshot);
int record_end();
int replay_begin(const char* name);
int replay_end();
int quit();
[[nodiscard]] std::string monitor(std::string_view line);
[[nodiscard]] int rr_mode();
[[nodiscard]] int rr_requested();
[[nodiscard]] std::string rr_name();
[[nodiscard]] uint64_t replay_total();
[[nodiscard]] uint64_t insns_to_next_event();  // in a replay, else 0

}  // namespace panda::plugin::api
