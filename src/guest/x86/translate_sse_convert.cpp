// SSE conversions, those with MMX registers included (SDM vol. 1, 10.4.3 and 11.4.1.6).
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

// Packed, from the whole source or its low half.
template <Op op, bool half>
InsnEnd convert_packed(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = half ? read_low_vector(x, x.ops[1], Type::I64) : read_xmm(x, x.ops[1]);
  SseExceptionScope scope(x);
  const Value r = x.b.unary(op, a);
  if (op == Op::vcvt_f64_f32)
    scope.check(r, Type::F32);
  else
    scope.check();
  set_xmm(x, x.ops[0], r);
  return InsnEnd::Next;
}

// CVTSS2SD, CVTSD2SS
template <Op op, Type from, Type to>
InsnEnd convert_scalar(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = read_low(x, x.ops[1], from);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(op, to, {a});
  if (to == Type::F32)
    scope.check(r, Type::F32);
  else
    scope.check();
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), r}));
  return InsnEnd::Next;
}

// CVTSI2SS, CVTSI2SD
template <Op op, Type to>
InsnEnd convert_from_int(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = x.read(x.ops[1]);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(op, to, {a});
  scope.check();
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), r}));
  return InsnEnd::Next;
}

// CVTSS2SI, CVTTSD2SI and kin
template <Op op, Type from>
InsnEnd convert_to_int(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = read_low(x, x.ops[1], from);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(op, x.ops[0].size == 64 ? Type::I64 : Type::I32, {a});
  scope.check();
  x.set_reg(x.ops[0].reg.value, r);
  return InsnEnd::Next;
}

// CVTPI2PS: two integers into the low half. CVTPI2PD with a memory operand leaves the MMX state alone.
InsnEnd cvtpi2ps(InsnContext& x) {
  if (!sse_ready(x) || !mmx_ready(x)) return InsnEnd::Closed;
  const Value a = x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])});
  SseExceptionScope scope(x);
  const Value r = x.b.emit(Op::vlow, Type::I64, {x.b.unary(Op::vcvt_s32_f32, a)});
  scope.check();
  enter_mmx(x);
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), r}));
  return InsnEnd::Next;
}

InsnEnd cvtpi2pd(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[1])) return convert_packed<Op::vcvt_s32_f64, true>(x);
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const Value r = x.b.unary(Op::vcvt_s32_f64, x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])}));
  enter_mmx(x);
  set_xmm(x, x.ops[0], r);
  return InsnEnd::Next;
}

// CVTPS2PI, CVTPD2PI and their truncating forms: two integers into an MMX register.
template <Op op, bool half>
InsnEnd convert_to_mmx(InsnContext& x) {
  if (!sse_ready(x) || !mmx_ready(x)) return InsnEnd::Closed;
  // Of a register's four floats only two may raise exceptions.
  const Value a = half ? x.b.emit(Op::vzext, Type::V128, {read_low(x, x.ops[1], Type::I64)}) : read_xmm(x, x.ops[1]);
  SseExceptionScope scope(x);
  const Value r = x.b.emit(Op::vlow, Type::I64, {x.b.unary(op, a)});
  scope.check();
  enter_mmx(x);
  set_mm(x, mmx_number(x.ops[0]), r);
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_CVTDQ2PS, &convert_packed<Op::vcvt_s32_f32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPS2DQ, &convert_packed<Op::vcvt_f32_s32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTTPS2DQ, &convert_packed<Op::vcvtt_f32_s32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTDQ2PD, &convert_packed<Op::vcvt_s32_f64, true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPD2DQ, &convert_packed<Op::vcvt_f64_s32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTTPD2DQ, &convert_packed<Op::vcvtt_f64_s32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPS2PD, &convert_packed<Op::vcvt_f32_f64, true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPD2PS, &convert_packed<Op::vcvt_f64_f32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTSS2SD, &convert_scalar<Op::f32_to_f64, Type::F32, Type::F64>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTSD2SS, &convert_scalar<Op::f64_to_f32, Type::F64, Type::F32>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTSI2SS, &convert_from_int<Op::int_to_f32, Type::F32>, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTSI2SD, &convert_from_int<Op::int_to_f64, Type::F64>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTSS2SI, &convert_to_int<Op::float_to_int, Type::F32>, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTTSS2SI, &convert_to_int<Op::float_to_int_trunc, Type::F32>, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTSD2SI, &convert_to_int<Op::float_to_int, Type::F64>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTTSD2SI, &convert_to_int<Op::float_to_int_trunc, Type::F64>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPI2PS, &cvtpi2ps, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTPI2PD, &cvtpi2pd, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTPS2PI, &convert_to_mmx<Op::vcvt_f32_s32, true>, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTTPS2PI, &convert_to_mmx<Op::vcvtt_f32_s32, true>, Feature::Sse},
    {ZYDIS_MNEMONIC_CVTPD2PI, &convert_to_mmx<Op::vcvt_f64_s32, false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_CVTTPD2PI, &convert_to_mmx<Op::vcvtt_f64_s32, false>, Feature::Sse2},
};

}  // namespace

std::span<const Row> sse_convert_rows() { return kRows; }

}  // namespace panda::x86
