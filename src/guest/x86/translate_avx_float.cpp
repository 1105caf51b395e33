// AVX arithmetic and compares on floats, scalar and packed (SDM vol. 1, 14.1).
#include "guest/x86/simd_helpers.h"
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

template <Op op>
InsnEnd packed(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) { return x.b.binary(op, half_of(a, h), half_of(b, h)); }));
  return InsnEnd::Next;
}

// VDPPS: the immediate counts for each half.
template <Op op, Type lane>
InsnEnd dot_product(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const uint8_t imm = immediate8(x.ops[3]);
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  const Value from_a[] = {a.low, a.high}, from_b[] = {b.low, b.high};
  const size_t halves = wide ? 2 : 1;
  check_dot_product(x, lane, {from_a, halves}, {from_b, halves}, imm);
  set_wide(x, x.ops[0],
           compute<op>(x, wide, [&](unsigned h) { return x.b.binary(op, half_of(a, h), half_of(b, h), imm); }));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd packed_unary(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h)); }));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd round_packed(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  const uint64_t imm = immediate8(x.ops[2]) & 15;
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h), imm); }));
  return InsnEnd::Next;
}

// Lane 0 computed, the rest of the first source kept.
void set_low(InsnContext& x, Value low) {
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), low}));
}

template <Op op, Type type>
InsnEnd scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value b = read_low(x, x.ops[2], type);
  const Value a = read_low(x, x.ops[1], type);
  SseExceptionScope scope(x);
  const Value r = x.b.binary(op, a, b);
  if (scalar_underflows(op)) scope.note_tiny(r, type);
  scope.check();
  set_low(x, r);
  return InsnEnd::Next;
}

template <Op op, Type type>
InsnEnd scalar_unary(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value b = read_low(x, x.ops[2], type);
  const uint64_t imm = op == Op::fround ? immediate8(x.ops[3]) & 15 : 0;
  SseExceptionScope scope(x);
  const Value r = x.b.unary(op, b, imm);
  scope.check();
  set_low(x, r);
  return InsnEnd::Next;
}

// The 32 predicates of VCMPPS (SDM vol. 2, CMPPD, table 3-1) by the eight of CMPPS: bit 3 asks the
// question with operands and NaNs the other way about, bit 4 says whether a QNaN raises an exception
// the other way about.
Value compare(InsnContext& x, Op op, Value a, Value b, unsigned predicate) {
  ir::Builder& e = x.b;
  enum : uint64_t { kEq, kLt, kLe, kUnord, kNeq, kNlt, kNle, kOrd };
  const Value zero = e.konst(Type::V128, 0);
  const auto cmp = [&](uint64_t p, Value l, Value r) { return e.binary(op, l, r, p); };
  const unsigned question = predicate & 15;
  const bool flipped = (predicate & 16) != 0;
  const bool ordering = question == 1 || question == 2 || question == 5 || question == 6 || question == 9 ||
                        question == 10 || question == 13 || question == 14;
  if (flipped && ordering) {
    // Quiet: lanes with a NaN are compared as zeros, and only a signalling one raises an exception.
    const Value ordered = cmp(kOrd, a, b);
    a = e.binary(Op::vand, a, ordered);
    b = e.binary(Op::vand, b, ordered);
    const Value r = compare(x, op, a, b, question);
    const bool true_of_nan = question == 5 || question == 6 || question == 9 || question == 10;
    return true_of_nan ? e.binary(Op::vor, r, e.binary(Op::vandn, ordered, e.konst(Type::V128, ~uint64_t{0})))
                       : e.binary(Op::vand, r, ordered);
  }
  Value r;
  switch (question) {
    case 8:  // EQ_UQ
      r = e.binary(Op::vor, cmp(kEq, a, b), cmp(kUnord, a, b));
      break;
    case 9:  // NGE
      r = cmp(kNle, b, a);
      break;
    case 10:  // NGT
      r = cmp(kNlt, b, a);
      break;
    case 11:  // FALSE
      r = e.binary(Op::vand, cmp(kEq, a, b), zero);
      break;
    case 12:  // NEQ_OQ
      r = e.binary(Op::vand, cmp(kNeq, a, b), cmp(kOrd, a, b));
      break;
    case 13:  // GE
      r = cmp(kLe, b, a);
      break;
    case 14:  // GT
      r = cmp(kLt, b, a);
      break;
    case 15:  // TRUE
      r = e.binary(Op::vor, cmp(kEq, a, b), e.konst(Type::V128, ~uint64_t{0}));
      break;
    default:
      r = cmp(question, a, b);
      break;
  }
  // Signalling: an ordering compare raises what a QNaN should; its result does not count.
  if (flipped) r = e.binary(Op::vor, r, e.binary(Op::vand, cmp(kLt, a, b), zero));
  return r;
}

