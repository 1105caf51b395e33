// AVX conversions (SDM vol. 1, 14.1). The rounding and the exceptions are those of the SSE ones.
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

// Lanes of one width.
template <Op op>
InsnEnd same_width(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h)); }));
  return InsnEnd::Next;
}

// To lanes twice as wide: from 64 bits, or 128 for a YMM register.
template <Op op>
InsnEnd widening(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Value a = read_part(x, x.ops[1], wide ? 16 : 8);
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) {
             return x.b.unary(op, h == 0 ? a : x.b.unary(Op::vshrbytes, a, 8));
           }));
  return InsnEnd::Next;
}

// To lanes half as wide: an XMM register, of which a 128-bit source fills the lower half.
template <Op op>
InsnEnd narrowing(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  const Wide r = compute<op>(x, wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h)); });
  set_xmm(x, x.ops[0], wide ? x.b.binary(Op::vunpacklo_i64, r.low, r.high) : r.low);
  return InsnEnd::Next;
}

void set_low(InsnContext& x, Value low) {
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), low}));
}

// VCVTSS2SD, VCVTSD2SS
template <Op op, Type from, Type to>
InsnEnd scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value a = read_low(x, x.ops[2], from);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(op, to, {a});
  if (scalar_underflows(op)) scope.note_tiny(r, to);
  scope.check();
  set_low(x, r);
  return InsnEnd::Next;
}

// VCVTSI2SS, VCVTSI2SD
template <Op op, Type to>
InsnEnd from_int(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value a = x.read(x.ops[2]);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(op, to, {a});
  scope.check();
  set_low(x, r);
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
constexpr Row kRows[] = {
    ROW(VCVTDQ2PS, &same_width<Op::vcvt_s32_f32>),
    ROW(VCVTPS2DQ, &same_width<Op::vcvt_f32_s32>),
    ROW(VCVTTPS2DQ, &same_width<Op::vcvtt_f32_s32>),
    ROW(VCVTDQ2PD, &widening<Op::vcvt_s32_f64>),
    ROW(VCVTPS2PD, &widening<Op::vcvt_f32_f64>),
    ROW(VCVTPD2DQ, &narrowing<Op::vcvt_f64_s32>),
    ROW(VCVTTPD2DQ, &narrowing<Op::vcvtt_f64_s32>),
    ROW(VCVTPD2PS, &narrowing<Op::vcvt_f64_f32>),
    ROW(VCVTSS2SD, &scalar<Op::f32_to_f64, Type::F32, Type::F64>),
    ROW(VCVTSD2SS, &scalar<Op::f64_to_f32, Type::F64, Type::F32>),
    ROW(VCVTSI2SS, &from_int<Op::int_to_f32, Type::F32>),
    ROW(VCVTSI2SD, &from_int<Op::int_to_f64, Type::F64>),
};
#undef ROW

}  // namespace

std::span<const Row> avx_convert_rows() { return kRows; }

}  // namespace panda::x86
