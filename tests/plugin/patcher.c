/* The tests' plugin that changes running code: once, before the known program's copy_load, it turns the next instruction,
 * copy_store, from MOV [..], AL into MOV [..], AH, and back one round later. With `block`, before the block. */
#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

static target_ulong load, store, stored_at;
static unsigned rounds, writes, wrong;
static uint8_t expected;

#define EXPECT(x)                                                                     \
  do {                                                                                \
    if (!(x)) wrong++, fprintf(stderr, "patcher: line %d: %s does not hold\n", __LINE__, #x); \
  } while (0)

/* In a replay, memory is changed already: what is written is told, not toggled. */
static void store_from(CPUState *cpu, bool ah) {
  uint8_t modrm = 0;
  EXPECT(panda_virtual_memory_read(cpu, store + 1, &modrm, 1) == 0 && (modrm & 0xdf) == 0x04);
  modrm = (uint8_t)((modrm & ~0x20) | (ah ? 0x20 : 0));
  EXPECT(panda_virtual_memory_write(cpu, store + 1, &modrm, 1) == 0);
  writes++;
}

static void at_load(CPUState *cpu) {
  uint8_t byte = 0, source = 0;
  if (panda_in_kernel(cpu)) return;
  const target_ulong index = cpu->regs[R_ECX];
  rounds++;
  if (rounds == 6 || rounds == 7) {
    EXPECT(panda_virtual_memory_read(cpu, stored_at, &byte, 1) == 0 && byte == expected);
  }
  if (rounds == 5) {
    expected = (uint8_t)(cpu->regs[R_EAX] >> 8);
    store_from(cpu, true);
  } else if (rounds == 6) {
    EXPECT(panda_virtual_memory_read(cpu, cpu->regs[R_ESI] + index, &source, 1) == 0 && source != expected);
    expected = source;
    store_from(cpu, false);
  }
  stored_at = cpu->regs[R_EDI] + index;
}

static bool is_load(CPUState *cpu, target_ulong pc) { return (void)cpu, pc == load; }
static int insn(CPUState *cpu, target_ulong pc) { return (void)pc, at_load(cpu), 0; }
static void block(CPUState *cpu, TranslationBlock *tb) {
  if (tb->pc == load) at_load(cpu);
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("patcher");
  const bool blocks = panda_parse_bool_opt(args, "block", "write before the block, not before its first instruction");
  load = panda_parse_ulong_req(args, "load", "address of copy_load");
  store = panda_parse_ulong_req(args, "store", "address of copy_store");
  panda_free_args(args);
  panda_cb cb;
  if (blocks) {
    cb.before_block_exec = block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    return true;
  }
  cb.insn_translate = is_load;
  panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, cb);
  cb.insn_exec = insn;
  panda_register_callback(self, PANDA_CB_INSN_EXEC, cb);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  fprintf(stderr, "patcher: %u writes, %u wrong\n", writes, wrong);
}
