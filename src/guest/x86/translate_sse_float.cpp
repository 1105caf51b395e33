// SSE arithmetic, compares and approximations on floats, scalar and packed. Each operation is one
// IR op under the guest's rounding mode; exceptions are masked on the host, and looked at after
// the fact where the guest unmasks them (SseExceptionScope).
#include "guest/x86/simd_helpers.h"
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

void check_result(SseExceptionScope& scope, Value result, Type lane) {
  if (lane == Type::Void)
    scope.check();
  else
    scope.check(result, lane);
}

// Destination op= source, in all lanes. imm: compare predicates and the like are operand 2.
InsnEnd packed(InsnContext& x, Op op, uint64_t imm = 0) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_xmm(x, x.ops[1]);
  SseExceptionScope scope(x);
  const Value r = x.b.binary(op, get_xmm(x, x.ops[0]), b, imm);
  check_result(scope, r, underflowing(op));
  set_xmm(x, x.ops[0], r);
  return InsnEnd::Next;
}

InsnEnd packed_unary(InsnContext& x, Op op, uint64_t imm = 0) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = read_xmm(x, x.ops[1]);
  SseExceptionScope scope(x);
  const Value r = x.b.unary(op, a, imm);
  scope.check();
  set_xmm(x, x.ops[0], r);
  return InsnEnd::Next;
}

// Lane 0 alone; the rest of the destination stays.
Value with_low(InsnContext& x, Value low) { return x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), low}); }

InsnEnd scalar(InsnContext& x, Op op, Type type, uint64_t imm = 0) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_low(x, x.ops[1], type);
  const Value a = read_low(x, x.ops[0], type);
  SseExceptionScope scope(x);
  const Value r = x.b.binary(op, a, b, imm);
  check_result(scope, r, scalar_underflows(op) ? type : Type::Void);
  set_xmm(x, x.ops[0], with_low(x, r));
  return InsnEnd::Next;
}

InsnEnd scalar_unary(InsnContext& x, Op op, Type type, uint64_t imm = 0) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = read_low(x, x.ops[1], type);
  SseExceptionScope scope(x);
  const Value r = x.b.unary(op, a, imm);
  scope.check();
  set_xmm(x, x.ops[0], with_low(x, r));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd ps(InsnContext& x) {
  return packed(x, op);
}
template <Op op>
InsnEnd ps_unary(InsnContext& x) {
  return packed_unary(x, op);
}
template <Op op, Type lane>
InsnEnd dot_product(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const uint64_t imm = immediate8(x.ops[2]);
  const Value b = read_xmm(x, x.ops[1]), a = get_xmm(x, x.ops[0]);
  check_dot_product(x, lane, {&a, 1}, {&b, 1}, imm);
  SseExceptionScope scope(x);
  const Value r = x.b.binary(op, a, b, imm);
  scope.check(r, lane);
  set_xmm(x, x.ops[0], r);
  return InsnEnd::Next;
}
template <Op op, Type type>
InsnEnd ss(InsnContext& x) {
  return scalar(x, op, type);
}
template <Op op, Type type>
InsnEnd ss_unary(InsnContext& x) {
  return scalar_unary(x, op, type);
}

// Legacy compares look at three bits of the predicate; the decoder hands the byte on.
template <Op op>
InsnEnd compare_packed(InsnContext& x) {
  return packed(x, op, immediate8(x.ops[2]) & 7);
}
template <Type type>
InsnEnd compare_scalar(InsnContext& x) {
  return scalar(x, Op::fcmp_mask, type, immediate8(x.ops[2]) & 7);
}

template <Op op>
InsnEnd round_packed(InsnContext& x) {
  return packed_unary(x, op, immediate8(x.ops[2]) & 15);
}
template <Type type>
InsnEnd round_scalar(InsnContext& x) {
  return scalar_unary(x, Op::fround, type, immediate8(x.ops[2]) & 15);
}

// COMISS, UCOMISS and the like: EFLAGS
template <Op op, Type type>
InsnEnd compare_flags(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_low(x, x.ops[1], type);
  const Value a = read_low(x, x.ops[0], type);
  SseExceptionScope scope(x);
  const Value flags = x.b.emit(op, Type::I32, {a, b});
  scope.check();
  x.set_cc_flags(flags);
  return InsnEnd::Next;
}

