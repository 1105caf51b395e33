/* The tests' plugin that hears of everything but memory, and checks that it comes as docs/callbacks.md has it: each
 * block and instruction once, without a gap between one and the next. What it counted goes to the file `file`.
 * With `answer`, it handles the known program's hypercall. */
#include <string.h>

#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

static struct {
  uint64_t before, start, end, after, early, insns, insns_done, icount, invalidate;
  uint64_t translate, translated, codegen, restored, exceptions, interrupts, asid, hypercalls, answered;
  uint64_t during_init, after_init, before_loadvm, after_loadvm, top_loop, loop_wait, enter, exit, ran;
  uint64_t wrong;
} n;
static const uint64_t *blocks_inline, *insns_inline;
static TranslationBlock *open_block;
static uint64_t block_began, reached = ~(uint64_t)0;
static target_ulong insn_pc;
static bool in_insn, answer;
static char *file;

#define EXPECT(x)                                                                                          \
  do {                                                                                                     \
    if (!(x) && n.wrong++ < 10) {                                                                          \
      fprintf(stderr, "events: line %d: %s does not hold at instruction %llu\n", __LINE__, #x,             \
              (unsigned long long)rr_get_guest_instr_count());                                             \
    }                                                                                                      \
  } while (0)

/* Instructions are complete up to here; nothing may have run that was not told. */
static void at(CPUState *cpu, target_ulong pc) {
  const uint64_t count = rr_get_guest_instr_count();
  EXPECT(reached == ~(uint64_t)0 || count == reached);
  EXPECT(panda_current_pc(cpu) == pc);
  EXPECT(cpu->panda_guest_pc == pc && cpu->rr_guest_instr_count == count);
  reached = count;
}

