// A plugin to copy from: an argument, instruction callbacks, a monitor command, a hypercall and functions
// for other plugins, in the C++ layer (panda/plugin.hpp).
#include "panda/plugin.hpp"
#include "sample/sample_int_fns.h"

namespace {

class Sample : public panda::Plugin {
 public:
  Sample() {
    panda::Arguments args = arguments();
    const std::string file = args.text("file", "", "where to list the user-mode instructions executed");
    args.done();
    out_ = panda::Output(file);

    if (out_) {
      // Asked once per translation of an instruction; where it says true, insn_exec is called at each execution.
      // Kernel code is not asked for, and so costs nothing.
      on_insn_translate([](CPUState* cpu, target_ulong) { return !panda_in_kernel(cpu); });
      on_insn_exec([this](CPUState*, target_ulong pc) {
        out_.print("0x" TARGET_FMT_lx "\n", pc);
        instructions_++;
      });
    }
    // The guest asks by CPUID with this number in EAX; true: answered, the registers hold the result.
    on_guest_hypercall([this](CPUState* cpu) {
      if (static_cast<uint32_t>(cpu->regs[R_EAX]) != kHypercall) return false;
      hypercalls_++;
      say("hypercall from the guest, EBX=" TARGET_FMT_lx, cpu->regs[R_EBX]);
      return false;  // what the guest sees stays what it is without the plugin
    });
    // (qemu) plugin_cmd sample
    on_monitor([this](Monitor* mon, const char* command) {
      if (std::strcmp(command, "help") == 0) monitor_printf(mon, "sample: how much was seen so far\n");
      if (std::strcmp(command, "sample") == 0) {
        monitor_printf(mon, "sample: %" PRIu64 " instructions, %" PRIu64 " hypercalls\n", instructions_, hypercalls_);
      }
      return 0;
    });
  }

 private:
  static constexpr uint32_t kHypercall = 0xabcd0001;
  panda::Output out_;
  uint64_t instructions_ = 0;
  uint64_t hypercalls_ = 0;
};

}  // namespace

PANDA_PLUGIN(Sample)

extern "C" {

int sample_function(CPUState*) {
  printf("sample was passed a cpustate\n");
  return 0;
}

int other_sample_function(CPUState*, int foo) {
  printf("sample was passed a cpustate and parameter %d\n", foo);
  return foo;
}

}  // extern "C"
