// AVX and AVX2 instructions that move data between the 128-bit halves: permutes, broadcasts, halves in
// and out (SDM vol. 1, 14.1 and 14.6.3).
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

// VPERM2F128, VPERM2I128: each half is one of the sources' four, or zero.
InsnEnd permute_halves(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const uint8_t imm = immediate8(x.ops[3]);
  const Wide b = read_wide(x, x.ops[2], true);
  const Wide a = get_wide(x, x.ops[1], true);
  const Value halves[] = {a.low, a.high, b.low, b.high};
  set_wide(x, x.ops[0], each_half(true, [&](unsigned h) {
             const unsigned control = imm >> (4 * h);
             return (control & 8) != 0 ? x.b.konst(Type::V128, 0) : halves[control & 3];
           }));
  return InsnEnd::Next;
}

// VINSERTF128, VINSERTI128
InsnEnd insert_half(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value v = read_part(x, x.ops[2], 16);
  Wide r = get_wide(x, x.ops[1], true);
  ((immediate8(x.ops[3]) & 1) == 0 ? r.low : r.high) = v;
  set_wide(x, x.ops[0], r);
  return InsnEnd::Next;
}

// VEXTRACTF128, VEXTRACTI128
InsnEnd extract_half(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const Value v = half_of(get_wide(x, x.ops[1], true), immediate8(x.ops[2]) & 1);
  if (is_memory(x.ops[0]))
    store_wide(x, x.ops[0], {v, {}});
  else
    set_wide(x, x.ops[0], {v, {}});
  return InsnEnd::Next;
}

// VPERMQ, VPERMPD: two bits for each 64-bit lane.
InsnEnd permute64(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const uint8_t imm = immediate8(x.ops[2]);
  const Wide a = read_wide(x, x.ops[1], true);
  set_wide(x, x.ops[0], each_half(true, [&](unsigned h) {
             const unsigned low = imm >> (4 * h) & 3, high = imm >> (4 * h + 2) & 3;
             return x.b.binary(Op::vshufpd, half_of(a, low >> 1), half_of(a, high >> 1), (low & 1) | (high & 1) << 1);
           }));
  return InsnEnd::Next;
}

// VPERMD, VPERMPS: bits 0-1 of an index choose within a half (made PSHUFB's control), bit 2 chooses the half.
InsnEnd permute32(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  ir::Builder& b = x.b;
  const Wide a = read_wide(x, x.ops[2], true);
  const Wide index = get_wide(x, x.ops[1], true);
  set_wide(x, x.ops[0], each_half(true, [&](unsigned h) {
             const Value i = half_of(index, h);
             Value c = b.binary(Op::vand, i, b.konst(Type::V128, 0x0000'0003'0000'0003));
             c = b.binary(Op::vmullo_i32, c, b.konst(Type::V128, 0x0404'0404'0404'0404));
             c = b.binary(Op::vadd_i32, c, b.konst(Type::V128, 0x0302'0100'0302'0100));
             return b.emit(Op::vblendvps, Type::V128,
                           {b.binary(Op::vshuffle_i8, a.low, c), b.binary(Op::vshuffle_i8, a.high, c),
                            b.unary(Op::vshli_i32, i, 29)});
           }));
  return InsnEnd::Next;
}

// VBROADCASTSS, VPBROADCASTB and kin: lane 0 of an XMM register, or that much memory.
template <unsigned bytes>
InsnEnd broadcast(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  ir::Builder& b = x.b;
  Value v = read_part(x, x.ops[1], bytes);
  if constexpr (bytes == 1) v = b.binary(Op::vshuffle_i8, v, b.konst(Type::V128, 0));
  if constexpr (bytes == 2) v = b.unary(Op::vpshufd, b.unary(Op::vpshuflw, v, 0), 0);
  if constexpr (bytes == 4) v = b.unary(Op::vpshufd, v, 0);
  if constexpr (bytes == 8) v = b.binary(Op::vunpacklo_i64, v, v);
  set_wide(x, x.ops[0], {v, is_256(x) ? v : Value{}});
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
constexpr Row kRows[] = {
    ROW(VPERM2F128, &permute_halves),
    ROW(VPERM2I128, &permute_halves),
    ROW(VINSERTF128, &insert_half),
    ROW(VINSERTI128, &insert_half),
    ROW(VEXTRACTF128, &extract_half),
    ROW(VEXTRACTI128, &extract_half),
    ROW(VPERMQ, &permute64),
    ROW(VPERMPD, &permute64),
    ROW(VPERMD, &permute32),
    ROW(VPERMPS, &permute32),
    ROW(VBROADCASTSS, &broadcast<4>),
    ROW(VBROADCASTSD, &broadcast<8>),
    ROW(VBROADCASTF128, &broadcast<16>),
    ROW(VBROADCASTI128, &broadcast<16>),
    ROW(VPBROADCASTB, &broadcast<1>),
    ROW(VPBROADCASTW, &broadcast<2>),
    ROW(VPBROADCASTD, &broadcast<4>),
    ROW(VPBROADCASTQ, &broadcast<8>),
};
#undef ROW

}  // namespace

std::span<const Row> avx_permute_rows() { return kRows; }

}  // namespace panda::x86