// RCPSS, RSQRTSS: software, no exceptions
template <const ir::HelperDesc& helper>
InsnEnd approximate_scalar(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value r = x.call(helper, {read_low(x, x.ops[1], Type::I32)});
  set_xmm(x, x.ops[0], with_low(x, r));
  return InsnEnd::Next;
}

template <const ir::HelperDesc& helper>
InsnEnd approximate_packed(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value a = read_xmm(x, x.ops[1]);
  const Value low = x.call(helper, {x.b.emit(Op::vget_lane, Type::I64, {a}, 0)});
  const Value high = x.call(helper, {x.b.emit(Op::vget_lane, Type::I64, {a}, 1)});
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {x.b.emit(Op::vzext, Type::V128, {low}), high}, 1));
  return InsnEnd::Next;
}

#define ROW(mnemonic, feature, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::feature}
#define ARITHMETIC(name, scalar_op, ps_op, pd_op)                                                        \
  ROW(name##SS, Sse, &ss<Op::scalar_op, Type::F32>), ROW(name##SD, Sse2, &ss<Op::scalar_op, Type::F64>), \
      ROW(name##PS, Sse, &ps<Op::ps_op>), ROW(name##PD, Sse2, &ps<Op::pd_op>)
constexpr Row kRows[] = {
    ARITHMETIC(ADD, fadd, vadd_f32, vadd_f64),
    ARITHMETIC(SUB, fsub, vsub_f32, vsub_f64),
    ARITHMETIC(MUL, fmul, vmul_f32, vmul_f64),
    ARITHMETIC(DIV, fdiv, vdiv_f32, vdiv_f64),
    ARITHMETIC(MIN, fmin, vmin_f32, vmin_f64),
    ARITHMETIC(MAX, fmax, vmax_f32, vmax_f64),
    ROW(SQRTSS, Sse, &ss_unary<Op::fsqrt, Type::F32>),
    ROW(SQRTSD, Sse2, &ss_unary<Op::fsqrt, Type::F64>),
    ROW(SQRTPS, Sse, &ps_unary<Op::vsqrt_f32>),
    ROW(SQRTPD, Sse2, &ps_unary<Op::vsqrt_f64>),
    ROW(CMPSS, Sse, &compare_scalar<Type::F32>),
    ROW(CMPSD, Sse2, &compare_scalar<Type::F64>),
    ROW(CMPPS, Sse, &compare_packed<Op::vcmp_f32>),
    ROW(CMPPD, Sse2, &compare_packed<Op::vcmp_f64>),
    ROW(ROUNDSS, Sse41, &round_scalar<Type::F32>),
    ROW(ROUNDSD, Sse41, &round_scalar<Type::F64>),
    ROW(ROUNDPS, Sse41, &round_packed<Op::vround_f32>),
    ROW(ROUNDPD, Sse41, &round_packed<Op::vround_f64>),
    ROW(COMISS, Sse, &compare_flags<Op::fcomi, Type::F32>),
    ROW(COMISD, Sse2, &compare_flags<Op::fcomi, Type::F64>),
    ROW(UCOMISS, Sse, &compare_flags<Op::fucomi, Type::F32>),
    ROW(UCOMISD, Sse2, &compare_flags<Op::fucomi, Type::F64>),
    ROW(ADDSUBPS, Sse3, &ps<Op::vaddsub_f32>),
    ROW(ADDSUBPD, Sse3, &ps<Op::vaddsub_f64>),
    ROW(HADDPS, Sse3, &ps<Op::vhadd_f32>),
    ROW(HADDPD, Sse3, &ps<Op::vhadd_f64>),
    ROW(HSUBPS, Sse3, &ps<Op::vhsub_f32>),
    ROW(HSUBPD, Sse3, &ps<Op::vhsub_f64>),
    ROW(DPPS, Sse41, &dot_product<Op::vdp_f32, Type::F32>),
    ROW(DPPD, Sse41, &dot_product<Op::vdp_f64, Type::F64>),
    ROW(RCPSS, Sse, &approximate_scalar<kRcp>),
    ROW(RCPPS, Sse, &approximate_packed<kRcpPair>),
    ROW(RSQRTSS, Sse, &approximate_scalar<kRsqrt>),
    ROW(RSQRTPS, Sse, &approximate_packed<kRsqrtPair>),
};
#undef ARITHMETIC
#undef ROW

}  // namespace

std::span<const Row> sse_float_rows() { return kRows; }

}  // namespace panda::x86
