/* The plugin API: callbacks, plugins, arguments, control of translation.
 *
 * A plugin is a shared object with
 *     bool init_plugin(void *self);      false: it is unloaded at once (say why on stderr)
 *     void uninit_plugin(void *self);    called before it is unloaded
 * `self` is its dlopen handle and names it in calls below.
 *
 * Thread: all functions here are for the guest's thread, that is for code called by the engine
 * (init_plugin, uninit_plugin, callbacks). All may be called from inside callbacks. What is wrong
 * is reported in one line on stderr that names the plugin; the run goes on.
 */
#ifndef PANDA_PLUGIN_H
#define PANDA_PLUGIN_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panda/callbacks/cb-defs.h"
#include "panda/plugin_version.h"
#include "panda/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the plugin was compiled for; the loader refuses one made for another target. */
#ifndef PANDA_CORE_VIEW
const char *panda_plugin_target(void);
__attribute__((weak)) const char *panda_plugin_target(void) { return PANDA_TARGET_NAME; }
int panda_plugin_api_version(void);
__attribute__((weak)) int panda_plugin_api_version(void) { return PANDA_API_VERSION; }
#endif

/* ---- callbacks. Called in the order of registration. One registered inside a callback of its
 * own type is called from the next event on; one that is unregistered or disabled, from now on not.
 * Registering a (plugin, type, function) twice changes nothing. */
void panda_register_callback(void *plugin, panda_cb_type type, panda_cb cb);
void panda_register_callback_with_context(void *plugin, panda_cb_type type, panda_cb_with_context cb, void *context);
void panda_disable_callback(void *plugin, panda_cb_type type, panda_cb cb);
void panda_disable_callback_with_context(void *plugin, panda_cb_type type, panda_cb_with_context cb, void *context);
void panda_enable_callback(void *plugin, panda_cb_type type, panda_cb cb);
void panda_enable_callback_with_context(void *plugin, panda_cb_type type, panda_cb_with_context cb, void *context);
void panda_unregister_callbacks(void *plugin); /* all of a plugin's */
void panda_unregister_callback(void *plugin, panda_cb_type type, panda_cb cb);
void panda_unregister_callback_with_context(void *plugin, panda_cb_type type, panda_cb_with_context cb, void *context);
bool panda_is_callback_enabled(void *plugin, panda_cb_type type, panda_cb cb);

/* A function that calls the panda_cb its context points at: makes a callback without context one with. */
panda_cb_with_context panda_get_cb_trampoline(panda_cb_type type);
/* A list of callbacks as PANDA keeps them; here only its shape, and the step to the next enabled one. */
typedef struct panda_cb_list {
  panda_cb_with_context entry;
  void *owner;
  struct panda_cb_list *next;
  struct panda_cb_list *prev;
  bool enabled;
  void *context;
} panda_cb_list;
panda_cb_list *panda_cb_list_next(panda_cb_list *plist);

/* ---- counters that translated code increments by itself, without a call: what is counted costs next to nothing.
 * `what` is PANDA_CB_BEFORE_BLOCK_EXEC (blocks begun) or PANDA_CB_INSN_EXEC (instructions completed; a repeated string
 * instruction counts once for each time it is begun or gone on with). Counts from the next block on. The counter may
 * be written at any time; its memory is the engine's, and stays readable when it no longer counts: after
 * panda_remove_inline_counter(), while the plugin is disabled, or when it was unloaded. NULL: no such kind. */
uint64_t *panda_inline_counter(void *plugin, panda_cb_type what);
void panda_remove_inline_counter(void *plugin, uint64_t *counter);

/* ---- filters of memory callbacks: what most accesses cost where few are of interest. The filter is called first, with
 * the callback's context and arguments (without `buf` where the callback has none), and the callback only where it
 * returns true. It looks at its arguments and at the plugin's memory alone: the guest's registers may not be up to
 * date, and it must not call the API. One that calls no function outside its plugin and does not compute in floating
 * point is called by translated code itself, in a few nanoseconds. A filter saves time and no more: some accesses
 * (of devices, of helpers, wide ones) reach the callback without it. A callback with a filter must not write guest
 * registers. Set it right after registering, or at any time for the blocks that come; NULL takes it away. False: no
 * such callback is registered with this context, or it is not one of PANDA_CB_VIRT_MEM_*. */
