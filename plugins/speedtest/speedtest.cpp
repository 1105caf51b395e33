// How fast the guest runs: instructions per second of the host's time, from the instruction count alone, so that
// measuring costs nothing. Blocks and interrupts are counted only where an argument asks for them.
#include <sys/resource.h>

#include <chrono>

#include "panda/plugin.hpp"

namespace {

using Clock = std::chrono::steady_clock;

struct CpuTime {
  double user = 0, system = 0;  // seconds
};

CpuTime cpu_time() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval &t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {seconds(usage.ru_utime), seconds(usage.ru_stime)};
}

struct Counts {
  uint64_t instructions = 0, user_blocks = 0, kernel_blocks = 0, interrupts = 0;
  Clock::time_point time{};
  CpuTime cpu{};
};

class Speedtest : public panda::Plugin {
 public:
  Speedtest();
  ~Speedtest() override;

 private:
  void begin();
  void each_second();
  [[nodiscard]] Counts now() const;
  void print(const char *what, const Counts &from, const Counts &to) const;

  uint64_t delay_;
  bool ratio_, times_, ints_, final_log_;
  bool measuring_ = false;
  uint64_t user_blocks_ = 0, kernel_blocks_ = 0, interrupts_ = 0;
  Counts start_, last_;
  panda::Callback *waiting_ = nullptr;  // for `delay` to pass
};

Speedtest::Speedtest() {
  panda::Arguments args = arguments();
  delay_ = args.number<uint64_t>("delay", 0, "instructions to let pass before measuring");
  ratio_ = args.flag("ratio", "count blocks, and which are the kernel's");
  times_ = args.flag("times", "the host's CPU time, too");
  ints_ = args.flag("ints", "count interrupts");
  final_log_ = args.flag("final_log", "no line each second, only the one for the whole run");
  args.done();
  on_top_loop([this](CPUState *) {
    if (measuring_ && !final_log_) each_second();
  });
  if (delay_ == 0) {
    begin();
  } else {
    waiting_ = &on_before_block_exec([this](CPUState *, TranslationBlock *) {
      if (rr_get_guest_instr_count() < delay_) return;
      waiting_->remove();
      begin();
    });
  }
}

void Speedtest::begin() {
  measuring_ = true;
  start_ = last_ = now();
  if (ratio_) {
    on_before_block_exec(
        [this](CPUState *cpu, TranslationBlock *) { ++(panda_in_kernel_mode(cpu) ? kernel_blocks_ : user_blocks_); });
  }
  if (ints_) {
    on_before_handle_interrupt([this](CPUState *, int32_t interrupt) {
      interrupts_++;
      return interrupt;
    });
  }
}

Counts Speedtest::now() const {
  return {rr_get_guest_instr_count(), user_blocks_, kernel_blocks_, interrupts_, Clock::now(), cpu_time()};
}

void Speedtest::each_second() {
  if (Clock::now() - last_.time < std::chrono::seconds(1)) return;
  const Counts here = now();
  print("", last_, here);
  last_ = here;
}

void Speedtest::print(const char *what, const Counts &from, const Counts &to) const {
  const double seconds = std::chrono::duration<double>(to.time - from.time).count();
  const uint64_t instructions = to.instructions - from.instructions;
  printf("speedtest: %sinstructions=%" PRIu64 " seconds=%.6f mips=%.3f", what, instructions, seconds,
         seconds > 0 ? static_cast<double>(instructions) / seconds / 1e6 : 0.0);
  if (ratio_) {
    const uint64_t user = to.user_blocks - from.user_blocks;
    const uint64_t kernel = to.kernel_blocks - from.kernel_blocks;
    printf(" blocks=%" PRIu64 " user_blocks=%" PRIu64 " kernel_blocks=%" PRIu64 " kernel_ratio=%.4f", user + kernel,
           user, kernel, user + kernel != 0 ? static_cast<double>(kernel) / static_cast<double>(user + kernel) : 0.0);
  }
  if (ints_) printf(" interrupts=%" PRIu64, to.interrupts - from.interrupts);
  if (times_) {
    printf(" cpu_user=%.6f cpu_system=%.6f", to.cpu.user - from.cpu.user, to.cpu.system - from.cpu.system);
  }
  putchar('\n');
  fflush(stdout);
}

Speedtest::~Speedtest() {
  if (measuring_)
    print("total ", start_, now());
  else
    say("nothing was measured: the run ended before its %" PRIu64 "th instruction (argument delay)", delay_);
}

}  // namespace

PANDA_PLUGIN(Speedtest)
