/* Callbacks that one plugin offers and others register with.
 *
 * In the plugin that offers `foo` (type foo_t in its header; PPP_CB_TYPEDEF makes it):
 *     PPP_PROT_REG_CB(foo);            declarations (inside extern "C")
 *     PPP_CB_BOILERPLATE(foo)          storage and functions, at file scope
 *     PPP_RUN_CB(foo, arguments...);   calls whoever registered
 * In one that uses it:
 *     PPP_REG_CB("other", foo, my_function);
 *
 * There is no limit on how many register. A callback that removes itself while it runs is safe; those of a
 * plugin that is unloaded are removed.
 * An offering plugin's callbacks with context get the context as the first argument.
 */
#ifndef PANDA_PLUGIN_PLUGIN_H
#define PANDA_PLUGIN_PLUGIN_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "panda/plugin.h"

/* Kept for sources that mention it; nothing is limited by it. */
#define PPP_MAX_CB 256

#ifdef __cplusplus
#define PPP_EXTERN_C_ extern "C"
#else
#define PPP_EXTERN_C_
#endif

/* Callbacks with context are passed around untyped: many sources declare only foo_t. */
typedef void (*ppp_function_t)(void);

#define PPP_PROT_REG_CB(cb_name)                                                              \
  PPP_EXTERN_C_ void ppp_add_cb_##cb_name(cb_name##_t fptr);                                  \
  PPP_EXTERN_C_ bool ppp_remove_cb_##cb_name(cb_name##_t fptr);                               \
  PPP_EXTERN_C_ void ppp_add_cb_##cb_name##_with_context(ppp_function_t fptr, void *context); \
  PPP_EXTERN_C_ bool ppp_remove_cb_##cb_name##_with_context(ppp_function_t fptr, void *context)

/* The type of foo with a context first. C cannot derive it from foo_t: there the call is made
 * without a prototype, which is right for pointers and integers passed as the type they have in
 * foo_t (not for float). */
#ifdef __cplusplus
extern "C++" { /* sources include this inside extern "C" too */
template <typename F>
struct ppp_context_type;
template <typename R, typename... A>
struct ppp_context_type<R (*)(A...)> {
  typedef R (*type)(void *, A...);
};
}
#define PPP_CONTEXT_TYPE_(cb_name) ppp_context_type<cb_name##_t>::type
#else
#define PPP_CONTEXT_TYPE_(cb_name) void (*)()
#endif

#define PPP_CB_STORAGE_(cb_name)               \
  typedef struct ppp_##cb_name##_entry_t {     \
    ppp_function_t function;                   \
    void *context;                             \
    bool with_context;                         \
    bool removed;                              \
  } ppp_##cb_name##_entry_t;                   \
  ppp_##cb_name##_entry_t *ppp_##cb_name##_cb; \
  int ppp_##cb_name##_num_cb;                  \
  int ppp_##cb_name##_running;

#define PPP_CB_FUNCTIONS_(cb_name)                                                                                    \
  static void ppp_##cb_name##_compact_(void) {                                                                        \
    int kept = 0;                                                                                                     \
    for (int i = 0; i < ppp_##cb_name##_num_cb; i++) {                                                                \
      if (!ppp_##cb_name##_cb[i].removed) ppp_##cb_name##_cb[kept++] = ppp_##cb_name##_cb[i];                         \
    }                                                                                                                 \
    ppp_##cb_name##_num_cb = kept;                                                                                    \
  }                                                                                                                   \
  static void ppp_##cb_name##_forget_(bool (*gone)(void (*)(void))) {                                                 \
    for (int i = 0; i < ppp_##cb_name##_num_cb; i++) {                                                                \
      if (gone(ppp_##cb_name##_cb[i].function)) ppp_##cb_name##_cb[i].removed = true;                                 \
    }                                                                                                                 \
    if (ppp_##cb_name##_running == 0) ppp_##cb_name##_compact_();                                                     \
  }                                                                                                                   \
  static void ppp_##cb_name##_add_(ppp_function_t function, void *context, bool with_context) {                       \
    ppp_##cb_name##_entry_t entry = {function, context, with_context, false};                                         \
    panda_offer_callbacks(ppp_##cb_name##_forget_);                                                                   \
    if (ppp_##cb_name##_running == 0) ppp_##cb_name##_compact_();                                                     \
    ppp_##cb_name##_entry_t *grown =                                                                                  \
        (ppp_##cb_name##_entry_t *)realloc(ppp_##cb_name##_cb, sizeof(entry) * (size_t)(ppp_##cb_name##_num_cb + 1)); \
    if (!grown) abort();                                                                                              \
    ppp_##cb_name##_cb = grown;                                                                                       \
    ppp_##cb_name##_cb[ppp_##cb_name##_num_cb++] = entry;                                                             \
  }                                                                                                                   \
  static bool ppp_##cb_name##_remove_(ppp_function_t function, void *context, bool with_context) {                    \
    bool found = false;                                                                                               \
    for (int i = 0; i < ppp_##cb_name##_num_cb && !found; i++) {                                                      \
      ppp_##cb_name##_entry_t *e = &ppp_##cb_name##_cb[i];                                                            \
      if (!e->removed && e->function == function && e->context == context && e->with_context == with_context) {       \
        e->removed = true;                                                                                            \
        found = true;                                                                                                 \
      }                                                                                                               \
    }                                                                                                                 \
    if (found && ppp_##cb_name##_running == 0) ppp_##cb_name##_compact_();                                            \
    return found;                                                                                                     \
  }                                                                                                                   \
  PPP_EXTERN_C_ void ppp_add_cb_##cb_name(cb_name##_t fptr) {                                                         \
    ppp_##cb_name##_add_((ppp_function_t)fptr, NULL, false);                                                          \
  }                                                                                                                   \
  PPP_EXTERN_C_ bool ppp_remove_cb_##cb_name(cb_name##_t fptr) {                                                      \
    return ppp_##cb_name##_remove_((ppp_function_t)fptr, NULL, false);                                                \
  }                                                                                                                   \
  PPP_EXTERN_C_ void ppp_add_cb_##cb_name##_with_context(ppp_function_t fptr, void *context) {                        \
    ppp_##cb_name##_add_((ppp_function_t)fptr, context, true);                                                        \
  }                                                                                                                   \
  PPP_EXTERN_C_ bool ppp_remove_cb_##cb_name##_with_context(ppp_function_t fptr, void *context) {                     \
    return ppp_##cb_name##_remove_((ppp_function_t)fptr, context, true);                                              \
  }

