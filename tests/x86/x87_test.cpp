// Random sequences of x87 instructions in a loop, on every back end and in units of every size, compared
// with the host's CPU: precision and rounding modes, stack faults, pending and unmasked exceptions, and
// loops whose body leaves the stack's top elsewhere, so that what a unit was made for no longer holds.
//
// PANDA_SEQUENCES: how many; PANDA_SEED: where to begin.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/rows.h"
#include "host_executor.h"
#include "random_state.h"
#include "skip.h"
#include "steps.h"
#include "tally.h"

namespace panda::x86test {
namespace {

constexpr unsigned kCounter = 5;  // EBP counts the rounds
constexpr uint64_t kBlank = 0x5eed'5eed;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

std::vector<Form> x87_forms(Mode mode) {
  std::vector<ZydisMnemonic> mnemonics;
  for (const x86::Row& row : x86::x87_rows()) {
    if (!skipped(row.mnemonic, row.feature) && !host_differs(row.mnemonic)) mnemonics.push_back(row.mnemonic);
  }
  for (const ZydisMnemonic m : {ZYDIS_MNEMONIC_FNSTSW, ZYDIS_MNEMONIC_FNSTCW, ZYDIS_MNEMONIC_FLDCW,
                                ZYDIS_MNEMONIC_FNCLEX, ZYDIS_MNEMONIC_FNINIT}) {
    mnemonics.push_back(m);
  }
  return all_forms(mnemonics, mode);
}

// Usual code is mostly a few instructions: those come more often than the number of their forms.
bool is_common(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_FLD:
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FADD:
    case ZYDIS_MNEMONIC_FADDP:
    case ZYDIS_MNEMONIC_FSUB:
    case ZYDIS_MNEMONIC_FSUBRP:
    case ZYDIS_MNEMONIC_FMUL:
    case ZYDIS_MNEMONIC_FMULP:
    case ZYDIS_MNEMONIC_FDIVR:
    case ZYDIS_MNEMONIC_FXCH:
    case ZYDIS_MNEMONIC_FILD:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FUCOMIP:
    case ZYDIS_MNEMONIC_FNSTSW:
      return true;
    default:
      return false;
  }
}

Bytes random_step(const std::vector<Form>& forms, Mode mode, Rng& rng, FormTally& tally) {
  for (;;) {
    const Form& form = forms[rng() % forms.size()];
    if (!is_common(form.mnemonic) && rng() % 3 != 0) continue;
    MachineState blank;
    blank.gpr.fill(kBlank);
    MachineState wanted = blank;
    const Encoded code = encode(form, mode, rng, wanted);
    if (code.bytes.empty()) continue;
    prepare(form, wanted, rng);
    if (wanted.gpr[4] != kBlank || wanted.gpr[kCounter] != kBlank) continue;
    Bytes out;
    for (unsigned i = 0; i < 8; i++) {
      if (i == 4 || wanted.gpr[i] == kBlank) continue;
      out.push_back(static_cast<uint8_t>(0xb8 + i));
      for (unsigned b = 0; b < 4; b++) out.push_back(static_cast<uint8_t>(wanted.gpr[i] >> (8 * b)));
    }
    out.insert(out.end(), code.bytes.begin(), code.bytes.end());
    tally.add(form);
    return out;
  }
}

Bytes looped(const std::vector<Bytes>& steps) {
  Bytes all;
  for (const Bytes& s : steps) all.insert(all.end(), s.begin(), s.end());
  const auto back = static_cast<uint32_t>(-static_cast<int32_t>(all.size() + 8));
  all.insert(all.end(), {0xff, 0xcd, 0x0f, 0x85});  // DEC EBP; JNZ
  for (unsigned b = 0; b < 4; b++) all.push_back(static_cast<uint8_t>(back >> (8 * b)));
  return all;
}

class X87Test : public testing::TestWithParam<Mode> {
 protected:
  X87Test()
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
    const Bytes code = looped(steps);
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

TEST_P(X87Test, SequencesAgreeWithTheHost) {
  const Mode mode = GetParam();
  const std::vector<Form> forms = x87_forms(mode);
  const uint64_t first = from_environment("PANDA_SEED", 1), count = from_environment("PANDA_SEQUENCES", 1500);
  uint64_t failed = 0, faults = 0;
  FormTally tally("sequences", mode);
  for (uint64_t seed = first; seed < first + count && failed < 5; seed++) {
    Rng rng(seed);
    MachineState before = random_state(rng, mode);
    before.gpr[kCounter] = 1 + rng() % 7;
    std::memset(&before.fx[8], 0, 16);  // FIP, FDP: kept while exceptions are possible alone
    if (rng() % 3 != 0) before.fx[4] = static_cast<uint8_t>(rng() % 2 != 0 ? 0 : 0xc0);  // room on the stack
    std::vector<Bytes> steps;
    for (uint64_t n = 2 + rng() % 40; n > 0; n--) steps.push_back(random_step(forms, mode, rng, tally));
    faults += oracle(looped(steps), before).outcome != Outcome::Done ? 1 : 0;
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
    uint16_t control, status;
    std::memcpy(&control, &before.fx[0], 2);
    std::memcpy(&status, &before.fx[2], 2);
    ADD_FAILURE() << "seed " << seed << ": " << text
                  << fmt::format("  before: rounds {} control {:x} status {:x} tags {:x}\n", before.gpr[kCounter],
                                 control, status, before.fx[4])
                  << listing(looped(steps), mode);
  }
  tally_total("x87_test", mode, "loops of x87 instructions", count);
  std::printf("%llu sequences from seed %llu, %llu end in an exception, %llu failed\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(faults), static_cast<unsigned long long>(failed));
}

INSTANTIATE_TEST_SUITE_P(X86, X87Test, testing::Values(Mode::Long64, Mode::Protected32),
                         [](const auto& mode) { return mode.param == Mode::Long64 ? "Long64" : "Protected32"; });

}  // namespace
}  // namespace panda::x86test
