// Callbacks and plugins of the C API.
#include <cstdarg>

#include "plugin/shim/shim.h"

namespace api = panda::plugin::api;
using panda::plugin::shim::copy;
using panda::plugin::shim::function_of;
using panda::plugin::shim::text;

namespace {

std::string formatted(const char* fmt, va_list list) {
  char* line = nullptr;
  const int size = vasprintf(&line, fmt, list);
  if (size < 0) return fmt;
  std::string out(line, static_cast<size_t>(size));
  std::free(line);
  return out;
}

}  // namespace

void panda_register_callback(void* plugin, panda_cb_type type, panda_cb cb) {
  api::register_callback(plugin, type, function_of(cb), nullptr, false);
}
void panda_register_callback_with_context(void* plugin, panda_cb_type type, panda_cb_with_context cb, void* context) {
  api::register_callback(plugin, type, function_of(cb), context, true);
}
void panda_disable_callback(void* plugin, panda_cb_type type, panda_cb cb) {
  api::enable_callback(plugin, type, function_of(cb), nullptr, false, false);
}
void panda_disable_callback_with_context(void* plugin, panda_cb_type type, panda_cb_with_context cb, void* context) {
  api::enable_callback(plugin, type, function_of(cb), context, true, false);
}
void panda_enable_callback(void* plugin, panda_cb_type type, panda_cb cb) {
  api::enable_callback(plugin, type, function_of(cb), nullptr, false, true);
}
void panda_enable_callback_with_context(void* plugin, panda_cb_type type, panda_cb_with_context cb, void* context) {
  api::enable_callback(plugin, type, function_of(cb), context, true, true);
}
void panda_unregister_callbacks(void* plugin) { api::unregister_callbacks(plugin); }
void panda_unregister_callback(void* plugin, panda_cb_type type, panda_cb cb) {
  api::unregister_callback(plugin, type, function_of(cb), nullptr, false);
}
void panda_unregister_callback_with_context(void* plugin, panda_cb_type type, panda_cb_with_context cb, void* context) {
  api::unregister_callback(plugin, type, function_of(cb), context, true);
}
bool panda_is_callback_enabled(void* plugin, panda_cb_type type, panda_cb cb) {
  return api::is_callback_enabled(plugin, type, function_of(cb));
}
bool panda_filter_callback(void* plugin, panda_cb_type type, panda_cb_with_context cb, void* context,
                           bool (*filter)(void*, CPUState*, target_ptr_t, target_ptr_t, size_t, uint8_t*)) {
  return api::filter_callback(plugin, type, function_of(cb), context, reinterpret_cast<const void*>(filter));
}
uint64_t* panda_inline_counter(void* plugin, panda_cb_type what) { return api::add_counter(plugin, what); }
void panda_remove_inline_counter(void* plugin, uint64_t* counter) { api::remove_counter(plugin, counter); }
void panda_register_callback_helper(void* plugin, panda_cb_type type, panda_cb* cb) {
  panda_register_callback(plugin, type, *cb);
}
void panda_enable_callback_helper(void* plugin, panda_cb_type type, panda_cb* cb) {
  panda_enable_callback(plugin, type, *cb);
}
void panda_disable_callback_helper(void* plugin, panda_cb_type type, panda_cb* cb) {
  panda_disable_callback(plugin, type, *cb);
}

namespace {

// What calls a panda_cb without context: its own argument types, so that it fits into the union.
template <typename Function>
struct Trampoline;
template <typename R, typename... A>
struct Trampoline<R(A...)> {
  static R call(void* context, A... arguments) {
    return reinterpret_cast<R (*)(A...)>(static_cast<panda_cb*>(context)->cbaddr)(arguments...);
  }
};

}  // namespace

panda_cb_with_context panda_get_cb_trampoline(panda_cb_type type) {
  panda_cb_with_context cb{};
  cb.cbaddr = nullptr;
  switch (static_cast<int>(type)) {
#define PANDA_CALLBACK(ID, member, kind, result, ...)                                 \
  case PANDA_CB_##ID:                                                                 \
    cb.cbaddr = reinterpret_cast<void (*)()>(&Trampoline<result(__VA_ARGS__)>::call); \
    break;
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CALLBACK(ID, member, kind, result, )
#include "panda/callbacks/cb-table.inc"
    default:
      break;
  }
  return cb;
}
panda_cb_list* panda_cb_list_next(panda_cb_list* plist) {
  do {
    plist = plist != nullptr ? plist->next : nullptr;
  } while (plist != nullptr && !plist->enabled);
  return plist;
}

bool panda_load_external_plugin(const char* filename, const char* plugin_name, void* plugin_uuid, void* init_fn_ptr) {
  return api::load_external(text(plugin_name != nullptr ? plugin_name : filename), text(filename), plugin_uuid,
                            reinterpret_cast<bool (*)(void*)>(init_fn_ptr));
}

