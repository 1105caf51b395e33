// SSE4.2 string compares: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1).
#include "guest/x86/simd_helpers.h"
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

// |length|, at most 16, of EAX or EDX (RAX, RDX with REX.W): the instruction saturates at the number of lanes.
Value saturated_length(InsnContext& x, unsigned reg, bool wide) {
  Value v = x.reg(reg, wide ? Type::I64 : Type::I32);
  v = x.b.select(x.b.icmp(ir::Cond::Slt, v, x.b.konst(v.type, 0)), x.b.neg(v), v);
  v = x.b.zext(Type::I64, v);
  return x.b.select(x.b.icmp(ir::Cond::Ult, v, x.b.i64(16)), v, x.b.i64(16));
}

template <bool explicit_length, bool mask>
InsnEnd compare_strings_insn(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_xmm(x, x.ops[1], false);
  const uint32_t control = immediate8(x.ops[2]) | xmm_number(x.ops[0]) << 8 | (mask ? 1u << 17 : 0u);
  const Value low = x.b.emit(Op::vget_lane, Type::I64, {b}, 0);
  const Value high = x.b.emit(Op::vget_lane, Type::I64, {b}, 1);
  Value r;
  if (explicit_length) {
    const bool wide =
        x.is64() &&
        (is_vex(x) ? x.insn.raw.vex.W != 0 : (x.insn.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && x.insn.raw.rex.W != 0);
    const Value lengths = x.b.deposit(saturated_length(x, R_EAX, wide), saturated_length(x, R_EDX, wide), 32, 32);
    r = x.call(kPcmpstrLength, {x.b.i32(control), low, high, lengths});
  } else {
    r = x.call(kPcmpstr, {x.b.i32(control), low, high});
  }
  if (!mask)
    x.set_reg(R_ECX, x.b.trunc(Type::I32, r));
  else if (is_vex(x))
    x.b.set(ymm_high_offset(0), x.b.konst(Type::V128, 0));
  x.set_cc_flags(x.b.trunc(Type::I32, x.b.shift(Op::shr, r, x.b.i8(32))));
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_PCMPESTRI, &compare_strings_insn<true, false>, Feature::Sse42},
    {ZYDIS_MNEMONIC_PCMPESTRM, &compare_strings_insn<true, true>, Feature::Sse42},
    {ZYDIS_MNEMONIC_PCMPISTRI, &compare_strings_insn<false, false>, Feature::Sse42},
    {ZYDIS_MNEMONIC_PCMPISTRM, &compare_strings_insn<false, true>, Feature::Sse42},
};

}  // namespace

std::span<const Row> sse_string_rows() { return kRows; }

}  // namespace panda::x86
