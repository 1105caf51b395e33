// A C++ source of today's API: results of any generation, contexts, lambdas, plugin-plugin callbacks.
#include "panda/debug.h"
#include "panda/plugin.h"
#include "panda/plugin_plugin.h"

extern "C" {
bool init_plugin(void *self);
void uninit_plugin(void *self);
PPP_CB_TYPEDEF(void, on_block, CPUState *cpu, target_ulong pc)
PPP_PROT_REG_CB(on_block);
int new_style_seen;
int new_style_context_seen;
int new_style_events;
}
PPP_CB_BOILERPLATE(on_block)

namespace {

int returns_int(CPUState *cpu, TranslationBlock *tb) {
  auto *env = static_cast<CPUArchState *>(cpu->env_ptr);
  (void)env;
  PPP_RUN_CB(on_block, cpu, tb->pc);
  return ++new_style_seen;
}

void with_context(void *context, CPUState *, TranslationBlock *) { ++*static_cast<int *>(context); }

void on_event(CPUState *, target_ulong) {
  new_style_events++;
  PPP_REMOVE_CB("new_style", on_block, on_event);
}

void throws(CPUState *, TranslationBlock *) { throw 1; }

// As the older documents have them: other results, and arguments of other widths.
int hd_transfer(CPUState *, uint32_t, uint64_t, uint64_t, uint32_t) { return 0; }
int net_transfer(CPUState *, uint32_t, uint64_t, uint64_t, uint32_t) { return 0; }
int handle_packet(CPUState *, uint8_t *, int, uint8_t, uint64_t) { return 0; }
int before_ram(CPUState *, uint32_t, uint64_t, uint64_t, uint32_t) { return 0; }
int after_ram(CPUState *, uint32_t, uint8_t *, uint64_t, uint32_t) { return 0; }
int mem_read(CPUState *, target_ulong, target_ulong, target_ulong, void *) { return 0; }
int asid(CPUState *, target_ulong, target_ulong) { return 0; }

// Not taken: a function of other arguments.
static_assert(!std::is_assignable<decltype(panda_cb::before_block_exec) &, int (*)(CPUState *, target_ulong)>::value,
              "");
static_assert(!std::is_assignable<decltype(panda_cb::before_block_exec) &, int (*)(CPUState *)>::value, "");

void register_as_documented(void *self) {
  panda_cb cb;
  cb.replay_before_cpu_physical_mem_rw_ram = before_ram;
  panda_register_callback(self, PANDA_CB_REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM, cb);
  cb.replay_after_cpu_physical_mem_rw_ram = after_ram;
  panda_register_callback(self, PANDA_CB_REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM, cb);
  cb.virt_mem_after_read = mem_read;
  panda_register_callback(self, PANDA_CB_VIRT_MEM_READ, cb);
  cb.asid_changed = asid;
  panda_register_callback(self, PANDA_CB_VMI_PGD_CHANGED, cb);
  cb.replay_hd_transfer = hd_transfer;
  cb.replay_net_transfer = net_transfer;
  cb.replay_handle_packet = handle_packet;
}

}  // namespace

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("new_style");
  const bool bad = panda_parse_bool(args, "throw");
  panda_free_args(args);
  panda_cb cb;
  cb.before_block_exec = bad ? reinterpret_cast<int (*)(CPUState *, TranslationBlock *)>(throws) : returns_int;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  panda_cb_with_context with = {};
  with.start_block_exec = with_context;
  panda_register_callback_with_context(self, PANDA_CB_START_BLOCK_EXEC, with, &new_style_context_seen);
  panda_cb other{};
  other.asid_changed = [](CPUState *, target_ulong, target_ulong) { return false; };
  panda_register_callback(self, PANDA_CB_ASID_CHANGED, other);
  register_as_documented(self);
  if (!PPP_CHECK_CB(on_block)) PPP_REG_CB("new_style", on_block, on_event);
  LOG_DEBUG("%s", "registered");
  return true;
}

void uninit_plugin(void *) {}
