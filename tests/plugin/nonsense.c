/* Does what a plugin should not, one thing after the other; the argument says when it goes too far. */
#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

static void *me;
static bool unload, unload_other;
int nonsense_blocks;

static void before_block(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  (void)tb;
  nonsense_blocks++;
  if (unload) panda_unload_plugin(me);
  if (unload_other) panda_unload_plugin_by_name("counter");
  unload_other = false;
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("nonsense");
  const bool fail = panda_parse_bool_opt(args, "fail", "gives up");
  const bool calls = panda_parse_bool_opt(args, "calls", "makes wrong calls");
  const bool use_missing = panda_parse_bool_opt(args, "missing", "uses a required argument without looking");
  unload = panda_parse_bool_opt(args, "unload", "unloads itself in a callback");
  unload_other = panda_parse_bool_opt(args, "other", "unloads the plugin counter in a callback");
  if (use_missing && strlen(panda_parse_string_req(args, "text", "some text")) > 100) return false;
  panda_free_args(args);
  panda_free_args(NULL);
  me = self;
  if (fail) panda_fail("there is no %s", "point");
  panda_cb cb;
  cb.before_block_exec = before_block;
  if (calls) {
    panda_cb none;
    none.cbaddr = NULL;
    panda_register_callback(self, (panda_cb_type)999, cb);
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, none);
    panda_register_callback((void *)&me, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    panda_register_callback(NULL, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    panda_disable_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    panda_unregister_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
    panda_unload_plugin((void *)&me);
    panda_unload_plugin_idx(99);
    panda_unload_plugin_by_name("no_such");
    if (panda_load_plugin("no_such", NULL)) return false;
    if (panda_load_external_plugin("", "nonsense", NULL, NULL)) return false;
    if (panda_add_arg(NULL, "x")) return false;
    panda_set_os_name((char *)"beos");
    panda_memsavep(NULL);
  }
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb); /* twice changes nothing */
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  fprintf(stderr, "nonsense: %d blocks\n", nonsense_blocks);
}
