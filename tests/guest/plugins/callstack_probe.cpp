// For callstack_instr_test.py: lists the calls and returns that callstack_instr tells of, and checks at each
// call that the innermost caller is what lies on the stack. Logs one call stack to the pandalog.
#include "callstack_instr/callstack_instr.h"
#include "callstack_instr/callstack_instr_ext.h"
#include "panda/plog-cc.hpp"
#include "panda/plugin.hpp"

namespace {

class Probe : public panda::Plugin {
 public:
  Probe() {
    panda::Arguments args = arguments();
    const std::string file = args.text("file", "calls.txt", "where to write");
    log_at_ = args.address("log_at", 0, "the function of which the call stack is logged");
    args.done();
    out_ = panda::Output(file);
    PANDA_ON("callstack_instr", on_call, ([this](CPUState* cpu, target_ulong function) { called(cpu, function); }));
    PANDA_ON("callstack_instr", on_ret, ([this](CPUState* cpu, target_ulong function) {
               if (!panda_in_kernel(cpu)) out_.print("ret " TARGET_FMT_lx "\n", function);
             }));
    if (!init_callstack_instr_api()) panda::refuse("needs callstack_instr");
  }
  ~Probe() override {
    out_.print("kernel %" PRIu64 " calls, %" PRIu64 " wrong, %" PRIu64 " deepest\n", kernel_calls_, wrong_, deepest_);
  }

 private:
  void called(CPUState* cpu, target_ulong function) {
    target_ulong callers[64], functions[64];
    const uint32_t n = get_callers(callers, 64, cpu);
    if (n == 0 || get_functions(functions, 64, cpu) != n || functions[0] != function ||
        panda::read<target_ulong>(cpu, panda_current_sp(cpu)) != callers[0]) {
      wrong_++;
    }
    if (panda_in_kernel(cpu)) {
      kernel_calls_++;
      deepest_ = std::max<uint64_t>(deepest_, n);
      return;
    }
    out_.print("call " TARGET_FMT_lx, function);
    for (uint32_t i = 0; i < n; i++) out_.print(" " TARGET_FMT_lx, callers[i]);
    out_.print("\n");
    if (function != log_at_ || !pandalog) return;
    Panda__CallStack* const stack = pandalog_callstack_create();
    Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
    entry.call_stack = stack;
    pandalog_write_entry(&entry);
    pandalog_callstack_free(stack);
    log_at_ = 0;
  }

  panda::Output out_;
  target_ulong log_at_ = 0;
  uint64_t kernel_calls_ = 0, wrong_ = 0, deepest_ = 0;
};

}  // namespace

PANDA_PLUGIN(Probe)
