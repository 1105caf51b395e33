// Shuffles by immediate, single lanes in and out, blends and sign masks.
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

// One source, immediate control: PSHUFD and kin.
template <Op op>
InsnEnd shuffle1(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  set_xmm(x, x.ops[0], x.b.unary(op, read_xmm(x, x.ops[1]), immediate8(x.ops[2])));
  return InsnEnd::Next;
}

// Destination and source, immediate control: SHUFPS, BLENDPS, MPSADBW and kin.
template <Op op>
InsnEnd shuffle2(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_xmm(x, x.ops[1]);
  set_xmm(x, x.ops[0], x.b.binary(op, get_xmm(x, x.ops[0]), b, immediate8(x.ops[2])));
  return InsnEnd::Next;
}

InsnEnd palignr(InsnContext& x) {
  if (is_xmm(x.ops[0])) return shuffle2<Op::vpalignr>(x);
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const unsigned n = mmx_number(x.ops[0]);
  const Value low = x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])});
  const Value high = x.b.emit(Op::vzext, Type::V128, {get_mm(x, n)});
  const Value r = x.b.unary(Op::vshrbytes, x.b.binary(Op::vunpacklo_i64, low, high), immediate8(x.ops[2]));
  enter_mmx(x);
  set_mm(x, n, x.b.emit(Op::vlow, Type::I64, {r}));
  return InsnEnd::Next;
}

InsnEnd pshufw(InsnContext& x) {
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const Value v = x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])});
  const Value r = x.b.unary(Op::vpshuflw, v, immediate8(x.ops[2]));
  enter_mmx(x);
  set_mm(x, mmx_number(x.ops[0]), x.b.emit(Op::vlow, Type::I64, {r}));
  return InsnEnd::Next;
}

// INSERTPS: from memory one float, which counts as lane 0 whatever the immediate says.
InsnEnd insertps(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  uint8_t control = immediate8(x.ops[2]);
  if (is_memory(x.ops[1])) control &= 0x3f;
  const Value b = read_low_vector(x, x.ops[1], Type::I32);
  set_xmm(x, x.ops[0], x.b.binary(Op::vinsertps, get_xmm(x, x.ops[0]), b, control));
  return InsnEnd::Next;
}

// PINSRx: the source's low bits, from a register or memory of the lane's width.
template <Type lane_type>
InsnEnd insert(InsnContext& x) {
  const bool mmx = is_mmx(x.ops[0]);
  if (!(mmx ? mmx_ready(x) : sse_ready(x))) return InsnEnd::Closed;
  const unsigned lanes = (mmx ? 8 : 16) / ir::size_bytes(lane_type);
  const unsigned lane = immediate8(x.ops[2]) & (lanes - 1);
  Value v;
  if (is_memory(x.ops[1]))
    v = x.load(x.address(x.ops[1], ir::size_bytes(lane_type), false), lane_type);
  else
    v = x.b.trunc(lane_type, x.reg(x.ops[1].reg.value));
  if (!mmx) {
    set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), v}, lane));
    return InsnEnd::Next;
  }
  const unsigned n = mmx_number(x.ops[0]);
  const Value r = x.b.deposit(get_mm(x, n), x.b.zext(Type::I64, v), 16 * lane, 16);
  enter_mmx(x);
  set_mm(x, n, r);
  return InsnEnd::Next;
}

// PEXTRx and EXTRACTPS, zero-extended into a register or stored at the lane's width.
template <Type lane_type>
InsnEnd extract(InsnContext& x) {
  const bool mmx = is_mmx(x.ops[1]);
  if (!(mmx ? mmx_ready(x) : sse_ready(x))) return InsnEnd::Closed;
  const unsigned lanes = (mmx ? 8 : 16) / ir::size_bytes(lane_type);
  const unsigned lane = immediate8(x.ops[2]) & (lanes - 1);
  Value v;
  if (mmx)
    v = x.b.trunc(lane_type, x.b.extract(get_mm(x, mmx_number(x.ops[1])), 16 * lane, 16));
  else
    v = x.b.emit(Op::vget_lane, lane_type, {get_xmm(x, x.ops[1])}, lane);
  if (mmx) enter_mmx(x);
  if (is_memory(x.ops[0])) {
    x.store(x.address(x.ops[0], ir::size_bytes(lane_type), true), v);
  } else {
    x.set_reg(x.ops[0].reg.value, x.b.zext(x.ops[0].size == 64 ? Type::I64 : Type::I32, v));
  }
  return InsnEnd::Next;
}