#define PPP_CB_BOILERPLATE(cb_name) \
  PPP_CB_STORAGE_(cb_name)          \
  PPP_CB_FUNCTIONS_(cb_name)

/* In a second source file of the offering plugin: the storage is elsewhere. */
#define PPP_CB_EXTERN(cb_name)                        \
  typedef struct ppp_##cb_name##_entry_t {            \
    ppp_function_t function;                          \
    void *context;                                    \
    bool with_context;                                \
    bool removed;                                     \
  } ppp_##cb_name##_entry_t;                          \
  extern ppp_##cb_name##_entry_t *ppp_##cb_name##_cb; \
  extern int ppp_##cb_name##_num_cb;                  \
  extern int ppp_##cb_name##_running;

#define PPP_CHECK_CB(cb_name) (ppp_##cb_name##_num_cb > 0)

/* The arguments are evaluated once per callback, as ever. Entries removed while this runs stay in
 * the array until nobody iterates: the next addition or removal outside drops them. */
#define PPP_RUN_CB(cb_name, ...)                                                                    \
  do {                                                                                              \
    int ppp_end_ = ppp_##cb_name##_num_cb;                                                          \
    ppp_##cb_name##_running++;                                                                      \
    for (int ppp_i_ = 0; ppp_i_ < ppp_end_; ppp_i_++) {                                             \
      ppp_##cb_name##_entry_t ppp_e_ = ppp_##cb_name##_cb[ppp_i_];                                  \
      if (ppp_e_.removed) continue;                                                                 \
      if (ppp_e_.with_context)                                                                      \
        ((PPP_CONTEXT_TYPE_(cb_name))ppp_e_.function)(ppp_e_.context PPP_COMMA_ARGS_(__VA_ARGS__)); \
      else                                                                                          \
        ((cb_name##_t)ppp_e_.function)(__VA_ARGS__);                                                \
    }                                                                                               \
    ppp_##cb_name##_running--;                                                                      \
  } while (0)
#define PPP_COMMA_ARGS_(...) , ##__VA_ARGS__

/* The registering side: by name through the loader, so nothing is linked against the other plugin, which
 * is loaded where it was not. Where that cannot be, or it has no such callback, this is panda_fail(). */
#define PPP_CALL_(other_plugin, function, cb_name, type_suffix, ...)                                        \
  do {                                                                                                      \
    void *ppp_op_ = panda_need_plugin(other_plugin);                                                        \
    if (!ppp_op_) panda_fail("the callback %s of the plugin %s cannot be reached", #cb_name, other_plugin); \
    void *ppp_fn_ = dlsym(ppp_op_, function);                                                               \
    if (!ppp_fn_) panda_fail("the plugin %s offers no callback %s", other_plugin, #cb_name);                \
    ((void(*) PPP_PROTO_##type_suffix(cb_name))ppp_fn_)(__VA_ARGS__);                                       \
  } while (0)
#define PPP_PROTO_plain(cb_name) (cb_name##_t)
#define PPP_PROTO_contextual(cb_name) (ppp_function_t, void *)
/* A plugin that is not loaded has nothing to remove. */
#define PPP_REMOVE_(other_plugin, ...)                                                \
  do {                                                                                \
    if (panda_get_plugin_by_name(other_plugin)) PPP_CALL_(other_plugin, __VA_ARGS__); \
  } while (0)

#define PPP_REG_CB(other_plugin, cb_name, cb_func) \
  PPP_CALL_(other_plugin, "ppp_add_cb_" #cb_name, cb_name, plain, (cb_func))
#define PPP_REG_CB_WITH_CONTEXT(other_plugin, cb_name, cb_func, context)                                          \
  PPP_CALL_(other_plugin, "ppp_add_cb_" #cb_name "_with_context", cb_name, contextual, (ppp_function_t)(cb_func), \
            (context))
#define PPP_REMOVE_CB(other_plugin, cb_name, cb_func) \
  PPP_REMOVE_(other_plugin, "ppp_remove_cb_" #cb_name, cb_name, plain, (cb_func))
#define PPP_REMOVE_CB_WITH_CONTEXT(other_plugin, cb_name, cb_func, context)                                            \
  PPP_REMOVE_(other_plugin, "ppp_remove_cb_" #cb_name "_with_context", cb_name, contextual, (ppp_function_t)(cb_func), \
              (context))

#endif
