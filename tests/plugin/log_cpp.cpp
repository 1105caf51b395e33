// Writes an entry per instruction into the pandalog, through the C++ interface, with a schema of its
// own that has what the other plugins do not know.
#include "panda/plog-cc.hpp"
#include "panda/plugin.h"

extern PandaLog globalLog;
extern int pandalog;

extern "C" {
bool init_plugin(void *);
void uninit_plugin(void *);
uint64_t log_cpp_written;
}

namespace {

bool want(CPUState *, target_ulong) { return true; }

int on_insn(CPUState *, target_ulong) {
  if (!pandalog) return 0;
  std::unique_ptr<panda::LogEntry> entry(new panda::LogEntry());
  panda::TestCall *call = entry->add_test_call();
  call->set_name("insn");
  call->set_kind(panda::TestCall_Kind_RETURN);
  entry->set_test_number(0.5);
  globalLog.write_entry(std::move(entry));
  log_cpp_written++;
  return 0;
}

}  // namespace

bool init_plugin(void *self) {
  if (pandalog) {  // lacks its name: is left out
    auto bad = std::make_unique<panda::LogEntry>();
    bad->add_test_call();
    globalLog.write_entry(std::move(bad));
  }
  panda_cb cb;
  cb.insn_translate = want;
  panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, cb);
  cb.insn_exec = on_insn;
  panda_register_callback(self, PANDA_CB_INSN_EXEC, cb);
  return true;
}

void uninit_plugin(void *) {}
