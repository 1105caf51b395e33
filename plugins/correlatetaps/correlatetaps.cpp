// Which tap points write next to each other, shortly after each other: those belong to one piece of data
// although they are different instructions.
#include <array>
#include <map>

#include "callstack_instr/taps.hpp"

namespace {

using callstack::Access;

// The bytes that one tap point wrote without a gap.
struct Run {
  prog_point tap{};
  target_ulong begin = 0;
  target_ulong end = 0;
};

class CorrelateTaps : public callstack::TapPlugin {
 public:
  CorrelateTaps() {
    panda::Arguments args = arguments();
    const std::string csv = args.text("csv", "", "also write the pairs as CSV");
    args.done();
    out_ = panda::Output("correlated_taps.bin");
    csv_ = panda::Output(csv);
    on_write([this](CPUState* cpu, const Access& access) { written(cpu, access); });
  }
  ~CorrelateTaps() override {
    csv_.print("caller 1,pc 1,asid 1,caller 2,pc 2,asid 2,count\n");
    for (const auto& [pair, count] : pairs_) {
      const auto& [a, b] = pair;
      const target_ulong words[6] = {a.caller, a.pc, a.sidFirst, b.caller, b.pc, b.sidFirst};
      out_.write(words, sizeof words);
      out_.write(&count, sizeof count);
      for (const target_ulong word : words) csv_.print("0x" TARGET_FMT_lx ",", word);
      csv_.print("%" PRIu32 "\n", count);
    }
  }

 private:
  static constexpr size_t kRecent = 5;  // runs: what "shortly" means

  void written(CPUState* cpu, const Access& access) {
    const prog_point p = tap(cpu, access);
    const auto begin = access.addr;
    const auto end = static_cast<target_ulong>(access.addr + access.size);
    for (const Run& run : recent_) {
      if (run.begin == run.end || run.tap == p) continue;
      if (run.end == begin) {
        pairs_[{run.tap, p}]++;
      } else if (run.begin == end) {
        pairs_[{p, run.tap}]++;
      }
    }
    Run& last = recent_[last_];
    const bool goes_on = last.begin != last.end && last.tap == p;
    if (goes_on && last.end == begin) {
      last.end = end;
    } else if (goes_on && last.begin == end) {
      last.begin = begin;
    } else {
      // A tap point has one run among the recent, so that a loop does not push out all others.
      if (!goes_on) last_ = (last_ + 1) % kRecent;
      recent_[last_] = {p, begin, end};
    }
  }

  panda::Output out_, csv_;
  std::array<Run, kRecent> recent_;
  size_t last_ = 0;
  std::map<std::pair<prog_point, prog_point>, uint32_t> pairs_;  // first: of the lower address
};

}  // namespace

PANDA_PLUGIN(CorrelateTaps)
