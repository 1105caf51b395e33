// Random sequences of instructions, run as whole units, as one-instruction units, in random slices
// and on the interpreter, all compared with the host's CPU. What single instructions cannot show:
// flags and registers carried from one instruction to the next, units, exact stops.
//
// PANDA_SEQUENCES: how many; PANDA_SEED: where to begin. A failure is cut down to what it needs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "compare.h"
#include "engine_executor.h"
#include "host_executor.h"
#include "random_code.h"
#include "steps.h"
#include "tally.h"

namespace panda::x86test {
namespace {

constexpr size_t kMaxBytes = 2400;  // the host's stub shares the page

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

Bytes joined(const std::vector<Bytes>& steps) {
  Bytes all;
  for (const Bytes& s : steps) all.insert(all.end(), s.begin(), s.end());
  return all;
}

class SequenceTest : public testing::TestWithParam<Mode> {
 protected:
  SequenceTest()
      : host_(GetParam()),
        interpreter_(GetParam(), BackendKind::Interpreter),
        jit_(GetParam(), BackendKind::Jit),
        single_(GetParam(), BackendKind::Jit) {
    single_.set_max_unit_insns(1);
  }

  // The host, or the interpreter where the host does not run such code.
  Result oracle(const Bytes& code, const MachineState& before) {
    return HostExecutor::offers(GetParam()) ? host_.run(code, before) : interpreter_.run_to_end(code, before);
  }
  // Empty: all agree.
  std::string disagreement(const std::vector<Bytes>& steps, const MachineState& before, uint64_t seed) {
    const Bytes code = joined(steps);
    const Result want = oracle(code, before);
    const auto check = [&](const char* what, const Result& got) {
      const std::string diff = differences(want, got, 0, GetParam());
      return diff.empty() ? diff
                          : fmt::format("{}, rip {:#x}, oracle {:#x}\n{}", what, got.state.rip, want.state.rip, diff);
    };
    Rng slices(seed);
    std::string text = check("interpreter", interpreter_.run_to_end(code, before));
    if (text.empty()) text = check("jit", jit_.run_to_end(code, before));
    if (text.empty()) text = check("jit in slices", jit_.run_to_end(code, before, &slices));
    if (text.empty()) text = check("jit, one-instruction units", single_.run_to_end(code, before));
    return text;
  }

  HostExecutor host_;
  EngineExecutor interpreter_, jit_, single_;
};

TEST_P(SequenceTest, AllWaysAgree) {
  const Mode mode = GetParam();
  const std::vector<Form> forms = sequence_forms(mode);
  const uint64_t first = from_environment("PANDA_SEED", 1), count = from_environment("PANDA_SEQUENCES", 1500);
  uint64_t insns = 0, failed = 0;
  FormTally tally("sequences", mode);
  for (uint64_t seed = first; seed < first + count && failed < 10; seed++) {
    Rng rng(seed);
    const MachineState before = sequence_state(rng, mode);
    std::vector<Bytes> steps;
    size_t bytes = 0;
    for (uint64_t n = 10 + rng() % 51; n > 0 && bytes < kMaxBytes; n--) {
      steps.push_back(random_step(forms, mode, rng, tally));
      bytes += steps.back().size();
    }
    insns += steps.size();
    std::string text = disagreement(steps, before, seed);
    if (text.empty()) continue;
    failed++;
    for (size_t i = steps.size(); i-- > 0;) {
      std::vector<Bytes> fewer = steps;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      const std::string still = disagreement(fewer, before, seed);
      if (still.empty()) continue;
      steps = fewer;
      text = still;
    }
    std::string registers;
    for (unsigned r = 0; r < 16; r++) registers += fmt::format("{:x} ", before.gpr[r]);
    ADD_FAILURE() << "seed " << seed << ": " << text << "  before: " << registers
                  << fmt::format("flags {:x}\n", before.rflags) << listing(joined(steps), mode);
  }
  tally_total("sequence_test", mode, "sequences", count);
  tally_total("sequence_test", mode, "instructions", insns);
  std::printf("%llu sequences from seed %llu, %llu instructions, %llu failed\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(insns),
              static_cast<unsigned long long>(failed));
}

INSTANTIATE_TEST_SUITE_P(X86, SequenceTest, testing::Values(Mode::Long64, Mode::Protected32),
                         [](const auto& mode) { return mode.param == Mode::Long64 ? "Long64" : "Protected32"; });

}  // namespace
}  // namespace panda::x86test