template <Op op>
InsnEnd compare_packed(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const unsigned predicate = immediate8(x.ops[3]) & 31;
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0],
           compute<op>(x, wide, [&](unsigned h) { return compare(x, op, half_of(a, h), half_of(b, h), predicate); }));
  return InsnEnd::Next;
}

// A packed compare of lane 0 above zeros, which raise nothing.
template <Op op, Type type>
InsnEnd compare_scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const unsigned predicate = immediate8(x.ops[3]) & 31;
  const Value b = x.b.emit(Op::vzext, Type::V128, {read_low(x, x.ops[2], type)});
  const Value a = x.b.emit(Op::vzext, Type::V128, {read_low(x, x.ops[1], type)});
  SseExceptionScope scope(x);
  const Value r = x.b.emit(Op::vlow, type, {compare(x, op, a, b, predicate)});
  scope.check();
  set_low(x, r);
  return InsnEnd::Next;
}

// VRCPSS, VRSQRTSS and their packed forms: software, no exceptions.
template <const ir::HelperDesc& helper>
InsnEnd approximate_scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  set_low(x, x.call(helper, {read_low(x, x.ops[2], Type::I32)}));
  return InsnEnd::Next;
}

template <const ir::HelperDesc& helper>
InsnEnd approximate_packed(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             const Value low = x.call(helper, {x.b.emit(Op::vget_lane, Type::I64, {half_of(a, h)}, 0)});
             const Value high = x.call(helper, {x.b.emit(Op::vget_lane, Type::I64, {half_of(a, h)}, 1)});
             return x.b.emit(Op::vset_lane, Type::V128, {x.b.emit(Op::vzext, Type::V128, {low}), high}, 1);
           }));
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
#define ARITHMETIC(name, scalar_op, ps_op, pd_op)                                                           \
  ROW(V##name##SS, &scalar<Op::scalar_op, Type::F32>), ROW(V##name##SD, &scalar<Op::scalar_op, Type::F64>), \
      ROW(V##name##PS, &packed<Op::ps_op>), ROW(V##name##PD, &packed<Op::pd_op>)
constexpr Row kRows[] = {
    ARITHMETIC(ADD, fadd, vadd_f32, vadd_f64),
    ARITHMETIC(SUB, fsub, vsub_f32, vsub_f64),
    ARITHMETIC(MUL, fmul, vmul_f32, vmul_f64),
    ARITHMETIC(DIV, fdiv, vdiv_f32, vdiv_f64),
    ARITHMETIC(MIN, fmin, vmin_f32, vmin_f64),
    ARITHMETIC(MAX, fmax, vmax_f32, vmax_f64),
    ROW(VSQRTSS, &scalar_unary<Op::fsqrt, Type::F32>),
    ROW(VSQRTSD, &scalar_unary<Op::fsqrt, Type::F64>),
    ROW(VSQRTPS, &packed_unary<Op::vsqrt_f32>),
    ROW(VSQRTPD, &packed_unary<Op::vsqrt_f64>),
    ROW(VCMPSS, &compare_scalar<Op::vcmp_f32, Type::F32>),
    ROW(VCMPSD, &compare_scalar<Op::vcmp_f64, Type::F64>),
    ROW(VCMPPS, &compare_packed<Op::vcmp_f32>),
    ROW(VCMPPD, &compare_packed<Op::vcmp_f64>),
    ROW(VROUNDSS, &scalar_unary<Op::fround, Type::F32>),
    ROW(VROUNDSD, &scalar_unary<Op::fround, Type::F64>),
    ROW(VROUNDPS, &round_packed<Op::vround_f32>),
    ROW(VROUNDPD, &round_packed<Op::vround_f64>),
    ROW(VADDSUBPS, &packed<Op::vaddsub_f32>),
    ROW(VADDSUBPD, &packed<Op::vaddsub_f64>),
    ROW(VHADDPS, &packed<Op::vhadd_f32>),
    ROW(VHADDPD, &packed<Op::vhadd_f64>),
    ROW(VHSUBPS, &packed<Op::vhsub_f32>),
    ROW(VHSUBPD, &packed<Op::vhsub_f64>),
    ROW(VDPPS, &dot_product<Op::vdp_f32, Type::F32>),
    ROW(VDPPD, &dot_product<Op::vdp_f64, Type::F64>),
    ROW(VRCPSS, &approximate_scalar<kRcp>),
    ROW(VRCPPS, &approximate_packed<kRcpPair>),
    ROW(VRSQRTSS, &approximate_scalar<kRsqrt>),
    ROW(VRSQRTPS, &approximate_packed<kRsqrtPair>),
};
#undef ARITHMETIC
#undef ROW

}  // namespace

std::span<const Row> avx_float_rows() { return kRows; }

}  // namespace panda::x86
