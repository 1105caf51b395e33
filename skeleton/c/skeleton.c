/* Counts the blocks that run in each address space, and lists the most frequent ones at the end.
 *
 *   file=PATH   where to write (default: standard output)
 *   top=N       how many to list (default 10)
 *   kernel      count the kernel's blocks too
 */
#define _GNU_SOURCE 1 /* strdup, where the compiler is asked for bare C */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

typedef struct space_count {
  target_ulong asid;
  uint64_t blocks;
} space_count;

static space_count *spaces;
static size_t space_number, space_room;
static uint32_t top;
static bool kernel_too;
static FILE *out;

static void before_block(CPUState *cpu, TranslationBlock *tb) {
  (void)tb;
  if (!kernel_too && panda_in_kernel(cpu)) return;
  const target_ulong asid = panda_current_asid(cpu);
  for (size_t i = 0; i < space_number; i++) {
    if (spaces[i].asid == asid) {
      spaces[i].blocks++;
      return;
    }
  }
  if (space_number == space_room) {
    space_room = space_room ? 2 * space_room : 16;
    spaces = realloc(spaces, space_room * sizeof(*spaces));
    if (!spaces) panda_fail("out of memory");
  }
  spaces[space_number].asid = asid;
  spaces[space_number++].blocks = 1;
}

static int on_command(Monitor *mon, const char *cmd) {
  if (strcmp(cmd, "help") == 0) monitor_printf(mon, "skeleton: how many address spaces were seen\n");
  if (strcmp(cmd, "skeleton") == 0) monitor_printf(mon, "%zu address spaces\n", space_number);
  return 0;
}

static int more_blocks(const void *a, const void *b) {
  const space_count *x = a, *y = b;
  if (x->blocks != y->blocks) return x->blocks < y->blocks ? 1 : -1;
  return x->asid < y->asid ? -1 : x->asid > y->asid;
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("skeleton");
  const char *file = panda_parse_string_opt(args, "file", "", "where to write; nothing: standard output");
  char *path = strdup(file); /* arguments are gone after panda_free_args() */
  top = panda_parse_uint32_opt(args, "top", 10, "how many address spaces to list");
  kernel_too = panda_parse_bool_opt(args, "kernel", "count the kernel's blocks too");
  panda_free_args(args); /* leaves init_plugin where an argument was wrong */

  out = *path ? fopen(path, "w") : stdout;
  if (!out) {
    char why[512];
    snprintf(why, sizeof why, "cannot write %s: %s", path, strerror(errno));
    free(path);
    panda_refuse(self, why);
    return false;
  }
  free(path);

  panda_cb cb;
  cb.before_block_exec = before_block;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  cb.monitor = on_command;
  panda_register_callback(self, PANDA_CB_MONITOR, cb);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  if (space_number) qsort(spaces, space_number, sizeof(*spaces), more_blocks);
  for (size_t i = 0; i < space_number && i < top; i++) {
    fprintf(out, TARGET_FMT_lx " %12" PRIu64 "\n", spaces[i].asid, spaces[i].blocks);
  }
  if (out == stdout ? fflush(out) : fclose(out)) fprintf(stderr, "skeleton: the output is incomplete: %s\n", strerror(errno));
  free(spaces);
}