// The file decides: a plugin's name is its file's.
bool panda_load_plugin(const char* filename, const char* plugin_name) {
  const char* file = filename != nullptr ? filename : plugin_name;
  return file != nullptr && api::load_plugin(file);
}
bool panda_add_arg(const char* plugin_name, const char* plugin_arg) {
  if (plugin_name == nullptr || plugin_arg == nullptr) return false;
  api::add_argument(plugin_name, plugin_arg);
  return true;
}
void* panda_get_plugin_by_name(const char* name) { return name != nullptr ? api::handle_of(name) : nullptr; }
void panda_unload_plugin_by_name(const char* name) { api::unload_name(text(name)); }
void panda_unload_plugin(void* plugin) { api::unload_handle(plugin); }
void panda_unload_plugin_idx(int idx) { api::unload_index(idx); }
void panda_do_unload_plugin(int index) { api::unload_index(index); }
void panda_unload_plugins(void) { api::unload_all(); }
void panda_enable_plugin(void* plugin) { api::set_enabled(plugin, true); }
void panda_disable_plugin(void* plugin) { api::set_enabled(plugin, false); }
void panda_require(const char* name) { api::require(text(name)); }
void panda_require_from_library(const char* plugin_name, char** plugin_args, uint32_t num_args) {
  for (uint32_t i = 0; i < num_args; i++) api::add_argument(text(plugin_name), text(plugin_args[i]));
  api::require(text(plugin_name));
}
void* panda_need_plugin(const char* name) { return api::need(text(name)); }
const char* panda_plugin_name(void* plugin) { return api::name_of(plugin); }
void panda_plugin_message(void* plugin, const char* fmt, va_list list) { api::message(plugin, formatted(fmt, list)); }
void panda_refuse(void* plugin, const char* why) { api::refuse(plugin, text(why)); }
void panda_fail(const char* fmt, ...) {
  va_list list;
  va_start(list, fmt);
  std::string why = formatted(fmt, list);
  va_end(list);
  api::give_up(std::move(why));
}
bool panda_find_function(void* plugin, const char* plugin_name, const char* function, void** found) {
  return api::find_function(plugin, text(plugin_name), function, found);
}
void panda_offer_callbacks(void (*forget)(bool (*gone)(void (*function)()))) { api::offer_callbacks(forget); }
char* panda_plugin_path(const char* name) {
  const auto path = api::plugin_path(text(name));
  return path ? copy(*path) : nullptr;
}
char* panda_shared_library_path(const char* name) {
  const auto path = api::file_beside_plugins(text(name));
  return path ? copy(*path) : nullptr;
}
char* resolve_file_from_plugin_directory(const char* file_name_fmt, const char* name) {
  std::string file(text(file_name_fmt));
  if (const size_t at = file.find("%s"); at != std::string::npos) file.replace(at, 2, text(name));
  const auto path = api::file_beside_plugins(file);
  return path ? copy(*path) : nullptr;
}

// ---- execution

bool panda_flush_tb(void) { return api::take_flush_request(); }
void panda_do_flush_tb(void) { api::request_flush(); }
bool panda_break_exec(void) { return api::take_break_request(); }
void panda_do_break_exec(void) { api::request_break(); }
void panda_break_main_loop(void) { api::request_break(); }
void rr_quit_cpu_loop(void) { api::request_break(); }
// In callbacks the program counter is exact in any case.
void panda_enable_precise_pc(void) {}
void panda_disable_precise_pc(void) {}
void panda_enable_memcb(void) { api::set_memory_callbacks(true); }
void panda_disable_memcb(void) { api::set_memory_callbacks(false); }
void panda_disable_tb_chaining(void) { api::set_chaining(false); }
void panda_enable_tb_chaining(void) { api::set_chaining(true); }

namespace {
void no_llvm() { api::not_there_yet("llvm", "LLVM lifting is not in this version"); }
}  // namespace
void panda_enable_llvm(void) { no_llvm(); }
void panda_enable_llvm_no_exec(void) { no_llvm(); }
void panda_disable_llvm(void) {}
void panda_enable_llvm_helpers(void) { no_llvm(); }
void panda_disable_llvm_helpers(void) {}
int panda_write_current_llvm_bitcode_to_file(const char*) {
  no_llvm();
  return -1;
}
uintptr_t panda_get_current_llvm_module(void) {
  no_llvm();
  return 0;
}

int monitor_printf(Monitor* mon, const char* fmt, ...) {
  va_list list;
  va_start(list, fmt);
  const std::string line = formatted(fmt, list);
  va_end(list);
  if (mon != nullptr)
    api::monitor_output(line);
  else
    std::fwrite(line.data(), 1, line.size(), stdout);
  return static_cast<int>(line.size());
}
