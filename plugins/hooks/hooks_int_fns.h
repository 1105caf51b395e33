#ifndef HOOKS_INT_FNS_H
#define HOOKS_INT_FNS_H

#ifndef MAX_PATH_LEN
#define MAX_PATH_LEN 256
#endif

typedef enum kernel_mode { MODE_ANY, MODE_KERNEL_ONLY, MODE_USER_ONLY } kernel_mode;

struct hook;

// What a hook calls: the callback of its type, with the hook as one more argument.
typedef union hooks_panda_cb {
  void (*before_tcg_codegen)(CPUState *env, TranslationBlock *tb, struct hook *hook);
  void (*before_block_translate)(CPUState *env, target_ptr_t pc, struct hook *hook);
  void (*after_block_translate)(CPUState *env, TranslationBlock *tb, struct hook *hook);
  bool (*before_block_exec_invalidate_opt)(CPUState *env, TranslationBlock *tb, struct hook *hook);
  void (*before_block_exec)(CPUState *env, TranslationBlock *tb, struct hook *hook);
  void (*after_block_exec)(CPUState *env, TranslationBlock *tb, uint8_t exitCode, struct hook *hook);
  void (*start_block_exec)(CPUState *env, TranslationBlock *tb, struct hook *hook);
  void (*end_block_exec)(CPUState *env, TranslationBlock *tb, struct hook *hook);
} hooks_panda_cb;

struct symbol {
  target_ulong address;
  char name[MAX_PATH_LEN];
  char section[MAX_PATH_LEN];
};

struct hook {
  target_ulong addr;   // guest virtual (linear) address of an instruction
  target_ulong asid;   // 0: in any address space
  panda_cb_type type;  // which member of `cb`
  hooks_panda_cb cb;
  kernel_mode km;
  bool enabled;       // a callback that sets it to false removes its hook
  struct symbol sym;  // free for the caller
  void *context;      // free for the caller
};

struct symbol_hook {
  char name[MAX_PATH_LEN];
  target_ulong offset;
  bool hook_offset;
  char section[MAX_PATH_LEN];
  panda_cb_type type;
  hooks_panda_cb cb;
};

// The hook is copied. From inside a callback too; it acts from the next block on.
void add_hook(struct hook *h);

// All hooks; they are enabled at first.
void enable_hooking(void);
void disable_hooking(void);

// Needs operating-system introspection, which is not in this version: says so, and adds nothing.
void add_symbol_hook(struct symbol_hook *h);

#endif
