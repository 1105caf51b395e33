// Packed integer arithmetic, logic, compares, packs and shifts, on XMM and on MMX registers
// (SDM vol. 1, 9.4, 10.4.4, 11.4.2, 12.6, 12.10). One row names the IR operation; the MMX form runs
// the same operation on the low half of a vector. Where the operation's lanes would then not lie in
// the low half (packs, horizontal sums, high unpacks) the row says how to arrange the operands.
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

enum class MmxForm : uint8_t {
  Low,      // elementwise: low halves in, low half out
  Pair,     // both operands side by side in one vector, given twice; low half out
  High,     // low halves in, high half out (PUNPCKH with the PUNPCKL operation)
  Control,  // PSHUFB: bit 3 of a control byte does not count
};

Value mmx_vector(InsnContext& x, Value v) { return x.b.emit(Op::vzext, Type::V128, {v}); }

InsnEnd binary(InsnContext& x, Op op, Op mmx_op, MmxForm form) {
  const auto &to = x.ops[0], &from = x.ops[1];
  if (is_xmm(to)) {
    if (!sse_ready(x)) return InsnEnd::Closed;
    const Value b = read_xmm(x, from);
    const bool zeroing = op == Op::vxor && is_xmm(from) && xmm_number(from) == xmm_number(to);
    set_xmm(x, to, zeroing ? x.b.konst(Type::V128, 0) : x.b.binary(op, get_xmm(x, to), b));
    return InsnEnd::Next;
  }
  if (!mmx_ready(x)) return InsnEnd::Closed;
  Value b = mmx_vector(x, read_mm(x, from));
  Value a = mmx_vector(x, get_mm(x, mmx_number(to)));
  if (form == MmxForm::Pair) a = b = x.b.binary(Op::vunpacklo_i64, a, b);
  if (form == MmxForm::Control) b = x.b.binary(Op::vand, b, x.b.konst(Type::V128, 0x8787878787878787));
  const Value r = x.b.binary(mmx_op, a, b);
  enter_mmx(x);
  set_mm(x, mmx_number(to), x.b.emit(Op::vget_lane, Type::I64, {r}, form == MmxForm::High ? 1 : 0));
  return InsnEnd::Next;
}

template <Op op, MmxForm form = MmxForm::Low, Op mmx_op = op>
InsnEnd v2(InsnContext& x) {
  return binary(x, op, mmx_op, form);
}

// PABSx: one operand
template <Op op>
InsnEnd v1(InsnContext& x) {
  if (is_xmm(x.ops[0])) {
    if (!sse_ready(x)) return InsnEnd::Closed;
    set_xmm(x, x.ops[0], x.b.unary(op, read_xmm(x, x.ops[1])));
    return InsnEnd::Next;
  }
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const Value r = x.b.unary(op, mmx_vector(x, read_mm(x, x.ops[1])));
  enter_mmx(x);
  set_mm(x, mmx_number(x.ops[0]), x.b.emit(Op::vlow, Type::I64, {r}));
  return InsnEnd::Next;
}

