/* The plugin of bench/plugins.py: callbacks that do nothing, or as little as one does, so that what is
 * measured is the engine's cost of calling them. Arguments choose which. */
#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

static uint64_t count, sum;
static const uint64_t *counter;

static void before(CPUState *cpu, TranslationBlock *tb) { (void)cpu, (void)tb; }
static void after(CPUState *cpu, TranslationBlock *tb, uint8_t exit_code) { (void)cpu, (void)tb, (void)exit_code; }
static bool every(CPUState *cpu, target_ulong pc) { return (void)cpu, (void)pc, true; }
static int insn(CPUState *cpu, target_ulong pc) { return (void)cpu, (void)pc, 0; }
static bool asid(CPUState *cpu, target_ulong from, target_ulong to) { return (void)cpu, (void)from, (void)to, false; }
/* What plugins of the simpler kind do: look at a register and count. */
static void looks(CPUState *cpu, TranslationBlock *tb) {
  count++;
  sum += cpu->regs[R_EAX] + tb->pc;
}
static int looks_insn(CPUState *cpu, target_ulong pc) {
  count++;
  sum += cpu->regs[R_EAX] + pc;
  return 0;
}
/* And one that calls back into the API. */
static void calls(CPUState *cpu, TranslationBlock *tb) {
  (void)tb;
  count++;
  sum += panda_current_asid(cpu);
}

static void memory(CPUState *cpu, target_ulong pc, target_ulong addr, size_t size, uint8_t *buf) {
  (void)cpu, (void)pc, (void)addr, (void)size, (void)buf;
}

static void wants(void *self, panda_arg_list *args, const char *name, panda_cb_type type, void *function) {
  panda_cb cb;
  if (!panda_parse_bool(args, name)) return;
  cb.cbaddr = (void (*)(void))(uintptr_t)function;
  panda_register_callback(self, type, cb);
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("bench");
  wants(self, args, "before", PANDA_CB_BEFORE_BLOCK_EXEC, (void *)(uintptr_t)before);
  wants(self, args, "start", PANDA_CB_START_BLOCK_EXEC, (void *)(uintptr_t)before);
  wants(self, args, "after", PANDA_CB_AFTER_BLOCK_EXEC, (void *)(uintptr_t)after);
  wants(self, args, "asid", PANDA_CB_ASID_CHANGED, (void *)(uintptr_t)asid);
  wants(self, args, "looks", PANDA_CB_BEFORE_BLOCK_EXEC, (void *)(uintptr_t)looks);
  wants(self, args, "calls", PANDA_CB_BEFORE_BLOCK_EXEC, (void *)(uintptr_t)calls);
  wants(self, args, "insn", PANDA_CB_INSN_EXEC, (void *)(uintptr_t)insn);
  wants(self, args, "insnlooks", PANDA_CB_INSN_EXEC, (void *)(uintptr_t)looks_insn);
  wants(self, args, "every", PANDA_CB_INSN_TRANSLATE, (void *)(uintptr_t)every);
  if (panda_parse_bool(args, "memory")) {
    panda_cb cb;
    cb.virt_mem_after_read = memory;
    panda_register_callback(self, PANDA_CB_VIRT_MEM_AFTER_READ, cb);
    cb.virt_mem_after_write = memory;
    panda_register_callback(self, PANDA_CB_VIRT_MEM_AFTER_WRITE, cb);
    panda_enable_memcb();
  }
  if (panda_parse_bool(args, "counter")) counter = panda_inline_counter(self, PANDA_CB_BEFORE_BLOCK_EXEC);
  if (panda_parse_bool(args, "disabled")) panda_disable_plugin(self);
  panda_free_args(args);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  if (counter != NULL) printf("bench: %llu blocks\n", (unsigned long long)*counter);
  if (count != 0) printf("bench: %llu calls, sum %llx\n", (unsigned long long)count, (unsigned long long)sum);
}
