/* Uses the plugin `offers` in C, across two sources that share what init_offers_api() found. */
#include "panda/plugin.h"
#include "../offers/offers_ext.h"
#include "uses.h"

struct uses_seen uses_seen;

static int visit(int value, void *context) {
  *(int *)context += value;
  return 1;
}

static void on_block(CPUState *cpu, target_ulong pc) {
  (void)cpu;
  (void)pc;
  uses_seen.events++;
  uses_seen.blocks = offers_blocks();
}

static void on_block_context(void *context, CPUState *cpu, target_ulong pc) {
  (void)pc;
  ++*(uint64_t *)context;
  if (uses_seen.remove) PPP_REMOVE_CB_WITH_CONTEXT("offers", on_offers_block, on_block_context, context);
  (void)cpu;
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("uses");
  const bool early = panda_parse_bool_opt(args, "early", "calls before init_offers_api()");
  const bool absent = panda_parse_bool_opt(args, "absent", "registers with a callback that is not there");
  uses_seen.remove = panda_parse_bool_opt(args, "remove", "removes a callback in itself");
  panda_free_args(args);
  if (early) offers_blocks();
  if (!init_offers_api()) return false;
  if (absent) PPP_REG_CB("offers", on_absent, on_block);
  offers_pair_t pair = {1, ""};
  offers_add(&pair, 2, "text");
  uses_seen.sum = pair.sum;
  uses_seen.each = offers_each(visit, &uses_seen.visited) + uses_other_source();
  PPP_REG_CB("offers", on_offers_block, on_block);
  PPP_REG_CB_WITH_CONTEXT("offers", on_offers_block, on_block_context, &uses_seen.context);
  (void)self;
  return true;
}
void uninit_plugin(void *self) {
  (void)self;
  uses_seen.blocks = offers_blocks(); /* `offers` is there as long as this is */
}