bool panda_filter_callback(void *plugin, panda_cb_type type, panda_cb_with_context cb, void *context,
                           bool (*filter)(void *context, CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size,
                                          uint8_t *buf));

/* ---- plugins. A name is the file's without "panda_" and ".so"; with them it is understood too.
 * Loading one that is loaded already is success. Unloading happens when no callback runs any more. */
#ifdef __cplusplus
bool panda_load_plugin(const char *filename, const char *plugin_name = nullptr);
#else
bool panda_load_plugin(const char *filename, const char *plugin_name);
/* The older form has no second argument. */
#define PANDA_LOAD_PLUGIN_1_(filename) (panda_load_plugin)((filename), NULL)
#define PANDA_LOAD_PLUGIN_2_(filename, name) (panda_load_plugin)((filename), (name))
#define PANDA_LOAD_PLUGIN_SELECT_(a, b, which, ...) which
#define panda_load_plugin(...) \
  PANDA_LOAD_PLUGIN_SELECT_(__VA_ARGS__, PANDA_LOAD_PLUGIN_2_, PANDA_LOAD_PLUGIN_1_, 0)(__VA_ARGS__)
#endif
/* A plugin that is no shared object: `plugin_uuid` is its handle from now on, `init_fn_ptr`, a
 * bool (*)(void *), is called with it if it is not NULL. It ends without uninit_plugin. */
bool panda_load_external_plugin(const char *filename, const char *plugin_name, void *plugin_uuid, void *init_fn_ptr);
bool panda_add_arg(const char *plugin_name, const char *plugin_arg); /* "key=value", before loading it */
void *panda_get_plugin_by_name(const char *name);                    /* NULL: not loaded */
void panda_unload_plugin_by_name(const char *name);
void panda_unload_plugin(void *plugin);
void panda_unload_plugin_idx(int idx); /* index as in list_plugins */
void panda_do_unload_plugin(int index);
void panda_unload_plugins(void);
void panda_enable_plugin(void *plugin); /* all its callbacks */
void panda_disable_plugin(void *plugin);
/* Loads a plugin that this one needs. In init_plugin: if that fails, this one is not loaded either. */
void panda_require(const char *name);
void panda_require_from_library(const char *plugin_name, char **plugin_args, uint32_t num_args);
/* The handle of a plugin that this one uses, loaded now where it was not; NULL: it cannot be, which was
 * said. While this one is loaded, the other can only be unloaded by it. */
void *panda_need_plugin(const char *name);
const char *panda_plugin_name(void *plugin); /* valid while it is loaded; "?": no such plugin */
/* One line on stderr that names the plugin. */
void panda_plugin_message(void *plugin, const char *fmt, va_list list);
/* In init_plugin: why it is going to return false. Elsewhere as panda_plugin_message(). */
void panda_refuse(void *plugin, const char *why);
/* Gives up, with a reason: leaves the running callback and disables its plugin, or leaves init_plugin, and
 * the plugin is not loaded. C++ destructors on the way run. */
__attribute__((noreturn, format(printf, 1, 2))) void panda_fail(const char *fmt, ...);
/* Internal, for generated headers: finds a function of another plugin; false: it has none, which was said. */
bool panda_find_function(void *plugin, const char *plugin_name, const char *function, void **found);
/* Internal, for plugin_plugin.h: `forget` drops what was registered by a plugin that is being unloaded. */
void panda_offer_callbacks(void (*forget)(bool (*gone)(void (*function)(void))));
/* Paths, to be freed with free(); NULL: there is no such file. Of a plugin; of a file beside the plugins; of one
 * whose name is made of a format with one %s. */
char *panda_plugin_path(const char *name);
char *panda_shared_library_path(const char *name);
char *resolve_file_from_plugin_directory(const char *file_name_fmt, const char *name);

