// FMA and F16C (SDM vol. 1, 14.4 and 14.5). The digits of a mnemonic say which operands are multiplied:
// 132 the first and the third, 213 the second and the first, 231 the second and the third; the one
// left out is added. That order also decides which of several NaNs comes out.
#include "base/soft_float.h"
#include "guest/x86/avx_helpers.h"
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

struct FmaOperands {
  unsigned a, b, c;
};
template <unsigned order>
constexpr FmaOperands kFmaOperands = order == 132   ? FmaOperands{0, 2, 1}
                                     : order == 213 ? FmaOperands{1, 0, 2}
                                                    : FmaOperands{1, 2, 0};

template <Op op, FmaKind kind, unsigned order>
InsnEnd fma_packed(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  Wide v[3];
  v[2] = read_wide(x, x.ops[2], wide);
  for (unsigned i = 0; i < 2; ++i) v[i] = get_wide(x, x.ops[i], wide);
  constexpr FmaOperands kUse = kFmaOperands<order>;
  set_wide(x, x.ops[0], compute<op>(x, wide, [&](unsigned h) {
             return x.b.emit(op, Type::V128, {half_of(v[kUse.a], h), half_of(v[kUse.b], h), half_of(v[kUse.c], h)},
                             static_cast<uint64_t>(kind));
           }));
  return InsnEnd::Next;
}

template <Type type, FmaKind kind, unsigned order>
InsnEnd fma_scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  Value v[3];
  v[2] = read_low(x, x.ops[2], type);
  for (unsigned i = 0; i < 2; ++i) v[i] = read_low(x, x.ops[i], type);
  constexpr FmaOperands kUse = kFmaOperands<order>;
  SseExceptionScope scope(x);
  const Value r = x.b.emit(Op::ffma, type, {v[kUse.a], v[kUse.b], v[kUse.c]}, static_cast<uint64_t>(kind));
  scope.check(r, type);
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), r}));
  return InsnEnd::Next;
}

InsnEnd vcvtph2ps(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Value a = read_part(x, x.ops[1], wide ? 16 : 8);
  set_wide(x, x.ops[0], compute<Op::vcvt_f16_f32>(x, wide, [&](unsigned h) {
             return x.b.unary(Op::vcvt_f16_f32, h == 0 ? a : x.b.unary(Op::vshrbytes, a, 8));
           }));
  return InsnEnd::Next;
}

InsnEnd vcvtps2ph(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const uint64_t rounding = immediate8(x.ops[2]) & 7;
  const Wide a = get_wide(x, x.ops[1], wide);
  // A store that faults leaves the exception flags as they were.
  const unsigned bytes = wide ? 16 : 8;
  Memory to;
  if (is_memory(x.ops[0])) {
    to = x.address(x.ops[0], bytes, true);
    x.call(kAvxProbeStore, {to.linear, x.b.i32(bytes)});
  }
  const Wide halves = compute<Op::vcvt_f32_f16>(
      x, wide, [&](unsigned h) { return x.b.unary(Op::vcvt_f32_f16, half_of(a, h), rounding); });
  const Value r = wide ? x.b.binary(Op::vunpacklo_i64, halves.low, halves.high) : halves.low;
  if (!is_memory(x.ops[0])) {
    set_xmm(x, x.ops[0], r);
  } else if (wide) {
    x.store(to, r);
  } else {
    x.store(to, x.b.emit(Op::vlow, Type::I64, {r}));
  }
  return InsnEnd::Next;
}

#define PACKED(name, kind, order)                                                                       \
  {ZYDIS_MNEMONIC_V##name##order##PS, &fma_packed<Op::vfma_f32, FmaKind::kind, order>, Feature::Fma}, { \
    ZYDIS_MNEMONIC_V##name##order##PD, &fma_packed<Op::vfma_f64, FmaKind::kind, order>, Feature::Fma    \
  }
#define SCALAR(name, kind, order)                                                                    \
  {ZYDIS_MNEMONIC_V##name##order##SS, &fma_scalar<Type::F32, FmaKind::kind, order>, Feature::Fma}, { \
    ZYDIS_MNEMONIC_V##name##order##SD, &fma_scalar<Type::F64, FmaKind::kind, order>, Feature::Fma    \
  }
#define ORDERS(family, name, kind) family(name, kind, 132), family(name, kind, 213), family(name, kind, 231)
constexpr Row kRows[] = {
    ORDERS(PACKED, FMADD, Add),
    ORDERS(SCALAR, FMADD, Add),
    ORDERS(PACKED, FMSUB, Sub),
    ORDERS(SCALAR, FMSUB, Sub),
    ORDERS(PACKED, FNMADD, NegatedAdd),
    ORDERS(SCALAR, FNMADD, NegatedAdd),
    ORDERS(PACKED, FNMSUB, NegatedSub),
    ORDERS(SCALAR, FNMSUB, NegatedSub),
    ORDERS(PACKED, FMADDSUB, AddSub),
    ORDERS(PACKED, FMSUBADD, SubAdd),
    {ZYDIS_MNEMONIC_VCVTPH2PS, &vcvtph2ps, Feature::F16c},
    {ZYDIS_MNEMONIC_VCVTPS2PH, &vcvtps2ph, Feature::F16c},
};
#undef ORDERS
#undef SCALAR
#undef PACKED

}  // namespace

std::span<const Row> fma_rows() { return kRows; }

}  // namespace panda::x86
