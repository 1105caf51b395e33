#include "skip.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/x86/fpu_state.h"

namespace panda::x86test {
namespace {

struct Skip {
  ZydisMnemonic mnemonic;
  const char* reason;
};

#define S(m, why) {ZYDIS_MNEMONIC_##m, why}
const Skip kSkips[] = {
    S(JMP, "leaves the test's code; control_test.cpp"),
    S(CALL, "leaves the test's code; control_test.cpp"),
    S(RET, "leaves the test's code; control_test.cpp"),
    S(LOOP, "leaves the test's code; control_test.cpp"),
    S(LOOPE, "leaves the test's code; control_test.cpp"),
    S(LOOPNE, "leaves the test's code; control_test.cpp"),
    S(INT, "the host's kernel answers it"),
    S(INT1, "the host's kernel answers it"),
    S(INT3, "the host's kernel answers it"),
    S(INTO, "the host's kernel answers it"),
    S(POPF, "may set TF"),
    S(POPFD, "may set TF"),
    S(POPFQ, "may set TF"),
    S(PUSHF, "the interrupt flag differs"),
    S(PUSHFD, "the interrupt flag differs"),
    S(PUSHFQ, "the interrupt flag differs"),
    S(UD0, "operand forms differ between CPUs"),
    S(UD1, "operand forms differ between CPUs"),
    S(BOUND, "not in 64-bit mode"),
    S(RCPPS, "approximations differ between CPUs"),
    S(RCPSS, "approximations differ between CPUs"),
    S(RSQRTPS, "approximations differ between CPUs"),
    S(RSQRTSS, "approximations differ between CPUs"),
    S(VRCPPS, "approximations differ between CPUs"),
    S(VRCPSS, "approximations differ between CPUs"),
    S(VRSQRTPS, "approximations differ between CPUs"),
    S(VRSQRTSS, "approximations differ between CPUs"),
    S(VLDMXCSR, "random words unmask exceptions"),
    S(FXSAVE, "FIP and FDP differ between CPUs"),
    S(FXSAVE64, "FIP and FDP differ between CPUs"),
    S(FNSAVE, "FIP and FDP differ between CPUs"),
    S(FNSTENV, "FIP and FDP differ between CPUs"),
    S(FXRSTOR, "random images are not valid"),
    S(FXRSTOR64, "random images are not valid"),
    S(FRSTOR, "random images unmask exceptions"),
    S(FLDENV, "random images unmask exceptions"),
    S(FLDCW, "random words unmask exceptions"),
    S(XSAVEOPT, "depends on the OS"),
    S(XSAVEOPT64, "depends on the OS"),
    S(XSAVEC, "depends on the OS"),
    S(XSAVEC64, "depends on the OS"),
    S(LDMXCSR, "random words unmask exceptions"),
    S(XSAVE, "depends on the OS"),
    S(XRSTOR, "depends on the OS"),
    S(XSAVE64, "depends on the OS"),
    S(XRSTOR64, "depends on the OS"),
    S(XGETBV, "depends on the OS"),
    S(XSETBV, "privileged"),
    S(SYSCALL, "the host's kernel answers it"),
    S(SYSENTER, "the host's kernel answers it"),
};
#undef S

bool is_conditional_jump(ZydisMnemonic m) {
  const std::string name = ZydisMnemonicGetString(m);
  return name[0] == 'j';
}

// Neighbours among the 80-bit numbers, on both sides of a power of two as well.
bool last_bit_differs(const MachineState& a, const MachineState& b, size_t at) {
  __extension__ typedef unsigned __int128 Wide;
  const auto position = [at](const MachineState& s) {
    uint64_t mantissa;
    uint16_t exponent;
    std::memcpy(&mantissa, &s.fx[at], 8);
    std::memcpy(&exponent, &s.fx[at + 8], 2);
    return (Wide{exponent} << 63) + (mantissa & ~uint64_t{0} >> 1);
  };
  const Wide x = position(a), y = position(b);
  return x - y == 1 || y - x == 1;
}

// A gather that was interrupted: the manual sets the masks of what remains to all ones and clears the others before
// it begins (SDM vol. 2, VPGATHERDD), AMD leaves them as they were. Which elements remain is the same.
void take_mask(const Encoded& code, size_t lane, const Result& ours, Result& host) {
  const auto vex = std::ranges::find(code.bytes, 0xc4);
  if (code.bytes.end() - vex < 3) return;
  const size_t mask = static_cast<size_t>(~vex[2] >> 3 & 15);
  const auto take = [lane](const uint8_t* from, uint8_t* to) {
    for (size_t i = 0; i < 16; i += lane) {
      const size_t top = i + lane - 1;
      if (((from[top] ^ to[top]) & 0x80) == 0 || from[top] == 0) std::copy_n(from + i, lane, to + i);
    }
  };
  take(&ours.state.fx[160 + 16 * mask], &host.state.fx[160 + 16 * mask]);
  take(&ours.state.ymm_high[16 * mask], &host.state.ymm_high[16 * mask]);
}

void take_x87(const Result& from, Result& to) {
  std::copy_n(from.state.fx.begin(), 24, to.state.fx.begin());
  std::copy_n(from.state.fx.begin() + 32, 128, to.state.fx.begin() + 32);
}

}  // namespace

bool skipped(ZydisMnemonic mnemonic, x86::Feature) {
  if (is_conditional_jump(mnemonic)) return true;
  return std::ranges::any_of(kSkips, [&](const Skip& s) { return s.mnemonic == mnemonic; });
}

const char* skip_reason(ZydisMnemonic mnemonic) {
  for (const Skip& s : kSkips) {
    if (s.mnemonic == mnemonic) return s.reason;
  }
  return is_conditional_jump(mnemonic) ? "leaves the test's code; control_test.cpp" : "";
}

void forgive(const Form& form, const Encoded& code, const MachineState& before, const Result& ours, Result& host) {
  // 256 bits of them are VAES and VPCLMULQDQ, which the host may have and the guest's CPU has not.
  const std::string name = ZydisMnemonicGetString(form.mnemonic);
  if ((name.starts_with("vaes") || name == "vpclmulqdq") && ours.outcome == Outcome::Invalid) {
    const auto vex = std::ranges::find(code.bytes, 0xc4);
    if (code.bytes.end() - vex > 2 && (vex[2] & 4) != 0) host = ours;
  }
  if (is_gather(form) && host.outcome != Outcome::Done) {
    take_mask(code, gather_shape(form.mnemonic).element_bytes, ours, host);
  }
  // Whether bytes that are not selected fault, and what of the others was written before, is the CPU's choice (SDM
  // vol. 2, MASKMOVDQU). AMD switches to MMX before the fault.
  if (name.find("maskmovdqu") != std::string::npos || name == "maskmovq") {
    if (host.outcome != Outcome::Done && (ours.outcome == Outcome::Done || ours.vector == host.vector)) host = ours;
  }
  const auto word = [](const MachineState& s, size_t at) {
    return static_cast<uint16_t>(s.fx[at] | s.fx[at + 1] << 8);
  };
  const auto take_status = [&](uint16_t mask) {
    const auto v = static_cast<uint16_t>((word(host.state, 2) & ~mask) | (word(ours.state, 2) & mask));
    host.state.fx[2] = static_cast<uint8_t>(v);
    host.state.fx[3] = static_cast<uint8_t>(v >> 8);
  };
  const bool x87_unmasked_invalid = (word(before, 0) & 1) == 0;
  switch (form.mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
      // 0F 0D with a register: AMD's CPUs raise #UD, Intel's do nothing.
      if (code.bytes.size() > 2 &&
          std::ranges::search(code.bytes, std::array<uint8_t, 2>{0x0f, 0x0d}).begin() != code.bytes.end() &&
          host.outcome == Outcome::Invalid) {
        host = ours;
      }
      break;
    case ZYDIS_MNEMONIC_FCOMI:
    case ZYDIS_MNEMONIC_FCOMIP:
    case ZYDIS_MNEMONIC_FUCOMI:
    case ZYDIS_MNEMONIC_FUCOMIP:
      take_status(x86::kFpC1);  // AMD leaves C1 alone; the manual clears it (SDM vol. 2, FCOMI)
      // "Flags not set if unmasked invalid-arithmetic-operand exception is generated"; AMD sets them.
      if (x87_unmasked_invalid && (word(host.state, 2) & x86::kFpIE) != 0) host.state.rflags = ours.state.rflags;
      break;
    case ZYDIS_MNEMONIC_F2XM1:
    case ZYDIS_MNEMONIC_FYL2X:
    case ZYDIS_MNEMONIC_FYL2XP1:
    case ZYDIS_MNEMONIC_FSIN:
    case ZYDIS_MNEMONIC_FCOS:
    case ZYDIS_MNEMONIC_FSINCOS:
    case ZYDIS_MNEMONIC_FPTAN:
    case ZYDIS_MNEMONIC_FPATAN:
      // Approximations: the last bit, whether it was rounded up, and whether an exact result counts as one.
      for (const size_t at : {size_t{32}, size_t{48}}) {
        if (last_bit_differs(ours.state, host.state, at)) std::copy_n(&ours.state.fx[at], 10, &host.state.fx[at]);
      }
      take_status(x86::kFpC1 | x86::kFpPE);
      if ((before.fx[0] & x86::kFpPE) == 0) take_status(x86::kFpES | x86::kFpB);
      break;
    case ZYDIS_MNEMONIC_CVTPI2PS:
      // The memory form: AMD neither switches to MMX nor looks for a pending x87 exception, Intel does
      // (SDM vol. 2, CVTPI2PS).
      if (form.operands[1] == Kind::M64) {
        take_x87(ours, host);
        if ((word(before, 2) & x86::kFpES) != 0) host = ours;
      }
      [[fallthrough]];
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_CVTPI2PD:
      // AMD switches to MMX before the conversion raises its exception; a fault should change nothing.
      if (host.outcome == Outcome::FpError) take_x87(ours, host);
      break;
    case ZYDIS_MNEMONIC_SHA1RNDS4:
    case ZYDIS_MNEMONIC_SHA1NEXTE:
    case ZYDIS_MNEMONIC_SHA1MSG1:
    case ZYDIS_MNEMONIC_SHA1MSG2:
    case ZYDIS_MNEMONIC_SHA256RNDS2:
    case ZYDIS_MNEMONIC_SHA256MSG1:
    case ZYDIS_MNEMONIC_SHA256MSG2:
      // AMD takes these operands wherever they lie; the manual wants them aligned (SDM vol. 2, table 2-21).
      if (ours.vector == 13) host = ours;
      break;
    default:
      break;
  }
  // Behind an unmasked overflow or underflow, PE says whether the value with an unbounded exponent was inexact.
  // Arithmetic runs with exceptions masked, where the host tells of the stored value instead
  // (guest/x86/simd_helpers.h).
  constexpr uint8_t kOverflow = 8, kUnderflow = 0x10, kPrecision = 0x20;
  const bool overflowed = (before.fx[25] & 0x04) == 0 && (host.state.fx[24] & kOverflow) != 0;
  const bool underflowed = (before.fx[25] & 0x08) == 0 && (host.state.fx[24] & kUnderflow) != 0;
  if (host.outcome == Outcome::FpError && (overflowed || underflowed)) {
    const int others = host.state.fx[24] & ~kPrecision;
    host.state.fx[24] = static_cast<uint8_t>(others | (ours.state.fx[24] & kPrecision));
  }
}

bool host_differs(ZydisMnemonic m) {
#define M(name) ZYDIS_MNEMONIC_##name
  static const ZydisMnemonic kOnes[] = {
      M(NOP),      M(FCOMI),       M(FCOMIP),      M(FUCOMI),     M(FUCOMIP),    M(F2XM1),     M(FYL2X),
      M(FYL2XP1),  M(FSIN),        M(FCOS),        M(FSINCOS),    M(FPTAN),      M(FPATAN),    M(CVTPI2PS),
      M(CVTPS2PI), M(CVTTPS2PI),   M(CVTPD2PI),    M(CVTTPD2PI),  M(CVTPI2PD),   M(SHA1RNDS4), M(SHA1NEXTE),
      M(SHA1MSG1), M(SHA1MSG2),    M(SHA256RNDS2), M(SHA256MSG1), M(SHA256MSG2), M(VAESENC),   M(VAESENCLAST),
      M(VAESDEC),  M(VAESDECLAST), M(VPCLMULQDQ)};
#undef M
  return std::ranges::find(kOnes, m) != std::end(kOnes);
}

void prepare(const Form& form, MachineState& state, Rng& rng) {
  const std::string name = ZydisMnemonicGetString(form.mnemonic);
  const bool string = name.rfind("movs", 0) == 0 || name.rfind("cmps", 0) == 0 || name.rfind("stos", 0) == 0 ||
                      name.rfind("lods", 0) == 0 || name.rfind("scas", 0) == 0;
  if (string && form.operands.empty()) {
    state.gpr[6] = kData + 0x400 + rng() % 64;
    state.gpr[7] = kData + 0xc00 + rng() % 64;
    state.gpr[1] = rng() % 24;
    if (rng() % 4 == 0) state.rflags |= 0x400;
  }
  if (name == "xlat") state.gpr[3] = kData + rng() % 0x100;
  if (name == "maskmovdqu" || name == "maskmovq" || name == "vmaskmovdqu") state.gpr[7] = kData + 0x800 + rng() % 64;
  if (name == "leave") state.gpr[5] = kData + 0x1000 + rng() % 64;
  if (name == "enter") state.gpr[5] = kData + 0x1800;
}

}  // namespace panda::x86test
