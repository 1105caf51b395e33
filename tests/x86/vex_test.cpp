// The VEX prefix itself: random fields (R, X, B, W, vvvv, L, pp, map), opcodes and prefixes before it, our
// engine against the host CPU. What the tables have is executed and compared; what they do not have,
// or an encoding that the manual forbids, must raise #UD where the host does.
//
// PANDA_VEX_CASES: how many.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/row_table.h"
#include "host_executor.h"
#include "random_state.h"
#include "skip.h"
#include "tally.h"
#include "undefined.h"

namespace panda::x86test {
namespace {

using x86::DecodedInsn, x86::FoundRow, x86::RowTable;
using Bytes = std::vector<uint8_t>;

Bytes random_vex(Rng& rng, Mode mode) {
  static const uint8_t kPrefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x3e, 0x26, 0x40, 0x48, 0x4f};
  Bytes code;
  if (rng() % 6 == 0) code.push_back(kPrefixes[rng() % (mode == Mode::Long64 ? std::size(kPrefixes) : 6)]);
  const auto vvvv = static_cast<uint8_t>(rng() % 3 == 0 ? 15 : rng() % 16);
  const auto l_pp = static_cast<uint8_t>(rng() % 8);
  uint8_t opcode = static_cast<uint8_t>(rng());
  if (rng() % 4 == 0) {
    // In 32-bit code bits 6 and 7 must be set, or it is LDS.
    const auto high = static_cast<uint8_t>(mode == Mode::Long64 ? rng() % 2 << 7 : 0x80);
    code.insert(code.end(), {0xc5, static_cast<uint8_t>(high | (vvvv << 3 & (mode == Mode::Long64 ? 0x78 : 0x38)) |
                                                        (mode == Mode::Long64 ? 0 : 0x40) | l_pp)});
  } else {
    const auto rxb = static_cast<uint8_t>(mode == Mode::Long64 ? rng() % 8 << 5 : 0xc0 | (rng() % 2 << 5));
    const auto map = static_cast<uint8_t>(rng() % 16 == 0 ? rng() % 32 : 1 + rng() % 3);
    const auto w = static_cast<uint8_t>(rng() % 2 << 7);
    code.insert(code.end(), {0xc4, static_cast<uint8_t>(rxb | map), static_cast<uint8_t>(w | vvvv << 3 | l_pp)});
  }
  const auto reg = static_cast<uint8_t>(rng() % 8 << 3);
  uint8_t modrm = static_cast<uint8_t>(0xc0 | reg | rng() % 8);
  // [rbx + disp8], which the state leads to the data area
  if (rng() % 3 == 0) modrm = static_cast<uint8_t>(0x43 | reg);
  code.push_back(opcode);
  code.push_back(modrm);
  code.push_back(static_cast<uint8_t>(rng() % 64));  // disp8 or imm8
  code.push_back(static_cast<uint8_t>(rng()));
  return code;
}

// Something that the host may have and the guest's CPU has not, or that the oracle cannot tell.
bool beyond(const DecodedInsn& d, const RowTable& rows) {
  const FoundRow found = rows.find(d);
  if (found.row != nullptr) return skipped(d.insn.mnemonic, found.row->feature) || host_differs(d.insn.mnemonic);
  switch (d.insn.meta.isa_ext) {
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX2GATHER:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
      return false;
    default:
      return true;
  }
}

// VPERMQ and VPERMPD want VEX.W set; the manual has no such instruction without, AMD does not look. In 32-bit
// code the manual ignores VEX.W of VPEXTRD and VPINSRD, and AMD raises #UD.
bool amd_differs(const Bytes& code, Mode mode, const Result& host, const Result& ours) {
  const auto vex = std::ranges::find(code, 0xc4);
  if (code.end() - vex < 4 || (vex[1] & 0x1f) != 3) return false;
  const bool w = (vex[2] & 0x80) != 0;
  if (vex[3] <= 1 && !w) return host.outcome != Outcome::Invalid && ours.outcome == Outcome::Invalid;
  const bool dword = vex[3] == 0x16 || vex[3] == 0x22;
  return dword && w && mode == Mode::Protected32 && host.outcome == Outcome::Invalid;
}

class VexTest : public testing::TestWithParam<Mode> {};

TEST_P(VexTest, EncodingsAgreeWithTheHost) {
  if (__builtin_cpu_supports("avx2") == 0 || __builtin_cpu_supports("fma") == 0) GTEST_SKIP() << "the host has no AVX2";
  const Mode mode = GetParam();
  if (!HostExecutor::offers(mode)) GTEST_SKIP() << "this host runs no 32-bit code";
  const char* text = std::getenv("PANDA_VEX_CASES");
  const unsigned cases = text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 40'000;
  const uint64_t flags = x86::kModePe | (mode == Mode::Long64 ? x86::kModeLma | x86::kModeCs64 : x86::kModeCs32);
  const x86::Decoder decoder;
  const x86::RowTable rows;
  HostExecutor host(mode);
  EngineExecutor engine(mode, BackendKind::Interpreter);
  Rng rng(7);
  unsigned undefined = 0, executed = 0, failures = 0;
  for (unsigned i = 0; i < cases && failures < 20; i++) {
    MachineState before = random_state(rng, mode);
    Bytes code = random_vex(rng, mode);
    x86::DecodedInsn d{};
    const x86::DecodeStatus status = decoder.decode(code, flags, d);
    if (status == x86::DecodeStatus::Truncated) continue;
    if (status == x86::DecodeStatus::Ok) {
      if (beyond(d, rows)) continue;
      code.resize(d.insn.length);
    }
    for (const unsigned base : {3u, 11u}) before.gpr[base] = kData + 0x800 + rng() % 4 * 16;
    before.gpr[7] = kData + 0x900;  // VMASKMOVDQU
    const Form form{d.insn.mnemonic, {Kind::R32, Kind::R32, Kind::R32}};
    const uint32_t undefined_bits = status == x86::DecodeStatus::Ok ? undefined_flags(form, {code}, before) : 0;
    const Result got = engine.run(code, before);
    Result want = host.run(code, before);
    if (status == x86::DecodeStatus::Ok) forgive(form, {code}, before, got, want);
    if (amd_differs(code, mode, want, got)) want = got;
    (want.outcome == Outcome::Invalid ? undefined : executed)++;
    const std::string diff = differences(want, got, undefined_bits, mode);
    if (diff.empty()) continue;
    failures++;
    std::string bytes;
    for (const uint8_t b : code) bytes += fmt::format("{:02x} ", b);
    const char* name = status == x86::DecodeStatus::Ok ? ZydisMnemonicGetString(d.insn.mnemonic) : "(undefined)";
    ADD_FAILURE() << bytes << name << "\n" << diff;
  }
  tally_total("vex_test", mode, "encodings executed", executed);
  tally_total("vex_test", mode, "encodings that are undefined", undefined);
  std::printf("%u encodings executed, %u undefined, %u failed\n", executed, undefined, failures);
  EXPECT_GT(executed, cases / 50);
  EXPECT_GT(undefined, cases / 50);
}

INSTANTIATE_TEST_SUITE_P(X86, VexTest, testing::Values(Mode::Long64, Mode::Protected32),
                         [](const auto& p) { return p.param == Mode::Long64 ? "_64" : "_32"; });

}  // namespace
}  // namespace panda::x86test
