/* Offers functions (offers_int_fns.h) and a callback to the plugin `uses`. */
#include "offers.h"

PPP_CB_BOILERPLATE(on_offers_block)

static uint64_t blocks;

uint64_t offers_blocks(void) { return blocks; }

void offers_add(offers_pair_t *pair, int number, const char *text) {
  pair->sum += number;
  strncpy(pair->text, text, sizeof(pair->text) - 1);
}

int offers_each(int (*visit)(int value, void *context), void *context) {
  int sum = 0;
  for (int i = 0; i < 3; i++) sum += visit(i, context);
  return sum;
}

#ifdef TARGET_X86_64
target_ulong offers_only_64(target_ulong x) { return ~x; }
#endif

static void before_block(CPUState *cpu, TranslationBlock *tb) {
  blocks++;
  PPP_RUN_CB(on_offers_block, cpu, tb->pc);
}

bool init_plugin(void *self) {
  panda_cb cb;
  cb.before_block_exec = before_block;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  return true;
}
void uninit_plugin(void *self) { (void)self; }