// PSLLW and kin: the count is an immediate or a vector's low half.
template <Op by_vector, Op by_immediate>
InsnEnd shift(InsnContext& x) {
  if (x.ops[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return binary(x, by_vector, by_vector, MmxForm::Low);
  const uint8_t count = immediate8(x.ops[1]);
  if (is_xmm(x.ops[0])) {
    if (!sse_ready(x)) return InsnEnd::Closed;
    set_xmm(x, x.ops[0], x.b.unary(by_immediate, get_xmm(x, x.ops[0]), count));
    return InsnEnd::Next;
  }
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const unsigned n = mmx_number(x.ops[0]);
  const Value r = x.b.unary(by_immediate, mmx_vector(x, get_mm(x, n)), count);
  enter_mmx(x);
  set_mm(x, n, x.b.emit(Op::vlow, Type::I64, {r}));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd shift_bytes(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  set_xmm(x, x.ops[0], x.b.unary(op, get_xmm(x, x.ops[0]), immediate8(x.ops[1])));
  return InsnEnd::Next;
}

// PMOVSX, PMOVZX: as many source bytes as the result needs.
template <Op op, Type source>
InsnEnd extend(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  Value v;
  if (!is_memory(x.ops[1])) {
    v = get_xmm(x, x.ops[1]);
  } else if (source == Type::I16) {
    v = x.b.emit(Op::vzext, Type::V128, {x.b.zext(Type::I32, x.load(x.address(x.ops[1], 2, false), Type::I16))});
  } else {
    v = read_low_vector(x, x.ops[1], source);
  }
  set_xmm(x, x.ops[0], x.b.unary(op, v));
  return InsnEnd::Next;
}

InsnEnd ptest(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_xmm(x, x.ops[1]);
  x.set_cc_flags(x.b.emit(Op::vtest, Type::I32, {get_xmm(x, x.ops[0]), b}));
  return InsnEnd::Next;
}

#define ROW(mnemonic, feature, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::feature}
// clang-format off
constexpr Row kRows[] = {
    // Those that MMX had first are known by its feature bit.
    ROW(PADDB, Mmx, &v2<Op::vadd_i8>), ROW(PADDW, Mmx, &v2<Op::vadd_i16>), ROW(PADDD, Mmx, &v2<Op::vadd_i32>),
    ROW(PADDQ, Sse2, &v2<Op::vadd_i64>),
    ROW(PSUBB, Mmx, &v2<Op::vsub_i8>), ROW(PSUBW, Mmx, &v2<Op::vsub_i16>), ROW(PSUBD, Mmx, &v2<Op::vsub_i32>),
    ROW(PSUBQ, Sse2, &v2<Op::vsub_i64>),
    ROW(PADDSB, Mmx, &v2<Op::vadds_s8>), ROW(PADDSW, Mmx, &v2<Op::vadds_s16>),
    ROW(PADDUSB, Mmx, &v2<Op::vadds_u8>), ROW(PADDUSW, Mmx, &v2<Op::vadds_u16>),
    ROW(PSUBSB, Mmx, &v2<Op::vsubs_s8>), ROW(PSUBSW, Mmx, &v2<Op::vsubs_s16>),
    ROW(PSUBUSB, Mmx, &v2<Op::vsubs_u8>), ROW(PSUBUSW, Mmx, &v2<Op::vsubs_u16>),
    ROW(PMULLW, Mmx, &v2<Op::vmullo_i16>), ROW(PMULHW, Mmx, &v2<Op::vmulhi_s16>),
    ROW(PMULHUW, Sse, &v2<Op::vmulhi_u16>), ROW(PMULHRSW, Ssse3, &v2<Op::vmulhrs_s16>),
    ROW(PMULLD, Sse41, &v2<Op::vmullo_i32>), ROW(PMULUDQ, Sse2, &v2<Op::vmulwide_u32>),
    ROW(PMULDQ, Sse41, &v2<Op::vmulwide_s32>),
    ROW(PMADDWD, Mmx, &v2<Op::vmadd_s16>), ROW(PMADDUBSW, Ssse3, &v2<Op::vmadd_u8s8>),
    ROW(PAVGB, Sse, &v2<Op::vavg_u8>), ROW(PAVGW, Sse, &v2<Op::vavg_u16>), ROW(PSADBW, Sse, &v2<Op::vsad_u8>),
    ROW(PAND, Mmx, &v2<Op::vand>), ROW(PANDN, Mmx, &v2<Op::vandn>),
    ROW(POR, Mmx, &v2<Op::vor>), ROW(PXOR, Mmx, &v2<Op::vxor>),
    ROW(PMINUB, Sse, &v2<Op::vmin_u8>), ROW(PMAXUB, Sse, &v2<Op::vmax_u8>),
    ROW(PMINSW, Sse, &v2<Op::vmin_s16>), ROW(PMAXSW, Sse, &v2<Op::vmax_s16>),
    ROW(PMINSB, Sse41, &v2<Op::vmin_s8>), ROW(PMAXSB, Sse41, &v2<Op::vmax_s8>),
    ROW(PMINUW, Sse41, &v2<Op::vmin_u16>), ROW(PMAXUW, Sse41, &v2<Op::vmax_u16>),
    ROW(PMINSD, Sse41, &v2<Op::vmin_s32>), ROW(PMAXSD, Sse41, &v2<Op::vmax_s32>),
    ROW(PMINUD, Sse41, &v2<Op::vmin_u32>), ROW(PMAXUD, Sse41, &v2<Op::vmax_u32>),
    ROW(PCMPEQB, Mmx, &v2<Op::vcmpeq_i8>), ROW(PCMPEQW, Mmx, &v2<Op::vcmpeq_i16>),
    ROW(PCMPEQD, Mmx, &v2<Op::vcmpeq_i32>), ROW(PCMPEQQ, Sse41, &v2<Op::vcmpeq_i64>),
    ROW(PCMPGTB, Mmx, &v2<Op::vcmpgt_s8>), ROW(PCMPGTW, Mmx, &v2<Op::vcmpgt_s16>),
    ROW(PCMPGTD, Mmx, &v2<Op::vcmpgt_s32>), ROW(PCMPGTQ, Sse42, &v2<Op::vcmpgt_s64>),
    ROW(PACKSSWB, Mmx, &v2<Op::vpack_s16_s8, MmxForm::Pair>), ROW(PACKSSDW, Mmx, &v2<Op::vpack_s32_s16, MmxForm::Pair>),
    ROW(PACKUSWB, Mmx, &v2<Op::vpack_s16_u8, MmxForm::Pair>), ROW(PACKUSDW, Sse41, &v2<Op::vpack_s32_u16>),
    ROW(PUNPCKLBW, Mmx, &v2<Op::vunpacklo_i8>), ROW(PUNPCKLWD, Mmx, &v2<Op::vunpacklo_i16>),
    ROW(PUNPCKLDQ, Mmx, &v2<Op::vunpacklo_i32>), ROW(PUNPCKLQDQ, Sse2, &v2<Op::vunpacklo_i64>),
    ROW(PUNPCKHBW, Mmx, &v2<Op::vunpackhi_i8, MmxForm::High, Op::vunpacklo_i8>),
    ROW(PUNPCKHWD, Mmx, &v2<Op::vunpackhi_i16, MmxForm::High, Op::vunpacklo_i16>),
    ROW(PUNPCKHDQ, Mmx, &v2<Op::vunpackhi_i32, MmxForm::High, Op::vunpacklo_i32>),
    ROW(PUNPCKHQDQ, Sse2, &v2<Op::vunpackhi_i64>),
    ROW(PSHUFB, Ssse3, &v2<Op::vshuffle_i8, MmxForm::Control>),
    ROW(PSIGNB, Ssse3, &v2<Op::vsign_s8>), ROW(PSIGNW, Ssse3, &v2<Op::vsign_s16>), ROW(PSIGND, Ssse3, &v2<Op::vsign_s32>),
    ROW(PABSB, Ssse3, &v1<Op::vabs_s8>), ROW(PABSW, Ssse3, &v1<Op::vabs_s16>), ROW(PABSD, Ssse3, &v1<Op::vabs_s32>),
    ROW(PHADDW, Ssse3, &v2<Op::vhadd_i16, MmxForm::Pair>), ROW(PHADDD, Ssse3, &v2<Op::vhadd_i32, MmxForm::Pair>),
    ROW(PHADDSW, Ssse3, &v2<Op::vhadds_s16, MmxForm::Pair>), ROW(PHSUBW, Ssse3, &v2<Op::vhsub_i16, MmxForm::Pair>),
    ROW(PHSUBD, Ssse3, &v2<Op::vhsub_i32, MmxForm::Pair>), ROW(PHSUBSW, Ssse3, &v2<Op::vhsubs_s16, MmxForm::Pair>),
    ROW(PSLLW, Mmx, &shift<Op::vshl_i16, Op::vshli_i16>), ROW(PSLLD, Mmx, &shift<Op::vshl_i32, Op::vshli_i32>),
    ROW(PSLLQ, Mmx, &shift<Op::vshl_i64, Op::vshli_i64>),
    ROW(PSRLW, Mmx, &shift<Op::vshr_i16, Op::vshri_i16>), ROW(PSRLD, Mmx, &shift<Op::vshr_i32, Op::vshri_i32>),
    ROW(PSRLQ, Mmx, &shift<Op::vshr_i64, Op::vshri_i64>),
    ROW(PSRAW, Mmx, &shift<Op::vsar_i16, Op::vsari_i16>), ROW(PSRAD, Mmx, &shift<Op::vsar_i32, Op::vsari_i32>),
    ROW(PSLLDQ, Sse2, &shift_bytes<Op::vshlbytes>), ROW(PSRLDQ, Sse2, &shift_bytes<Op::vshrbytes>),
    ROW(PMOVSXBW, Sse41, &extend<Op::vsext_i8_i16, Type::I64>), ROW(PMOVSXBD, Sse41, &extend<Op::vsext_i8_i32, Type::I32>),
    ROW(PMOVSXBQ, Sse41, &extend<Op::vsext_i8_i64, Type::I16>), ROW(PMOVSXWD, Sse41, &extend<Op::vsext_i16_i32, Type::I64>),
    ROW(PMOVSXWQ, Sse41, &extend<Op::vsext_i16_i64, Type::I32>), ROW(PMOVSXDQ, Sse41, &extend<Op::vsext_i32_i64, Type::I64>),
    ROW(PMOVZXBW, Sse41, &extend<Op::vzext_i8_i16, Type::I64>), ROW(PMOVZXBD, Sse41, &extend<Op::vzext_i8_i32, Type::I32>),
    ROW(PMOVZXBQ, Sse41, &extend<Op::vzext_i8_i64, Type::I16>), ROW(PMOVZXWD, Sse41, &extend<Op::vzext_i16_i32, Type::I64>),
    ROW(PMOVZXWQ, Sse41, &extend<Op::vzext_i16_i64, Type::I32>), ROW(PMOVZXDQ, Sse41, &extend<Op::vzext_i32_i64, Type::I64>),
    ROW(PHMINPOSUW, Sse41, &v1<Op::vminpos_u16>), ROW(PTEST, Sse41, &ptest),
    // The logic of the packed float instructions raises no exceptions: it is the integers'.
    ROW(ANDPS, Sse, &v2<Op::vand>), ROW(ANDPD, Sse2, &v2<Op::vand>), ROW(ANDNPS, Sse, &v2<Op::vandn>),
    ROW(ANDNPD, Sse2, &v2<Op::vandn>), ROW(ORPS, Sse, &v2<Op::vor>), ROW(ORPD, Sse2, &v2<Op::vor>),
    ROW(XORPS, Sse, &v2<Op::vxor>), ROW(XORPD, Sse2, &v2<Op::vxor>),
    ROW(UNPCKLPS, Sse, &v2<Op::vunpacklo_i32>), ROW(UNPCKLPD, Sse2, &v2<Op::vunpacklo_i64>),
    ROW(UNPCKHPS, Sse, &v2<Op::vunpackhi_i32>), ROW(UNPCKHPD, Sse2, &v2<Op::vunpackhi_i64>),
};
// clang-format on
#undef ROW

}  // namespace

std::span<const Row> sse_integer_rows() { return kRows; }

}  // namespace panda::x86
