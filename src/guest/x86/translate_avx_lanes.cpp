// AVX shuffles and blends within the 128-bit halves, single lanes in and sign masks out (SDM vol. 1, 14.1).
// Extracts have the operands of their SSE forms (translate_avx.cpp).
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

// What a half takes of the immediate: the same for both, or `bits` each.
constexpr uint64_t immediate_of_half(uint8_t imm, unsigned half, unsigned bits) {
  return bits == 8 ? imm : imm >> (half * bits) & ((1u << bits) - 1);
}

// One source, immediate control: VPSHUFD and kin.
template <Op op>
InsnEnd shuffle1(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const uint8_t imm = immediate8(x.ops[2]);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h), imm); }));
  return InsnEnd::Next;
}

// Two sources, immediate control: VSHUFPS, VBLENDPS, VPALIGNR, VMPSADBW and kin.
template <Op op, unsigned bits = 8>
InsnEnd shuffle2(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const uint8_t imm = immediate8(x.ops[3]);
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             return x.b.binary(op, half_of(a, h), half_of(b, h), immediate_of_half(imm, h, bits));
           }));
  return InsnEnd::Next;
}

// VPERMILPD by immediate: two bits a half.
template <Op op, unsigned bits>
InsnEnd shuffle_twice(InsnContext& x, const ZydisDecodedOperand& source, uint8_t imm) {
  const bool wide = is_256(x);
  const Wide a = read_wide(x, source, wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             return x.b.binary(op, half_of(a, h), half_of(a, h), immediate_of_half(imm, h, bits));
           }));
  return InsnEnd::Next;
}

// VPERMILPS: by an immediate, or by bits 0-1 of each of the control's lanes, here made PSHUFB's control.
InsnEnd vpermilps(InsnContext& x) {
  if (x.ops[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return shuffle1<Op::vpshufd>(x);
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  ir::Builder& b = x.b;
  const Wide control = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             Value c = b.binary(Op::vand, half_of(control, h), b.konst(Type::V128, 0x0000'0003'0000'0003));
             c = b.binary(Op::vmullo_i32, c, b.konst(Type::V128, 0x0404'0404'0404'0404));
             c = b.binary(Op::vadd_i32, c, b.konst(Type::V128, 0x0302'0100'0302'0100));
             return b.binary(Op::vshuffle_i8, half_of(a, h), c);
           }));
  return InsnEnd::Next;
}

// VPERMILPD: bit 1 of each of the control's lanes.
InsnEnd vpermilpd(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  if (x.ops[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    return shuffle_twice<Op::vshufpd, 2>(x, x.ops[1], immediate8(x.ops[2]));
  }
  const bool wide = is_256(x);
  const Wide control = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             const Value v = half_of(a, h);
             const Value mask = x.b.unary(Op::vshli_i64, half_of(control, h), 62);
             return x.b.emit(Op::vblendvpd, Type::V128,
                             {x.b.binary(Op::vunpacklo_i64, v, v), x.b.binary(Op::vunpackhi_i64, v, v), mask});
           }));
  return InsnEnd::Next;
}

// VPBLENDVB, VBLENDVPS, VBLENDVPD: the mask is the fourth operand.
template <Op op>
InsnEnd blend_variable(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide), mask = get_wide(x, x.ops[3], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             return x.b.emit(op, Type::V128, {half_of(a, h), half_of(b, h), half_of(mask, h)});
           }));
  return InsnEnd::Next;
}

// VINSERTPS: from memory one float, which counts as lane 0 whatever the immediate says.
InsnEnd vinsertps(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  uint8_t control = immediate8(x.ops[3]);
  if (is_memory(x.ops[2])) control &= 0x3f;
  const Value b = read_part(x, x.ops[2], 4);
  set_xmm(x, x.ops[0], x.b.binary(Op::vinsertps, get_xmm(x, x.ops[1]), b, control));
  return InsnEnd::Next;
}

// VPINSRx: the source's low bits, from a register or memory of the lane's width.
template <Type lane_type>
InsnEnd insert(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const unsigned lane = immediate8(x.ops[3]) & (16 / ir::size_bytes(lane_type) - 1);
  Value v;
  if (is_memory(x.ops[2]))
    v = x.load(x.address(x.ops[2], ir::size_bytes(lane_type), false), lane_type);
  else
    v = x.b.trunc(lane_type, x.reg(x.ops[2].reg.value));
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), v}, lane));
  return InsnEnd::Next;
}

template <uint32_t lane_bytes>
InsnEnd move_mask(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = get_wide(x, x.ops[1], wide);
  Value r = x.b.emit(Op::vmovmsk, Type::I32, {a.low}, 0, lane_bytes);
  if (wide) {
    const Value high = x.b.emit(Op::vmovmsk, Type::I32, {a.high}, 0, lane_bytes);
    r = x.b.or_(r, x.b.shift(Op::shl, high, x.b.i8(16 / lane_bytes)));
  }
  write_gpr(x, x.ops[0], r);
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
constexpr Row kRows[] = {
    ROW(VPSHUFD, &shuffle1<Op::vpshufd>),
    ROW(VPSHUFLW, &shuffle1<Op::vpshuflw>),
    ROW(VPSHUFHW, &shuffle1<Op::vpshufhw>),
    ROW(VPERMILPS, &vpermilps),
    ROW(VPERMILPD, &vpermilpd),
    ROW(VSHUFPS, &shuffle2<Op::vshufps>),
    ROW(VSHUFPD, &shuffle2<Op::vshufpd, 2>),
    ROW(VPALIGNR, &shuffle2<Op::vpalignr>),
    ROW(VPBLENDW, &shuffle2<Op::vblend_i16>),
    ROW(VPBLENDD, &shuffle2<Op::vblendps, 4>),
    ROW(VBLENDPS, &shuffle2<Op::vblendps, 4>),
    ROW(VBLENDPD, &shuffle2<Op::vblendpd, 2>),
    ROW(VMPSADBW, &shuffle2<Op::vmpsadbw, 3>),
    ROW(VPBLENDVB, &blend_variable<Op::vblendv_i8>),
    ROW(VBLENDVPS, &blend_variable<Op::vblendvps>),
    ROW(VBLENDVPD, &blend_variable<Op::vblendvpd>),
    ROW(VINSERTPS, &vinsertps),
    ROW(VPINSRB, &insert<Type::I8>),
    ROW(VPINSRW, &insert<Type::I16>),
    ROW(VPINSRD, &insert<Type::I32>),
    ROW(VPINSRQ, &insert<Type::I64>),
    ROW(VPMOVMSKB, &move_mask<1>),
    ROW(VMOVMSKPS, &move_mask<4>),
    ROW(VMOVMSKPD, &move_mask<8>),
};
#undef ROW

}  // namespace

std::span<const Row> avx_lane_rows() { return kRows; }

}  // namespace panda::x86
