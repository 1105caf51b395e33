// Integer, control, string and SSE forms: our engine on each back end against Unicorn, in 64-bit, 32-bit
// and (but for SSE) 16-bit code. PANDA_INSN_INPUTS sets how many inputs a form gets. Unicorn 2.0.1 does not always do
// what CPUs do: kUnicornWrong names where, and a difference that it excuses has to be one where the host CPU agrees
// with us, so that a bug of ours cannot hide behind a row. Where the host cannot be asked, in 16-bit code and
// for some instructions of 32-bit code, a row excuses alone. Left out: x87 and MMX, for which Unicorn is no oracle (its
// transcendental functions go through double precision, tags and the status word's flags are its own): there the host
// CPU decides (insn_test.cpp). Faulting inputs, as Unicorn reports most faults late or as one and the same error. The
// sticky flags of MXCSR, which it does not keep there, and MXCSR's flush to zero and denormals are zero, which it
// ignores.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/rows.h"
#include "guest/x86/state.h"
#include "host_executor.h"
#include "random_state.h"
#include "real_mode.h"
#include "skip.h"
#include "tally.h"
#include "undefined.h"
#include "unicorn_executor.h"

namespace panda::x86test {
namespace {

// Where a row holds: in every form, in forms with LOCK, in 64-bit code, in 16-bit code.
enum class Where : uint8_t { Everywhere, Locked, Long64, Real16 };
struct Wrong {
  ZydisMnemonic mnemonic;
  Where where;
  const char* reason;
};
#define W(m, where, why) {ZYDIS_MNEMONIC_##m, Where::where, why}
const Wrong kUnicornWrong[] = {
    W(NEG, Locked, "SF and PF are those of the old value"),
    W(BSF, Long64, "of zero, with 32 bits: clears the upper half of the register; AMD leaves all of it"),
    W(BSR, Long64, "as BSF"),
    W(CMPXCHG, Long64, "of 32-bit registers, unequal: clears the upper half of the destination"),
    W(POPCNT, Everywhere, "#UD on every CPU model"),
    W(MOVBE, Everywhere, "#UD on every CPU model"),
    W(PCLMULQDQ, Everywhere, "#UD on every CPU model"),
    W(SHA1RNDS4, Everywhere, "#UD on every CPU model"),
    W(SHA1NEXTE, Everywhere, "#UD on every CPU model"),
    W(SHA1MSG1, Everywhere, "#UD on every CPU model"),
    W(SHA1MSG2, Everywhere, "#UD on every CPU model"),
    W(SHA256RNDS2, Everywhere, "#UD on every CPU model"),
    W(SHA256MSG1, Everywhere, "#UD on every CPU model"),
    W(SHA256MSG2, Everywhere, "#UD on every CPU model"),
    W(BLSI, Everywhere, "CF is inverted"),
    W(PDEP, Everywhere, "of 32-bit registers: their upper halves take part"),
    W(PEXT, Everywhere, "as PDEP"),
    W(BZHI, Everywhere, "of the width less one: clears the top bit (SDM vol. 2, BZHI)"),
    W(NOP, Everywhere, "#UD for reserved NOPs (0F 18 .. 0F 1F) with a register"),
    W(CRC32, Real16, "the operand is 16 bits wide without the prefix 66, not with it (SDM vol. 2, CRC32)"),
    W(ADCX, Real16, "#UD in 16-bit code (SDM vol. 2, ADCX: valid there)"),
    W(BEXTR, Everywhere, "takes 63 bits at most, and of a 32-bit source those beyond"),
    W(PHADDW, Everywhere, "with equal operands: overwrites the source before it is used"),
    W(PHADDD, Everywhere, "as PHADDW"),
    W(PHADDSW, Everywhere, "as PHADDW"),
    W(PHSUBW, Everywhere, "as PHADDW"),
    W(PHSUBD, Everywhere, "as PHADDW"),
    W(PHSUBSW, Everywhere, "as PHADDW"),
    W(ADDPS, Everywhere, "of two NaNs: takes the one that x87 would (the larger), not the first"),
    W(ADDSS, Everywhere, "NaNs: as ADDPS"),
    W(ADDPD, Everywhere, "NaNs: as ADDPS"),
    W(ADDSD, Everywhere, "NaNs: as ADDPS"),
    W(SUBPS, Everywhere, "NaNs: as ADDPS"),
    W(SUBSS, Everywhere, "NaNs: as ADDPS"),
    W(SUBPD, Everywhere, "NaNs: as ADDPS"),
    W(SUBSD, Everywhere, "NaNs: as ADDPS"),
    W(MULPS, Everywhere, "NaNs: as ADDPS"),
    W(MULSS, Everywhere, "NaNs: as ADDPS"),
    W(MULPD, Everywhere, "NaNs: as ADDPS"),
    W(MULSD, Everywhere, "NaNs: as ADDPS"),
    W(DIVPS, Everywhere, "NaNs: as ADDPS"),
    W(DIVSS, Everywhere, "NaNs: as ADDPS"),
    W(DIVPD, Everywhere, "NaNs: as ADDPS"),
    W(DIVSD, Everywhere, "NaNs: as ADDPS"),
    W(HADDPS, Everywhere, "NaNs: as ADDPS"),
    W(HADDPD, Everywhere, "NaNs: as ADDPS"),
    W(HSUBPS, Everywhere, "NaNs: as ADDPS"),
    W(HSUBPD, Everywhere, "NaNs: as ADDPS"),
    W(ADDSUBPS, Everywhere, "NaNs: as ADDPS"),
    W(ADDSUBPD, Everywhere, "NaNs: as ADDPS"),
    W(DPPS, Everywhere, "NaNs: as ADDPS"),
    W(DPPD, Everywhere, "NaNs: as ADDPS"),
    W(ROUNDSS, Everywhere, "reads 16 bytes of memory: faults at the end of what is mapped"),
    W(ROUNDSD, Everywhere, "as ROUNDSS"),
    W(CVTDQ2PD, Everywhere, "as ROUNDSS"),
};
#undef W

bool unicorn_wrong(const Form& form, UnicornMode mode) {
  return std::ranges::any_of(kUnicornWrong, [&](const Wrong& w) {
    if (w.mnemonic != form.mnemonic) return false;
    switch (w.where) {
      case Where::Locked:
        return (form.prefixes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
      case Where::Long64:
        return mode == UnicornMode::Long64;
      case Where::Real16:
        return mode == UnicornMode::Real16;
      default:
        return true;
    }
  });
}

// PCMPESTRI and PCMPESTRM: for some lengths, Unicorn reads outside of its own memory and dies.
bool unicorn_dies(ZydisMnemonic m) { return m == ZYDIS_MNEMONIC_PCMPESTRI || m == ZYDIS_MNEMONIC_PCMPESTRM; }

struct Group {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
const Group kGroups[] = {{"integer", x86::integer_rows},
                         {"string", x86::string_rows},
                         {"sse", x86::sse_rows},
                         {"control", x86::control_rows}};

struct Case {
  const char* name;
  UnicornMode mode;
  size_t group;
};
// For GoogleTest, which would print the bytes.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"integer_64", UnicornMode::Long64, 0},     {"string_64", UnicornMode::Long64, 1},
    {"sse_64", UnicornMode::Long64, 2},         {"integer_32", UnicornMode::Protected32, 0},
    {"string_32", UnicornMode::Protected32, 1}, {"sse_32", UnicornMode::Protected32, 2},
    {"integer_16", UnicornMode::Real16, 0},     {"string_16", UnicornMode::Real16, 1},
    {"control_64", UnicornMode::Long64, 3},     {"control_32", UnicornMode::Protected32, 3},
    {"control_16", UnicornMode::Real16, 3},
};

unsigned inputs_per_form() {
  const char* text = std::getenv("PANDA_INSN_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 6;
}

bool uses_x87(const Form& form) {
  return std::ranges::find(form.operands, Kind::Mm) != form.operands.end() || form.mnemonic == ZYDIS_MNEMONIC_FNSTCW ||
         form.mnemonic == ZYDIS_MNEMONIC_FNSTSW;
}

// All exceptions masked; the rounding mode stays random.
void mask_simd_exceptions(MachineState& state) {
  uint32_t mxcsr;
  std::memcpy(&mxcsr, &state.fx[24], 4);
  mxcsr = (mxcsr & 0x6000) | 0x1f80;
  std::memcpy(&state.fx[24], &mxcsr, 4);
}

// What Unicorn is not asked: x87, and the sticky flags.
void take_what_is_left_out(const Result& ours, Result& unicorn) {
  std::copy_n(ours.state.fx.begin(), 24, unicorn.state.fx.begin());
  std::copy_n(ours.state.fx.begin() + 32, 128, unicorn.state.fx.begin() + 32);
  unicorn.state.fx[24] = static_cast<uint8_t>((unicorn.state.fx[24] & 0xc0) | (ours.state.fx[24] & 0x3f));
}

std::string describe(const Encoded& code, const MachineState& before) {
  std::string text = "\n  bytes:";
  for (uint8_t b : code.bytes) text += fmt::format(" {:02x}", b);
  text += "\n  before:";
  for (uint64_t r : before.gpr) text += fmt::format(" {:x}", r);
  uint32_t mxcsr;
  std::memcpy(&mxcsr, &before.fx[24], 4);
  return text + fmt::format(" flags {:x} mxcsr {:x}\n", before.rflags, mxcsr);
}

class UnicornTest : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] bool real() const { return GetParam().mode == UnicornMode::Real16; }
  [[nodiscard]] Mode mode() const { return GetParam().mode == UnicornMode::Long64 ? Mode::Long64 : Mode::Protected32; }
  void make_engines() {
    for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
      if (real())
        engines_.push_back(std::make_unique<RealModeExecutor>(kind));
      else
        engines_.push_back(std::make_unique<EngineExecutor>(mode(), kind));
    }
    if (!real()) host_ = std::make_unique<HostExecutor>(mode());
  }
  std::vector<Form> forms() const {
    std::vector<ZydisMnemonic> mnemonics;
    for (const x86::Row& row : kGroups[GetParam().group].rows()) {
      if (!skipped(row.mnemonic, row.feature) && !unicorn_dies(row.mnemonic)) mnemonics.push_back(row.mnemonic);
    }
    std::vector<Form> all = all_forms(mnemonics, mode());
    std::erase_if(all, uses_x87);
    return all;
  }
  // Does the host agree with us in full?
  bool host_agrees(const Form& form, const Encoded& code, const MachineState& before, const Result& ours,
                   uint32_t undefined) {
    Result want = host_->run(code.bytes, before);
    forgive(form, code, before, ours, want);
    return differences(want, ours, undefined, mode()).empty();
  }

