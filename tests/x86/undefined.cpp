#include "undefined.h"

#include <cstring>

#include "guest/x86/state.h"

namespace panda::x86test {
namespace {

using namespace panda::x86;

unsigned width_bits(Kind k) {
  switch (k) {
    case Kind::Acc8:
    case Kind::R8:
    case Kind::M8:
      return 8;
    case Kind::Acc16:
    case Kind::R16:
    case Kind::M16:
      return 16;
    case Kind::Acc64:
    case Kind::R64:
    case Kind::M64:
      return 64;
    default:
      return 32;
  }
}

unsigned shift_count(const Form& form, const Encoded& code, const MachineState& before) {
  const Kind last = form.operands.back();
  const unsigned mask = width_bits(form.operands[0]) == 64 ? 63 : 31;
  const unsigned raw = last == Kind::Cl     ? static_cast<unsigned>(before.gpr[1])
                       : last == Kind::Imm8 ? code.bytes.back()
                                            : 1;
  return raw & mask;
}

long double st0(const MachineState& s) {
  long double x = 0;
  std::memcpy(&x, &s.fx[32], 10);
  return x;
}

}  // namespace

bool undefined_result(const Form& form, const Encoded& code, const MachineState& before) {
  switch (form.mnemonic) {
    case ZYDIS_MNEMONIC_BSWAP:
      return width_bits(form.operands[0]) == 16;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return shift_count(form, code, before) > width_bits(form.operands[0]);
    case ZYDIS_MNEMONIC_F2XM1:
      return st0(before) < -1 || st0(before) > 1;
    case ZYDIS_MNEMONIC_FYL2XP1:
      return st0(before) < -0.29L || st0(before) > 0.41L;  // 1 - sqrt(1/2), sqrt(2) - 1
    default:
      return false;
  }
}

uint32_t undefined_flags(const Form& form, const Encoded& code, const MachineState& before) {
  switch (form.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
      const unsigned count = shift_count(form, code, before);
      if (count == 0) return 0;
      uint32_t mask = kAF;
      if (count != 1) mask |= kOF_;
      if (count >= width_bits(form.operands[0]) && form.mnemonic != ZYDIS_MNEMONIC_SAR) mask |= kCF;
      return mask;
    }
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return shift_count(form, code, before) == 1 ? 0 : static_cast<uint32_t>(kOF_);
#define UNDEFINED(mnemonic, flags) \
  case ZYDIS_MNEMONIC_##mnemonic:  \
    return flags;
#include "undefined.inc"
#undef UNDEFINED
    default:
      return 0;
  }
}

}  // namespace panda::x86test
