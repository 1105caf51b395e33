// AVX and AVX2 packed integers: arithmetic, logic, compares, packs, shifts and extensions (SDM vol. 1,
// 14.1 and 14.6). A row names the IR operation that SSE uses.
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

template <Op op>
InsnEnd v3(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const auto &first = x.ops[1], &second = x.ops[2];
  if (op == Op::vxor && !is_memory(second) && xmm_number(first) == xmm_number(second)) {
    const Value zero = x.b.konst(Type::V128, 0);
    set_wide(x, x.ops[0], {zero, zero});
    return InsnEnd::Next;
  }
  const Wide b = read_wide(x, second, wide);
  const Wide a = get_wide(x, first, wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.binary(op, half_of(a, h), half_of(b, h)); }));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd v2(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide a = read_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h)); }));
  return InsnEnd::Next;
}

// VPSLLW and kin: the count is an immediate, or the low half of an XMM register or of 128 bits of memory.
template <Op by_vector, Op by_immediate>
InsnEnd shift(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  if (x.ops[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    const uint8_t count = immediate8(x.ops[2]);
    const Wide a = get_wide(x, x.ops[1], wide);
    set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.unary(by_immediate, half_of(a, h), count); }));
    return InsnEnd::Next;
  }
  const Value count = read_xmm(x, x.ops[2]);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.binary(by_vector, half_of(a, h), count); }));
  return InsnEnd::Next;
}

template <Op op>
InsnEnd shift_bytes(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const uint8_t count = immediate8(x.ops[2]);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) { return x.b.unary(op, half_of(a, h), count); }));
  return InsnEnd::Next;
}

// VPSLLVD and kin: a count for each lane. Lane by lane, each is a shift of the whole vector, of which
// one lane is taken; a count is read with zeros above it.
template <Op op, Type lane_type>
InsnEnd shift_each(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  constexpr unsigned kLaneBytes = ir::size_bytes(lane_type), kLanes = 16 / kLaneBytes;
  const bool wide = is_256(x);
  const Wide b = read_wide(x, x.ops[2], wide);
  const Wide a = get_wide(x, x.ops[1], wide);
  set_wide(x, x.ops[0], each_half(wide, [&](unsigned h) {
             Value r;
             for (unsigned i = 0; i < kLanes; ++i) {
               const Value count = x.b.emit(Op::vget_lane, lane_type, {half_of(b, h)}, i);
               const Value v = x.b.binary(op, half_of(a, h), x.b.emit(Op::vzext, Type::V128, {count}));
               const uint64_t words = (1u << kLaneBytes / 2) - 1;  // VPBLENDW's mask of one lane
               r = i == 0 ? v : x.b.binary(Op::vblend_i16, r, v, words << (i * kLaneBytes / 2));
             }
             return r;
           }));
  return InsnEnd::Next;
}

// VPMOVSX, VPMOVZX: `bytes` of the source for each half.
template <Op op, unsigned bytes>
InsnEnd extend(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Value a = read_part(x, x.ops[1], wide ? 2 * bytes : bytes);
  set_wide(x, x.ops[0],
           each_half(wide, [&](unsigned h) { return x.b.unary(op, h == 0 ? a : x.b.unary(Op::vshrbytes, a, bytes)); }));
  return InsnEnd::Next;
}

