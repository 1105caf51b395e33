// AVX data movement, VZEROUPPER and VZEROALL (SDM vol. 1, 14.1 and 14.3).
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

// VMOVAPS and kin: 16 or 32 bytes, aligned to their size or not.
template <bool aligned>
InsnEnd move_whole(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const unsigned align = !aligned ? 0 : wide ? 32 : 16;
  if (is_memory(x.ops[0]))
    store_wide(x, x.ops[0], get_wide(x, x.ops[1], wide), align);
  else
    set_wide(x, x.ops[0], read_wide(x, x.ops[1], wide, align));
  return InsnEnd::Next;
}

// VMOVSS, VMOVSD: to memory, from memory with zeros above, or two registers put together.
template <Type type>
InsnEnd move_scalar(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[0])) {
    x.store(x.address(x.ops[0], ir::size_bytes(type), true), read_low(x, x.ops[1], type));
  } else if (is_memory(x.ops[1])) {
    set_xmm(x, x.ops[0], read_low_vector(x, x.ops[1], type));
  } else {
    const Value low = read_low(x, x.ops[2], type);
    set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), low}));
  }
  return InsnEnd::Next;
}

// VMOVLPS, VMOVHPS, VMOVLPD, VMOVHPD: a half of the register to memory, or from it beside the other of a register.
template <unsigned lane>
InsnEnd move_half(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[0])) {
    x.store(x.address(x.ops[0], 8, true), x.b.emit(Op::vget_lane, Type::I64, {get_xmm(x, x.ops[1])}, lane));
  } else {
    const Value v = x.load(x.address(x.ops[2], 8, false), Type::I64);
    set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), v}, lane));
  }
  return InsnEnd::Next;
}

// VMOVHLPS, VMOVLHPS
template <unsigned to, unsigned from>
InsnEnd move_between_halves(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value v = x.b.emit(Op::vget_lane, Type::I64, {get_xmm(x, x.ops[2])}, from);
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[1]), v}, to));
  return InsnEnd::Next;
}

// VMOVSHDUP, VMOVSLDUP: a shuffle of 32-bit lanes.
template <uint8_t control>
InsnEnd duplicate32(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.unary(Op::vpshufd, half_of(a, h), control); }));
  return InsnEnd::Next;
}

InsnEnd vmovddup(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = wide ? read_wide(x, x.ops[1], true) : Wide{read_part(x, x.ops[1], 8), {}};
  set_wide(x, x.ops[0],
           each_half(wide, [&](unsigned h) { return x.b.binary(Op::vunpacklo_i64, half_of(a, h), half_of(a, h)); }));
  return InsnEnd::Next;
}

template <bool all>
InsnEnd zero_registers(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value zero = x.b.konst(Type::V128, 0);
  const unsigned count = x.is64() ? 16 : 8;
  for (unsigned n = 0; n < count; ++n) {
    if (all) x.b.set(xmm_offset(n), zero);
    x.b.set(ymm_high_offset(n), zero);
  }
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
constexpr Row kRows[] = {
    ROW(VMOVAPS, &move_whole<true>),
    ROW(VMOVAPD, &move_whole<true>),
    ROW(VMOVDQA, &move_whole<true>),
    ROW(VMOVNTPS, &move_whole<true>),
    ROW(VMOVNTPD, &move_whole<true>),
    ROW(VMOVNTDQ, &move_whole<true>),
    ROW(VMOVNTDQA, &move_whole<true>),
    ROW(VMOVUPS, &move_whole<false>),
    ROW(VMOVUPD, &move_whole<false>),
    ROW(VMOVDQU, &move_whole<false>),
    ROW(VLDDQU, &move_whole<false>),
    ROW(VMOVSS, &move_scalar<Type::F32>),
    ROW(VMOVSD, &move_scalar<Type::F64>),
    ROW(VMOVLPS, &move_half<0>),
    ROW(VMOVLPD, &move_half<0>),
    ROW(VMOVHPS, &move_half<1>),
    ROW(VMOVHPD, &move_half<1>),
    ROW(VMOVHLPS, &move_between_halves<0, 1>),
    ROW(VMOVLHPS, &move_between_halves<1, 0>),
    ROW(VMOVSHDUP, &duplicate32<0xf5>),
    ROW(VMOVSLDUP, &duplicate32<0xa0>),
    ROW(VMOVDDUP, &vmovddup),
    ROW(VZEROUPPER, &zero_registers<false>),
    ROW(VZEROALL, &zero_registers<true>),
};
#undef ROW

}  // namespace

std::span<const Row> avx_move_rows() { return kRows; }

}  // namespace panda::x86