/* ---- arguments: -panda 'name:key=value,flag' */
typedef struct panda_arg {
  char *argptr; /* internal */
  char *key;
  char *value; /* "" where there was no '=' */
} panda_arg;
typedef struct panda_arg_list {
  int nargs;
  panda_arg *list;
  char *plugin_name;
} panda_arg_list;
panda_arg_list *panda_get_args(const char *plugin_name); /* never NULL; free with panda_free_args() */
/* To be called when all arguments were asked for. Leaves init_plugin (as panda_fail() does) where one of them
 * was wrong or missing, or where only help was wanted. */
void panda_free_args(panda_arg_list *args);

/* The value of an argument, or `defval` where it was not given. Numbers: decimal, 0x, 0. A value that
 * does not parse, or a required one (_req) that is missing, is reported, and the plugin is not loaded.
 * Strings are valid until panda_free_args(). A bool: no value, 1, true, yes, on, y; 0, false, no, off, n. */
target_ulong panda_parse_ulong(panda_arg_list *args, const char *argname, target_ulong defval);
target_ulong panda_parse_ulong_req(panda_arg_list *args, const char *argname, const char *help);
target_ulong panda_parse_ulong_opt(panda_arg_list *args, const char *argname, target_ulong defval, const char *help);
uint32_t panda_parse_uint32(panda_arg_list *args, const char *argname, uint32_t defval);
uint32_t panda_parse_uint32_req(panda_arg_list *args, const char *argname, const char *help);
uint32_t panda_parse_uint32_opt(panda_arg_list *args, const char *argname, uint32_t defval, const char *help);
uint64_t panda_parse_uint64(panda_arg_list *args, const char *argname, uint64_t defval);
uint64_t panda_parse_uint64_req(panda_arg_list *args, const char *argname, const char *help);
uint64_t panda_parse_uint64_opt(panda_arg_list *args, const char *argname, uint64_t defval, const char *help);
double panda_parse_double(panda_arg_list *args, const char *argname, double defval);
double panda_parse_double_req(panda_arg_list *args, const char *argname, const char *help);
double panda_parse_double_opt(panda_arg_list *args, const char *argname, double defval, const char *help);
bool panda_parse_bool(panda_arg_list *args, const char *argname);
bool panda_parse_bool_req(panda_arg_list *args, const char *argname, const char *help);
bool panda_parse_bool_opt(panda_arg_list *args, const char *argname, const char *help);
const char *panda_parse_string(panda_arg_list *args, const char *argname, const char *defval);
const char *panda_parse_string_req(panda_arg_list *args, const char *argname, const char *help);
const char *panda_parse_string_opt(panda_arg_list *args, const char *argname, const char *defval, const char *help);
/* Splits (a copy of) a string: NULL-terminated array; free each element and it. */
char **str_split(char *a_str, const char a_delim);

/* ---- translation and execution */
bool panda_flush_tb(void);      /* was a flush requested? (clears the request) */
void panda_do_flush_tb(void);   /* drop all translations when the running block ends */
bool panda_break_exec(void);    /* was a break requested? (clears the request) */
void panda_do_break_exec(void); /* return to the main loop soon */
/* env->panda_guest_pc is the linear address of the running instruction. In callbacks it and the
 * program counter are always exact; enabling keeps it so in between. */
void panda_enable_precise_pc(void);
void panda_disable_precise_pc(void);
void panda_enable_memcb(void); /* memory callbacks: docs/memory-callbacks.md */
void panda_disable_memcb(void);
void panda_disable_tb_chaining(void);
void panda_enable_tb_chaining(void);

/* ---- LLVM: not in this version; each says so once and does nothing */
void panda_enable_llvm(void);
void panda_enable_llvm_no_exec(void);
void panda_disable_llvm(void);
void panda_enable_llvm_helpers(void);
void panda_disable_llvm_helpers(void);
int panda_write_current_llvm_bitcode_to_file(const char *path); /* -1 */
uintptr_t panda_get_current_llvm_module(void);                  /* 0 */

/* ---- machine */
void panda_memsavep(FILE *file); /* guest RAM, in the order of physical addresses */
char *panda_get_rr_name(void);   /* of the recording that is made or replayed, or NULL; free() it */

/* Writes to the monitor that sent the command (callback `monitor`); mon NULL: to standard output. */
int monitor_printf(Monitor *mon, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#include "panda/common.h"
#include "panda/rr/rr_api.h"
#include "panda/rr/rr_log.h"

#endif
