/* The tests' plugin that controls the machine: each of the monitor's `plugin_cmd WORD [NAME]` calls the function of the
 * API that it names and says what that returned. */
#include <string.h>

#include "panda/checkpoint.h"
#include "panda/panda_api.h"
#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

static int command(Monitor *mon, const char *cmd) {
  char line[256], *rest = line;
  strncpy(line, cmd, sizeof line - 1);
  line[sizeof line - 1] = '\0';
  const char *word = strsep(&rest, " ");
  int result = 0;
  if (strcmp(word, "stop") == 0) panda_stop(0);
  else if (strcmp(word, "cont") == 0) panda_cont();
  else if (strcmp(word, "reset") == 0) panda_reset();
  else if (strcmp(word, "record") == 0) result = panda_record_begin(rest, NULL);
  else if (strcmp(word, "record_from") == 0) result = panda_record_begin(rest, "snapshot");
  else if (strcmp(word, "end") == 0) result = panda_record_end();
  else if (strcmp(word, "cleanup_record") == 0) panda_cleanup_record();
  else if (strcmp(word, "replay") == 0) result = panda_replay_begin(rest);
  else if (strcmp(word, "end_replay") == 0) result = panda_replay_end();
  else if (strcmp(word, "snap") == 0) result = panda_snap(rest);
  else if (strcmp(word, "revert") == 0) result = panda_revert(rest);
  else if (strcmp(word, "delvm") == 0) result = panda_delvm(rest);
  else if (strcmp(word, "checkpoint") == 0) result = panda_checkpoint() == NULL ? -1 : 0;
  else if (strcmp(word, "mode") == 0) result = rr_in_record() ? 1 : rr_in_replay() ? 2 : rr_record_requested() ? 3 : 0;
  else if (strcmp(word, "quit") == 0) result = panda_vm_quit();
  else return 0;
  monitor_printf(mon, "control: %s %d\n", word, result);
  return 0;
}

bool init_plugin(void *self) {
  panda_cb cb;
  cb.monitor = command;
  panda_register_callback(self, PANDA_CB_MONITOR, cb);
  return true;
}

void uninit_plugin(void *self) { (void)self; }