// VPTEST; VTESTPS and VTESTPD look at the sign bits alone. ZF and CF are true of 256 bits where they are of each half.
template <uint64_t mask>
InsnEnd test(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool wide = is_256(x);
  const Wide b = read_wide(x, x.ops[1], wide);
  const Wide a = get_wide(x, x.ops[0], wide);
  const auto flags = [&](unsigned h) {
    Value v = half_of(b, h);
    if (mask != ~uint64_t{0}) v = x.b.binary(Op::vand, v, x.b.konst(Type::V128, mask));
    return x.b.emit(Op::vtest, Type::I32, {half_of(a, h), v});
  };
  Value r = flags(0);
  if (wide) r = x.b.and_(r, flags(1));
  x.set_cc_flags(r);
  return InsnEnd::Next;
}
constexpr uint64_t kSigns32 = 0x8000'0000'8000'0000, kSigns64 = 0x8000'0000'0000'0000;

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
// clang-format off
constexpr Row kRows[] = {
    ROW(VPADDB, &v3<Op::vadd_i8>), ROW(VPADDW, &v3<Op::vadd_i16>), ROW(VPADDD, &v3<Op::vadd_i32>),
    ROW(VPADDQ, &v3<Op::vadd_i64>), ROW(VPSUBB, &v3<Op::vsub_i8>), ROW(VPSUBW, &v3<Op::vsub_i16>),
    ROW(VPSUBD, &v3<Op::vsub_i32>), ROW(VPSUBQ, &v3<Op::vsub_i64>),
    ROW(VPADDSB, &v3<Op::vadds_s8>), ROW(VPADDSW, &v3<Op::vadds_s16>),
    ROW(VPADDUSB, &v3<Op::vadds_u8>), ROW(VPADDUSW, &v3<Op::vadds_u16>),
    ROW(VPSUBSB, &v3<Op::vsubs_s8>), ROW(VPSUBSW, &v3<Op::vsubs_s16>),
    ROW(VPSUBUSB, &v3<Op::vsubs_u8>), ROW(VPSUBUSW, &v3<Op::vsubs_u16>),
    ROW(VPMULLW, &v3<Op::vmullo_i16>), ROW(VPMULHW, &v3<Op::vmulhi_s16>), ROW(VPMULHUW, &v3<Op::vmulhi_u16>),
    ROW(VPMULHRSW, &v3<Op::vmulhrs_s16>), ROW(VPMULLD, &v3<Op::vmullo_i32>), ROW(VPMULUDQ, &v3<Op::vmulwide_u32>),
    ROW(VPMULDQ, &v3<Op::vmulwide_s32>), ROW(VPMADDWD, &v3<Op::vmadd_s16>), ROW(VPMADDUBSW, &v3<Op::vmadd_u8s8>),
    ROW(VPAVGB, &v3<Op::vavg_u8>), ROW(VPAVGW, &v3<Op::vavg_u16>), ROW(VPSADBW, &v3<Op::vsad_u8>),
    ROW(VPAND, &v3<Op::vand>), ROW(VPANDN, &v3<Op::vandn>), ROW(VPOR, &v3<Op::vor>), ROW(VPXOR, &v3<Op::vxor>),
    ROW(VPMINUB, &v3<Op::vmin_u8>), ROW(VPMAXUB, &v3<Op::vmax_u8>), ROW(VPMINSW, &v3<Op::vmin_s16>),
    ROW(VPMAXSW, &v3<Op::vmax_s16>), ROW(VPMINSB, &v3<Op::vmin_s8>), ROW(VPMAXSB, &v3<Op::vmax_s8>),
    ROW(VPMINUW, &v3<Op::vmin_u16>), ROW(VPMAXUW, &v3<Op::vmax_u16>), ROW(VPMINSD, &v3<Op::vmin_s32>),
    ROW(VPMAXSD, &v3<Op::vmax_s32>), ROW(VPMINUD, &v3<Op::vmin_u32>), ROW(VPMAXUD, &v3<Op::vmax_u32>),
    ROW(VPCMPEQB, &v3<Op::vcmpeq_i8>), ROW(VPCMPEQW, &v3<Op::vcmpeq_i16>), ROW(VPCMPEQD, &v3<Op::vcmpeq_i32>),
    ROW(VPCMPEQQ, &v3<Op::vcmpeq_i64>), ROW(VPCMPGTB, &v3<Op::vcmpgt_s8>), ROW(VPCMPGTW, &v3<Op::vcmpgt_s16>),
    ROW(VPCMPGTD, &v3<Op::vcmpgt_s32>), ROW(VPCMPGTQ, &v3<Op::vcmpgt_s64>),
    ROW(VPACKSSWB, &v3<Op::vpack_s16_s8>), ROW(VPACKSSDW, &v3<Op::vpack_s32_s16>),
    ROW(VPACKUSWB, &v3<Op::vpack_s16_u8>), ROW(VPACKUSDW, &v3<Op::vpack_s32_u16>),
    ROW(VPUNPCKLBW, &v3<Op::vunpacklo_i8>), ROW(VPUNPCKLWD, &v3<Op::vunpacklo_i16>),
    ROW(VPUNPCKLDQ, &v3<Op::vunpacklo_i32>), ROW(VPUNPCKLQDQ, &v3<Op::vunpacklo_i64>),
    ROW(VPUNPCKHBW, &v3<Op::vunpackhi_i8>), ROW(VPUNPCKHWD, &v3<Op::vunpackhi_i16>),
    ROW(VPUNPCKHDQ, &v3<Op::vunpackhi_i32>), ROW(VPUNPCKHQDQ, &v3<Op::vunpackhi_i64>),
    ROW(VPSHUFB, &v3<Op::vshuffle_i8>), ROW(VPSIGNB, &v3<Op::vsign_s8>), ROW(VPSIGNW, &v3<Op::vsign_s16>),
    ROW(VPSIGND, &v3<Op::vsign_s32>), ROW(VPABSB, &v2<Op::vabs_s8>), ROW(VPABSW, &v2<Op::vabs_s16>),
    ROW(VPABSD, &v2<Op::vabs_s32>), ROW(VPHADDW, &v3<Op::vhadd_i16>), ROW(VPHADDD, &v3<Op::vhadd_i32>),
    ROW(VPHADDSW, &v3<Op::vhadds_s16>), ROW(VPHSUBW, &v3<Op::vhsub_i16>), ROW(VPHSUBD, &v3<Op::vhsub_i32>),
    ROW(VPHSUBSW, &v3<Op::vhsubs_s16>),
    ROW(VPSLLW, &shift<Op::vshl_i16, Op::vshli_i16>), ROW(VPSLLD, &shift<Op::vshl_i32, Op::vshli_i32>),
    ROW(VPSLLQ, &shift<Op::vshl_i64, Op::vshli_i64>), ROW(VPSRLW, &shift<Op::vshr_i16, Op::vshri_i16>),
    ROW(VPSRLD, &shift<Op::vshr_i32, Op::vshri_i32>), ROW(VPSRLQ, &shift<Op::vshr_i64, Op::vshri_i64>),
    ROW(VPSRAW, &shift<Op::vsar_i16, Op::vsari_i16>), ROW(VPSRAD, &shift<Op::vsar_i32, Op::vsari_i32>),
    ROW(VPSLLDQ, &shift_bytes<Op::vshlbytes>), ROW(VPSRLDQ, &shift_bytes<Op::vshrbytes>),
    ROW(VPSLLVD, &shift_each<Op::vshl_i32, Type::I32>), ROW(VPSLLVQ, &shift_each<Op::vshl_i64, Type::I64>),
    ROW(VPSRLVD, &shift_each<Op::vshr_i32, Type::I32>), ROW(VPSRLVQ, &shift_each<Op::vshr_i64, Type::I64>),
    ROW(VPSRAVD, &shift_each<Op::vsar_i32, Type::I32>),
    ROW(VPMOVSXBW, &extend<Op::vsext_i8_i16, 8>), ROW(VPMOVSXBD, &extend<Op::vsext_i8_i32, 4>),
    ROW(VPMOVSXBQ, &extend<Op::vsext_i8_i64, 2>), ROW(VPMOVSXWD, &extend<Op::vsext_i16_i32, 8>),
    ROW(VPMOVSXWQ, &extend<Op::vsext_i16_i64, 4>), ROW(VPMOVSXDQ, &extend<Op::vsext_i32_i64, 8>),
    ROW(VPMOVZXBW, &extend<Op::vzext_i8_i16, 8>), ROW(VPMOVZXBD, &extend<Op::vzext_i8_i32, 4>),
    ROW(VPMOVZXBQ, &extend<Op::vzext_i8_i64, 2>), ROW(VPMOVZXWD, &extend<Op::vzext_i16_i32, 8>),
    ROW(VPMOVZXWQ, &extend<Op::vzext_i16_i64, 4>), ROW(VPMOVZXDQ, &extend<Op::vzext_i32_i64, 8>),
    ROW(VPTEST, &test<~uint64_t{0}>), ROW(VTESTPS, &test<kSigns32>), ROW(VTESTPD, &test<kSigns64>),
    // The logic and the unpacking of the packed float instructions raise no exceptions.
    ROW(VANDPS, &v3<Op::vand>), ROW(VANDPD, &v3<Op::vand>), ROW(VANDNPS, &v3<Op::vandn>), ROW(VANDNPD, &v3<Op::vandn>),
    ROW(VORPS, &v3<Op::vor>), ROW(VORPD, &v3<Op::vor>), ROW(VXORPS, &v3<Op::vxor>), ROW(VXORPD, &v3<Op::vxor>),
    ROW(VUNPCKLPS, &v3<Op::vunpacklo_i32>), ROW(VUNPCKLPD, &v3<Op::vunpacklo_i64>),
    ROW(VUNPCKHPS, &v3<Op::vunpackhi_i32>), ROW(VUNPCKHPD, &v3<Op::vunpackhi_i64>),
};
// clang-format on
#undef ROW

}  // namespace

std::span<const Row> avx_integer_rows() { return kRows; }

}  // namespace panda::x86
