/* Writes an entry per block into the pandalog, through the C interface, and one at the end. Argument:
 * every=N: for every Nth block only. */
#include <stdio.h>

#include "panda/plugin.h"
#include "plog.h"

bool init_plugin(void *);
void uninit_plugin(void *);

uint64_t log_c_written;
static uint32_t every, since;

static void before(CPUState *cpu, TranslationBlock *tb) {
  if (!pandalog || ++since < every) return;
  since = 0;
  Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
  Panda__TestBlock block = PANDA__TEST_BLOCK__INIT;
  uint32_t words[2] = {(uint32_t)log_c_written, 7};
  uint8_t code[3] = {1, 2, (uint8_t)log_c_written};
  block.size = tb->size;
  block.n_words = 2;
  block.words = words;
  block.has_code = 1;
  block.code.len = sizeof code;
  block.code.data = code;
  entry.test_block = &block;
  entry.has_asid = 1;
  entry.asid = panda_current_asid(cpu);
  entry.test_text = (char *)"block";
  pandalog_write_entry(&entry);
  log_c_written++;
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("log_c");
  every = panda_parse_uint32_opt(args, "every", 1, "log every Nth block");
  panda_free_args(args);
  panda_cb cb;
  cb.before_block_exec = before;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  fprintf(stderr, "log_c: %llu blocks logged\n", (unsigned long long)log_c_written);
  if (!pandalog) return;
  Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
  entry.test_text = (char *)"the end";
  pandalog_write_entry(&entry);
}