// PBLENDVB, BLENDVPS, BLENDVPD: the mask is XMM0.
template <Op op>
InsnEnd blend_variable(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value b = read_xmm(x, x.ops[1]);
  const Value mask = x.b.get(Type::V128, xmm_offset(0));
  set_xmm(x, x.ops[0], x.b.emit(op, Type::V128, {get_xmm(x, x.ops[0]), b, mask}));
  return InsnEnd::Next;
}

template <uint32_t lane_bytes>
InsnEnd move_mask(InsnContext& x) {
  const bool mmx = is_mmx(x.ops[1]);
  if (!(mmx ? mmx_ready(x) : sse_ready(x))) return InsnEnd::Closed;
  const Value v = mmx ? x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])}) : get_xmm(x, x.ops[1]);
  const Value r = x.b.emit(Op::vmovmsk, Type::I32, {v}, 0, lane_bytes);
  if (mmx) enter_mmx(x);
  write_gpr(x, x.ops[0], r);
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_PSHUFD, &shuffle1<Op::vpshufd>, Feature::Sse2},
    {ZYDIS_MNEMONIC_PSHUFLW, &shuffle1<Op::vpshuflw>, Feature::Sse2},
    {ZYDIS_MNEMONIC_PSHUFHW, &shuffle1<Op::vpshufhw>, Feature::Sse2},
    {ZYDIS_MNEMONIC_PSHUFW, &pshufw, Feature::Sse},
    {ZYDIS_MNEMONIC_SHUFPS, &shuffle2<Op::vshufps>, Feature::Sse},
    {ZYDIS_MNEMONIC_SHUFPD, &shuffle2<Op::vshufpd>, Feature::Sse2},
    {ZYDIS_MNEMONIC_PALIGNR, &palignr, Feature::Ssse3},
    {ZYDIS_MNEMONIC_PBLENDW, &shuffle2<Op::vblend_i16>, Feature::Sse41},
    {ZYDIS_MNEMONIC_BLENDPS, &shuffle2<Op::vblendps>, Feature::Sse41},
    {ZYDIS_MNEMONIC_BLENDPD, &shuffle2<Op::vblendpd>, Feature::Sse41},
    {ZYDIS_MNEMONIC_MPSADBW, &shuffle2<Op::vmpsadbw>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PBLENDVB, &blend_variable<Op::vblendv_i8>, Feature::Sse41},
    {ZYDIS_MNEMONIC_BLENDVPS, &blend_variable<Op::vblendvps>, Feature::Sse41},
    {ZYDIS_MNEMONIC_BLENDVPD, &blend_variable<Op::vblendvpd>, Feature::Sse41},
    {ZYDIS_MNEMONIC_INSERTPS, &insertps, Feature::Sse41},
    {ZYDIS_MNEMONIC_EXTRACTPS, &extract<Type::I32>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PINSRB, &insert<Type::I8>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PINSRW, &insert<Type::I16>, Feature::Sse},
    {ZYDIS_MNEMONIC_PINSRD, &insert<Type::I32>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PINSRQ, &insert<Type::I64>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PEXTRB, &extract<Type::I8>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PEXTRW, &extract<Type::I16>, Feature::Sse},
    {ZYDIS_MNEMONIC_PEXTRD, &extract<Type::I32>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PEXTRQ, &extract<Type::I64>, Feature::Sse41},
    {ZYDIS_MNEMONIC_PMOVMSKB, &move_mask<1>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVMSKPS, &move_mask<4>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVMSKPD, &move_mask<8>, Feature::Sse2},
};

}  // namespace

std::span<const Row> sse_lane_rows() { return kRows; }

}  // namespace panda::x86
