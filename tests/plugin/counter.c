/* The tests' plugin: counts what it is told of, in C, with the API's own types. The test reads the
 * counts through dlsym. Arguments choose what it does. */
#include <string.h>

#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

struct counter_counts {
  uint64_t before, after, after_early, insns, insns_done, translated, invalidate_asked, uninit;
  uint64_t insns_in_blocks;  /* sum of tb->icount over before_block_exec */
  uint64_t wrong;            /* expectations that did not hold */
  uint64_t last_pc, last_count;
} counter_counts;

static void *me;
static bool unregister_after_first;
static int invalidate_left;
static target_ulong only_pc;
static TranslationBlock *running;

#define EXPECT(x) \
  do {            \
    if (!(x)) {   \
      counter_counts.wrong++; \
      fprintf(stderr, "counter: %s does not hold (line %d)\n", #x, __LINE__); \
    }             \
  } while (0)

static void before_block(CPUState *cpu, TranslationBlock *tb) {
  counter_counts.before++;
  counter_counts.insns_in_blocks += tb->icount;
  EXPECT(cpu == get_cpu());
  EXPECT(panda_current_pc(cpu) == tb->pc);
  EXPECT(tb->icount > 0 && tb->size > 0);
  EXPECT(running == NULL);
  running = tb;
  if (unregister_after_first) panda_unregister_callbacks(me);
}

static void after_block(CPUState *cpu, TranslationBlock *tb, uint8_t exit_code) {
  (void)cpu;
  counter_counts.after++;
  if (exit_code > TB_EXIT_IDX1) counter_counts.after_early++;
  EXPECT(running == tb);
  running = NULL;
}

static bool invalidate(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  (void)tb;
  counter_counts.invalidate_asked++;
  return invalidate_left > 0 && invalidate_left-- > 0;
}

static void block_translated(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  (void)tb;
  counter_counts.translated++;
}

static bool wants_insn(CPUState *cpu, target_ulong pc) {
  uint8_t byte;
  EXPECT(panda_virtual_memory_read(cpu, pc, &byte, 1) == 0);
  return only_pc == 0 || pc == only_pc;
}

static int on_insn(CPUState *cpu, target_ulong pc) {
  EXPECT(panda_current_pc(cpu) == pc);
  counter_counts.insns++;
  counter_counts.last_pc = pc;
  counter_counts.last_count = rr_get_guest_instr_count();
  return 0;
}

static int after_insn(CPUState *cpu, target_ulong pc) {
  (void)cpu;
  (void)pc;
  counter_counts.insns_done++;
  EXPECT(rr_get_guest_instr_count() == counter_counts.last_count + 1 || only_pc != 0);
  return 0;
}

static int on_command(Monitor *mon, const char *cmd) {
  if (strcmp(cmd, "counter") == 0) monitor_printf(mon, "before=%d\n", (int)counter_counts.before);
  return 0;
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("counter");
  bool blocks = panda_parse_bool_opt(args, "blocks", "count blocks");
  bool insns = panda_parse_bool(args, "insns");
  panda_cb cb;
  me = self;
  memset(&counter_counts, 0, sizeof(counter_counts));
  running = NULL;
  only_pc = panda_parse_ulong(args, "only", 0);
  unregister_after_first = panda_parse_bool(args, "once");
  invalidate_left = (int)panda_parse_uint32_opt(args, "invalidate", 0, "times");
  if (panda_parse_bool(args, "needs")) panda_parse_string_req(args, "must", "what there must be");
  if (panda_parse_bool(args, "requires")) panda_require("not_there");
  if (panda_parse_bool(args, "suicide")) panda_unload_plugin(self);
  if (panda_parse_bool(args, "refuse")) {
    panda_free_args(args);
    return false;
  }
  panda_free_args(args);
  if (blocks) {
    cb.before_block_exec = before_block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    cb.after_block_exec = after_block;
    panda_register_callback(self, PANDA_CB_AFTER_BLOCK_EXEC, cb);
    cb.after_block_translate = block_translated;
    panda_register_callback(self, PANDA_CB_AFTER_BLOCK_TRANSLATE, cb);
  }
  if (invalidate_left > 0) {
    cb.before_block_exec_invalidate_opt = invalidate;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, cb);
  }
  if (insns) {
    cb.insn_translate = wants_insn;
    panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, cb);
    panda_register_callback(self, PANDA_CB_AFTER_INSN_TRANSLATE, cb);
    cb.insn_exec = on_insn;
    panda_register_callback(self, PANDA_CB_INSN_EXEC, cb);
    cb.after_insn_exec = after_insn;
    panda_register_callback(self, PANDA_CB_AFTER_INSN_EXEC, cb);
  }
  cb.monitor = on_command;
  panda_register_callback(self, PANDA_CB_MONITOR, cb);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  counter_counts.uninit++;
}
