/* The types of callbacks: panda_cb_type numbers them, panda_cb holds one of any type.
 *
 * Results. Callback types have changed their results between generations of the API (int, void,
 * bool for one and the same callback), and the widths of some arguments. In C++ a member takes a
 * function with any result whose arguments are of its kinds: integers of any width, pointers. In C
 * the compiler warns where a function's type is not today's; a source that includes the old
 * "panda_plugin.h", or defines PANDA_UNTYPED_CALLBACKS, gets members that take any function.
 * A result that is not declared void is looked at only where the callback's meaning has one.
 */
#ifndef PANDA_CB_DEFS_H
#define PANDA_CB_DEFS_H

#include "panda/types.h"

typedef enum panda_cb_type {
#define PANDA_CALLBACK(ID, member, kind, result, ...) PANDA_CB_##ID,
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CB_##ID,
#include "panda/callbacks/cb-table.inc"
  PANDA_CB_LAST,
  /* Older names. A read was reported after it happened, a write before. */
  PANDA_CB_VIRT_MEM_READ = PANDA_CB_VIRT_MEM_AFTER_READ,
  PANDA_CB_VIRT_MEM_WRITE = PANDA_CB_VIRT_MEM_BEFORE_WRITE,
  PANDA_CB_PHYS_MEM_READ = PANDA_CB_PHYS_MEM_AFTER_READ,
  PANDA_CB_PHYS_MEM_WRITE = PANDA_CB_PHYS_MEM_BEFORE_WRITE,
  PANDA_CB_AFTER_VMLOAD = PANDA_CB_AFTER_LOADVM,
  PANDA_CB_BEFORE_REPLAY_LOADVM = PANDA_CB_BEFORE_LOADVM,
  PANDA_CB_VMI_PGD_CHANGED = PANDA_CB_ASID_CHANGED
} panda_cb_type;

#ifdef __cplusplus

extern "C++" { /* sources include this inside extern "C" too */
#include <type_traits>
namespace panda_detail {

/* Arguments that are passed alike: each in a register, zero-extended. */
template <typename A, typename B>
struct Alike {
  static constexpr bool value = std::is_same<A, B>::value ||
                                (std::is_integral<A>::value && std::is_integral<B>::value) ||
                                (std::is_pointer<A>::value && std::is_pointer<B>::value);
};
template <typename A, typename B>
struct AllAlike {
  static constexpr bool value = false; /* not as many */
};
template <>
struct AllAlike<void(), void()> {
  static constexpr bool value = true;
};
template <typename A, typename... As, typename B, typename... Bs>
struct AllAlike<void(A, As...), void(B, Bs...)> {
  static constexpr bool value = Alike<A, B>::value && AllAlike<void(As...), void(Bs...)>::value;
};

/* A function pointer that is chosen by its arguments alone. Trivial, so that the unions below are. */
template <typename Result, typename... Args>
struct CallbackSlot {
  void *function;

  CallbackSlot() = default;
  CallbackSlot(Result (*f)(Args...)) : function(reinterpret_cast<void *>(f)) {}
  template <typename Other, typename... Others,
            typename = typename std::enable_if<AllAlike<void(Args...), void(Others...)>::value>::type>
  CallbackSlot(Other (*f)(Others...)) : function(reinterpret_cast<void *>(f)) {}
  CallbackSlot &operator=(Result (*f)(Args...)) { /* captureless lambdas come in here */
    function = reinterpret_cast<void *>(f);
    return *this;
  }
  template <typename Other, typename... Others,
            typename = typename std::enable_if<AllAlike<void(Args...), void(Others...)>::value>::type>
  CallbackSlot &operator=(Other (*f)(Others...)) {
    function = reinterpret_cast<void *>(f);
    return *this;
  }
  explicit operator bool() const { return function != nullptr; }
  Result operator()(Args... args) const { return reinterpret_cast<Result (*)(Args...)>(function)(args...); }
};
template <typename F>
struct SlotOf;
template <typename Result, typename... Args>
struct SlotOf<Result(Args...)> {
  using type = CallbackSlot<Result, Args...>;
};

}  // namespace panda_detail
}

#define PANDA_CB_MEMBER_(member, result, ...) panda_detail::SlotOf<result(__VA_ARGS__)>::type member;
#elif defined(PANDA_UNTYPED_CALLBACKS)
#define PANDA_CB_MEMBER_(member, result, ...) void *member;
#else
#define PANDA_CB_MEMBER_(member, result, ...) result (*member)(__VA_ARGS__);
#endif

/* The memory callbacks of the first generation, whose size was a target_ulong. */
#define PANDA_CB_OLD_MEMORY_()                                                                                \
  PANDA_CB_MEMBER_(virt_mem_read, int, CPUState *env, target_ulong pc, target_ulong addr, target_ulong size,  \
                   void *buf)                                                                                 \
  PANDA_CB_MEMBER_(virt_mem_write, int, CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, \
                   void *buf)                                                                                 \
  PANDA_CB_MEMBER_(phys_mem_read, int, CPUState *env, target_ulong pc, target_ulong addr, target_ulong size,  \
                   void *buf)                                                                                 \
  PANDA_CB_MEMBER_(phys_mem_write, int, CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)

typedef union panda_cb {
#define PANDA_CALLBACK(ID, member, kind, result, ...) PANDA_CB_MEMBER_(member, result, __VA_ARGS__)
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CB_MEMBER_(member, result, void)
#include "panda/callbacks/cb-table.inc"
  PANDA_CB_OLD_MEMORY_()
  PANDA_CB_MEMBER_(after_vmload, void, CPUState *env)
  PANDA_CB_MEMBER_(cb_cpu_restore_state, int, CPUState *env, TranslationBlock *tb)
  void (*cbaddr)(void); /* whichever it is, for comparing */
} panda_cb;

typedef union panda_cb_with_context {
#define PANDA_CALLBACK(ID, member, kind, result, ...) PANDA_CB_MEMBER_(member, result, void *context, __VA_ARGS__)
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CB_MEMBER_(member, result, void *context)
#include "panda/callbacks/cb-table.inc"
  void (*cbaddr)(void);
} panda_cb_with_context;
#undef PANDA_CB_OLD_MEMORY_
#undef PANDA_CB_MEMBER_

#endif