static void block_translate(CPUState *cpu, target_ulong pc) { (void)cpu, (void)pc, n.translate++; }
static void block_translated(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  n.translated++;
  EXPECT(n.codegen == n.translated && tb->icount > 0 && tb->size > 0);
}
static void codegen(CPUState *cpu, TranslationBlock *tb) { (void)cpu, (void)tb, n.codegen++; }
static bool invalidate(CPUState *cpu, TranslationBlock *tb) {
  n.invalidate++;
  EXPECT(open_block == NULL);
  at(cpu, tb->pc);
  return false;
}
static void before_block(CPUState *cpu, TranslationBlock *tb) {
  n.before++;
  n.icount += tb->icount;
  EXPECT(open_block == NULL && n.invalidate == n.before);
  at(cpu, tb->pc);
  block_began = reached;
  open_block = tb;
}
static void start_block(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  n.start++;
  EXPECT(open_block == tb && n.start == n.before);
}
static void end_block(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  n.end++;
  EXPECT(open_block == tb);
}
static void after_block(CPUState *cpu, TranslationBlock *tb, uint8_t exit_code) {
  (void)cpu;
  n.after++;
  EXPECT(open_block == tb && n.end == n.after);
  if (exit_code > TB_EXIT_IDX1) {
    n.early++;
    reached = ~(uint64_t)0;
  } else {
    reached = rr_get_guest_instr_count();
    EXPECT(reached - block_began >= tb->icount); /* more: repeated string instructions */
  }
  open_block = NULL;
  in_insn = false;
}
static bool every(CPUState *cpu, target_ulong pc) { return (void)cpu, (void)pc, true; }
static int insn(CPUState *cpu, target_ulong pc) {
  n.insns++;
  EXPECT(open_block != NULL);
  if (in_insn && pc == insn_pc) reached = ~(uint64_t)0; /* a string instruction that goes on */
  at(cpu, pc);
  insn_pc = pc;
  in_insn = true;
  return 0;
}
static int insn_done(CPUState *cpu, target_ulong pc) {
  n.insns_done++;
  EXPECT(in_insn && pc == insn_pc && panda_current_pc(cpu) == pc);
  EXPECT(rr_get_guest_instr_count() > reached);
  reached = rr_get_guest_instr_count();
  in_insn = false;
  return 0;
}
/* What an instruction that did not complete has completed: iterations of a string instruction. */
static void left(void) {
  EXPECT(open_block == NULL || n.end == n.after);
  reached = ~(uint64_t)0;
}
static void restore_state(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  n.restored++;
  EXPECT(open_block == tb);
  left();
}
static int32_t exception(CPUState *cpu, int32_t vector) {
  (void)cpu;
  n.exceptions++;
  EXPECT(open_block == NULL && vector >= 0 && vector < 256);
  left();
  return vector;
}
static int32_t interrupt(CPUState *cpu, int32_t vector) {
  (void)cpu;
  n.interrupts++;
  EXPECT(open_block == NULL && vector >= 32 && vector < 256);
  return vector;
}
static bool asid_changed(CPUState *cpu, target_ulong oldval, target_ulong newval) {
  n.asid++;
  EXPECT(oldval != newval && panda_current_asid(cpu) == oldval);
  return false;
}
static bool hypercall(CPUState *cpu) {
  n.hypercalls++;
  if (!answer || (uint32_t)cpu->regs[R_EAX] != 0xabcd0001) return false;
  n.answered++;
  cpu->regs[R_EAX] = 0x600d;
  return true;
}
static void during_init(MachineState *machine) {
  n.during_init++;
  EXPECT(machine != NULL && n.after_init == 0);
}
static void after_init(CPUState *cpu) {
  n.after_init++;
  EXPECT(cpu == get_cpu() && n.during_init == 1 && n.before_loadvm == 0);
}
static int before_loadvm(void) {
  n.before_loadvm++;
  EXPECT(n.after_init == 1 && n.enter == 0);
  return 0;
}
static void after_loadvm(CPUState *cpu) {
  (void)cpu;
  n.after_loadvm++;
  EXPECT(n.before_loadvm == 1 && n.enter == 0);
}
static void top_loop(CPUState *cpu) { (void)cpu, n.top_loop++; }
static void loop_wait(void) { n.loop_wait++; }
static void exec_enter(CPUState *cpu) { (void)cpu, n.enter++; }
static void exec_exit(CPUState *cpu, bool ran) {
  (void)cpu;
  n.exit++;
  n.ran += ran;
  EXPECT(n.exit == n.enter);
}
static void pre_shutdown(void) {
  FILE *out = fopen(file, "w");
  if (out == NULL) return;
#define SAY(name) fprintf(out, #name " %llu\n", (unsigned long long)n.name)
  SAY(before), SAY(start), SAY(end), SAY(after), SAY(early), SAY(insns), SAY(insns_done), SAY(icount), SAY(invalidate);
  SAY(translate), SAY(translated), SAY(codegen), SAY(restored), SAY(exceptions), SAY(interrupts), SAY(asid);
  SAY(hypercalls), SAY(answered), SAY(during_init), SAY(after_init), SAY(before_loadvm), SAY(after_loadvm);
  SAY(top_loop), SAY(loop_wait), SAY(enter), SAY(exit), SAY(ran), SAY(wrong);
  fprintf(out, "count %llu\n", (unsigned long long)rr_get_guest_instr_count());
  if (blocks_inline != NULL) fprintf(out, "blocks_inline %llu\n", (unsigned long long)*blocks_inline);
  if (insns_inline != NULL) fprintf(out, "insns_inline %llu\n", (unsigned long long)*insns_inline);
  fprintf(out, "open %d\n", open_block != NULL);
  fclose(out);
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("events");
  const bool blocks = panda_parse_bool(args, "blocks"), insns = panda_parse_bool(args, "insns");
  panda_cb cb;
  answer = panda_parse_bool(args, "answer");
  file = strdup(panda_parse_string(args, "file", "events.txt"));
  panda_free_args(args);
#define ON(ID, member, function) (cb.member = function, panda_register_callback(self, PANDA_CB_##ID, cb))
  if (blocks) {
    ON(BEFORE_BLOCK_TRANSLATE, before_block_translate, block_translate);
    ON(AFTER_BLOCK_TRANSLATE, after_block_translate, block_translated);
    ON(BEFORE_TCG_CODEGEN, before_tcg_codegen, codegen);
    ON(BEFORE_BLOCK_EXEC_INVALIDATE_OPT, before_block_exec_invalidate_opt, invalidate);
    ON(BEFORE_BLOCK_EXEC, before_block_exec, before_block);
    ON(START_BLOCK_EXEC, start_block_exec, start_block);
    ON(END_BLOCK_EXEC, end_block_exec, end_block);
    ON(AFTER_BLOCK_EXEC, after_block_exec, after_block);
    ON(CPU_RESTORE_STATE, cpu_restore_state, restore_state);
    blocks_inline = panda_inline_counter(self, PANDA_CB_BEFORE_BLOCK_EXEC);
    insns_inline = panda_inline_counter(self, PANDA_CB_INSN_EXEC);
  }
  if (insns) {
    ON(INSN_TRANSLATE, insn_translate, every);
    ON(AFTER_INSN_TRANSLATE, after_insn_translate, every);
    ON(INSN_EXEC, insn_exec, insn);
    ON(AFTER_INSN_EXEC, after_insn_exec, insn_done);
  }
  ON(BEFORE_HANDLE_EXCEPTION, before_handle_exception, exception);
  ON(BEFORE_HANDLE_INTERRUPT, before_handle_interrupt, interrupt);
  ON(ASID_CHANGED, asid_changed, asid_changed);
  ON(GUEST_HYPERCALL, guest_hypercall, hypercall);
  ON(DURING_MACHINE_INIT, during_machine_init, during_init);
  ON(AFTER_MACHINE_INIT, after_machine_init, after_init);
  ON(BEFORE_LOADVM, before_loadvm, before_loadvm);
  ON(AFTER_LOADVM, after_loadvm, after_loadvm);
  ON(TOP_LOOP, top_loop, top_loop);
  ON(MAIN_LOOP_WAIT, main_loop_wait, loop_wait);
  ON(AFTER_CPU_EXEC_ENTER, after_cpu_exec_enter, exec_enter);
  ON(BEFORE_CPU_EXEC_EXIT, before_cpu_exec_exit, exec_exit);
  ON(PRE_SHUTDOWN, pre_shutdown, pre_shutdown);
  return true;
}

void uninit_plugin(void *self) { (void)self, free(file); }