  std::vector<std::unique_ptr<Executor>> engines_;
  std::unique_ptr<HostExecutor> host_;
  unsigned compared_ = 0, excused_ = 0, faults_ = 0;
};

TEST_P(UnicornTest, AgreesWithUnicorn) {
  make_engines();
  UnicornExecutor unicorn(GetParam().mode);
  unsigned silent_forms = 0, form_count = 0;
  for (const Form& form : forms()) {
    Rng rng(std::hash<std::string>{}(form.name()));
    bool failed = false, met = false, encoded = false;
    const unsigned compared_before = compared_;
    for (unsigned i = 0; i < inputs_per_form() && !failed; i++) {
      MachineState before = random_state(rng, mode());
      mask_simd_exceptions(before);
      const Encoded code = real() ? encode_real(form, rng, before) : encode(form, mode(), rng, before);
      if (code.bytes.empty()) continue;
      encoded = true;
      real() ? prepare_real(form, before, rng) : prepare(form, before, rng);
      if (undefined_result(form, code, before)) continue;
      const uint32_t undefined = undefined_flags(form, code, before);
      for (auto& engine : engines_) {
        const Result got = engine->run(code.bytes, before);
        if (got.outcome != Outcome::Done) {
          faults_++;
          continue;
        }
        Result want = unicorn.run(code.bytes, before);
        take_what_is_left_out(got, want);
        met = true;
        compared_++;
        const std::string diff = differences(want, got, undefined, mode());
        if (diff.empty()) continue;
        const bool agreed = real() || !host_->runs(code.bytes) || host_agrees(form, code, before, got, undefined);
        if (unicorn_wrong(form, GetParam().mode) && agreed) {
          excused_++;
          continue;
        }
        failed = true;
        ADD_FAILURE() << form.name() << " on the " << engine->name() << " against Unicorn"
                      << (real()   ? ""
                          : agreed ? " (the host agrees with us)"
                                   : " (and the host disagrees, too)")
                      << describe(code, before) << diff;
      }
    }
    form_count += encoded ? 1 : 0;
    tally("unicorn", real() ? "16" : mode() == Mode::Long64 ? "64" : "32", form, compared_ - compared_before, failed);
    if (encoded && !met) {
      silent_forms++;
      if (std::getenv("PANDA_INSN_VERBOSE") != nullptr) std::printf("never compared: %s\n", form.name().c_str());
    }
  }
  EXPECT_GT(compared_, form_count);
  std::printf("%s: %u forms (%u of them only faulted), %u comparisons, %u excused, %u faults left out\n",
              GetParam().name, form_count, silent_forms, compared_, excused_, faults_);
}

std::string case_name(const testing::TestParamInfo<Case>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(X86, UnicornTest, testing::ValuesIn(kCases), case_name);

}  // namespace
}  // namespace panda::x86test
