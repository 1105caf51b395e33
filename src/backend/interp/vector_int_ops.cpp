// V128 integer arithmetic, lane by lane (SDM vol. 2, the P… instructions).
#include <algorithm>
#include <limits>

#include "backend/interp/step.h"

namespace panda::interp::ops {
namespace {

template <typename T, typename Wide>
T saturate(Wide v) {
  return static_cast<T>(std::clamp<Wide>(v, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

template <typename T, typename Fn>
void each2(Frame& f, const Step& s, Fn fn) {
  const auto a = lanes<T>(f, s, 0);
  const auto b = lanes<T>(f, s, 1);
  Lanes<T> out{};
  for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<T>(fn(a[i], b[i]));
  define_lanes(f, s, out);
}

template <typename T, typename Fn>
void each1(Frame& f, const Step& s, Fn fn) {
  const auto a = lanes<T>(f, s, 0);
  Lanes<T> out{};
  for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<T>(fn(a[i]));
  define_lanes(f, s, out);
}

// Pairs of neighbouring lanes of a, then of b.
template <typename T, typename Fn>
void each_pair(Frame& f, const Step& s, Fn fn) {
  const auto a = lanes<T>(f, s, 0);
  const auto b = lanes<T>(f, s, 1);
  Lanes<T> out{};
  const size_t half = out.size() / 2;
  for (size_t i = 0; i < half; i++) {
    out[i] = static_cast<T>(fn(a[2 * i], a[2 * i + 1]));
    out[half + i] = static_cast<T>(fn(b[2 * i], b[2 * i + 1]));
  }
  define_lanes(f, s, out);
}

// One count for all lanes; `beyond` is what a lane becomes where it is too large.
template <typename T>
void shift_left(Frame& f, const Step& s, uint64_t n) {
  each1<T>(f, s, [n](T a) { return n < sizeof(T) * 8 ? static_cast<T>(uint64_t{a} << n) : T{0}; });
}
template <typename T>
void shift_right(Frame& f, const Step& s, uint64_t n) {
  each1<T>(f, s, [n](T a) { return n < sizeof(T) * 8 ? static_cast<T>(a >> n) : T{0}; });
}
template <typename T>
void shift_arithmetic(Frame& f, const Step& s, uint64_t n) {
  const auto count = static_cast<unsigned>(std::min<uint64_t>(n, sizeof(T) * 8 - 1));
  each1<T>(f, s, [count](T a) { return a >> count; });
}

}  // namespace

#define EACH2(name, T, expression)                                       \
  void name(Frame& f, const Step& s) noexcept {                          \
    each2<T>(f, s, [](T a, T b) { return static_cast<T>(expression); }); \
  }
#define PAIRS(name, T, expression)                                           \
  void name(Frame& f, const Step& s) noexcept {                              \
    each_pair<T>(f, s, [](T a, T b) { return static_cast<T>(expression); }); \
  }

EACH2(vand, uint64_t, a& b)
EACH2(vandn, uint64_t, ~a& b)
EACH2(vor, uint64_t, a | b)
EACH2(vxor, uint64_t, a ^ b)

EACH2(vadd_i8, uint8_t, a + b)
EACH2(vadd_i16, uint16_t, a + b)
EACH2(vadd_i32, uint32_t, a + b)
EACH2(vadd_i64, uint64_t, a + b)
EACH2(vsub_i8, uint8_t, a - b)
EACH2(vsub_i16, uint16_t, a - b)
EACH2(vsub_i32, uint32_t, a - b)
EACH2(vsub_i64, uint64_t, a - b)

EACH2(vadds_s8, int8_t, saturate<int8_t>(a + b))
EACH2(vadds_s16, int16_t, saturate<int16_t>(a + b))
EACH2(vadds_u8, uint8_t, saturate<uint8_t>(a + b))
EACH2(vadds_u16, uint16_t, saturate<uint16_t>(a + b))
EACH2(vsubs_s8, int8_t, saturate<int8_t>(a - b))
EACH2(vsubs_s16, int16_t, saturate<int16_t>(a - b))
EACH2(vsubs_u8, uint8_t, saturate<uint8_t>(a - b))
EACH2(vsubs_u16, uint16_t, saturate<uint16_t>(a - b))

EACH2(vmullo_i16, uint16_t, uint32_t{a} * b)
EACH2(vmullo_i32, uint32_t, a* b)
EACH2(vmulhi_s16, int16_t, (a * b) >> 16)
EACH2(vmulhi_u16, uint16_t, (uint32_t{a} * b) >> 16)
EACH2(vmulhrs_s16, int16_t, (((a * b) >> 14) + 1) >> 1)

void vmulwide_u32(Frame& f, const Step& s) noexcept {
  each2<uint64_t>(f, s, [](uint64_t a, uint64_t b) { return (a & 0xffffffff) * (b & 0xffffffff); });
}
void vmulwide_s32(Frame& f, const Step& s) noexcept {
  each2<uint64_t>(f, s, [](uint64_t a, uint64_t b) {
    return static_cast<uint64_t>(int64_t{static_cast<int32_t>(a)} * static_cast<int32_t>(b));
  });
}

void vmadd_s16(Frame& f, const Step& s) noexcept {
  const auto a = lanes<int16_t>(f, s, 0);
  const auto b = lanes<int16_t>(f, s, 1);
  Lanes<uint32_t> out{};
  for (size_t i = 0; i < 4; i++) {
    out[i] = static_cast<uint32_t>(int64_t{a[2 * i]} * b[2 * i] + int64_t{a[2 * i + 1]} * b[2 * i + 1]);
  }
  define_lanes(f, s, out);
}
// Unsigned bytes of a by signed bytes of b.
void vmadd_u8s8(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint8_t>(f, s, 0);
  const auto b = lanes<int8_t>(f, s, 1);
  Lanes<int16_t> out{};
  for (size_t i = 0; i < 8; i++) out[i] = saturate<int16_t>(a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1]);
  define_lanes(f, s, out);
}

EACH2(vavg_u8, uint8_t, (a + b + 1) >> 1)
EACH2(vavg_u16, uint16_t, (a + b + 1) >> 1)

void vsad_u8(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint8_t>(f, s, 0);
  const auto b = lanes<uint8_t>(f, s, 1);
  Lanes<uint64_t> out{};
  for (size_t i = 0; i < 16; i++) out[i / 8] += static_cast<uint64_t>(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
  define_lanes(f, s, out);
}

EACH2(vmin_s8, int8_t, std::min(a, b))
EACH2(vmin_u8, uint8_t, std::min(a, b))
EACH2(vmin_s16, int16_t, std::min(a, b))
EACH2(vmin_u16, uint16_t, std::min(a, b))
EACH2(vmin_s32, int32_t, std::min(a, b))
EACH2(vmin_u32, uint32_t, std::min(a, b))
EACH2(vmax_s8, int8_t, std::max(a, b))
EACH2(vmax_u8, uint8_t, std::max(a, b))
EACH2(vmax_s16, int16_t, std::max(a, b))
EACH2(vmax_u16, uint16_t, std::max(a, b))
EACH2(vmax_s32, int32_t, std::max(a, b))
EACH2(vmax_u32, uint32_t, std::max(a, b))

EACH2(vcmpeq_i8, int8_t, a == b ? -1 : 0)
EACH2(vcmpeq_i16, int16_t, a == b ? -1 : 0)
EACH2(vcmpeq_i32, int32_t, a == b ? -1 : 0)
EACH2(vcmpeq_i64, int64_t, a == b ? -1 : 0)
EACH2(vcmpgt_s8, int8_t, a > b ? -1 : 0)
EACH2(vcmpgt_s16, int16_t, a > b ? -1 : 0)
EACH2(vcmpgt_s32, int32_t, a > b ? -1 : 0)
EACH2(vcmpgt_s64, int64_t, a > b ? -1 : 0)

EACH2(vsign_s8, int8_t, b < 0 ? -a : b == 0 ? 0 : a)
EACH2(vsign_s16, int16_t, b < 0 ? -a : b == 0 ? 0 : a)
EACH2(vsign_s32, int32_t, b < 0 ? -int64_t{a} : b == 0 ? 0 : a)

void vabs_s8(Frame& f, const Step& s) noexcept {
  each1<int8_t>(f, s, [](int8_t a) { return a < 0 ? -a : a; });
}
void vabs_s16(Frame& f, const Step& s) noexcept {
  each1<int16_t>(f, s, [](int16_t a) { return a < 0 ? -a : a; });
}
void vabs_s32(Frame& f, const Step& s) noexcept {
  each1<int32_t>(f, s, [](int32_t a) { return a < 0 ? -int64_t{a} : int64_t{a}; });
}

PAIRS(vhadd_i16, uint16_t, a + b)
PAIRS(vhadd_i32, uint32_t, a + b)
PAIRS(vhadds_s16, int16_t, saturate<int16_t>(a + b))
PAIRS(vhsub_i16, uint16_t, a - b)
PAIRS(vhsub_i32, uint32_t, a - b)
PAIRS(vhsubs_s16, int16_t, saturate<int16_t>(a - b))

void vshl_i16(Frame& f, const Step& s) noexcept { shift_left<uint16_t>(f, s, f.arg(s, 1)); }
void vshl_i32(Frame& f, const Step& s) noexcept { shift_left<uint32_t>(f, s, f.arg(s, 1)); }
void vshl_i64(Frame& f, const Step& s) noexcept { shift_left<uint64_t>(f, s, f.arg(s, 1)); }
void vshr_i16(Frame& f, const Step& s) noexcept { shift_right<uint16_t>(f, s, f.arg(s, 1)); }
void vshr_i32(Frame& f, const Step& s) noexcept { shift_right<uint32_t>(f, s, f.arg(s, 1)); }
void vshr_i64(Frame& f, const Step& s) noexcept { shift_right<uint64_t>(f, s, f.arg(s, 1)); }
void vsar_i16(Frame& f, const Step& s) noexcept { shift_arithmetic<int16_t>(f, s, f.arg(s, 1)); }
void vsar_i32(Frame& f, const Step& s) noexcept { shift_arithmetic<int32_t>(f, s, f.arg(s, 1)); }

void vshli_i16(Frame& f, const Step& s) noexcept { shift_left<uint16_t>(f, s, s.imm & 0xff); }
void vshli_i32(Frame& f, const Step& s) noexcept { shift_left<uint32_t>(f, s, s.imm & 0xff); }
void vshli_i64(Frame& f, const Step& s) noexcept { shift_left<uint64_t>(f, s, s.imm & 0xff); }
void vshri_i16(Frame& f, const Step& s) noexcept { shift_right<uint16_t>(f, s, s.imm & 0xff); }
void vshri_i32(Frame& f, const Step& s) noexcept { shift_right<uint32_t>(f, s, s.imm & 0xff); }
void vshri_i64(Frame& f, const Step& s) noexcept { shift_right<uint64_t>(f, s, s.imm & 0xff); }
void vsari_i16(Frame& f, const Step& s) noexcept { shift_arithmetic<int16_t>(f, s, s.imm & 0xff); }
void vsari_i32(Frame& f, const Step& s) noexcept { shift_arithmetic<int32_t>(f, s, s.imm & 0xff); }

// PHMINPOSUW: the least word and where it first stands.
void vminpos_u16(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint16_t>(f, s, 0);
  const auto least = std::min_element(a.begin(), a.end());
  f.define(s, Reg{static_cast<uint64_t>(*least) | static_cast<uint64_t>(least - a.begin()) << 16, 0});
}

void vtest(Frame& f, const Step& s) noexcept {
  const Reg a = f.reg(s, 0);
  const Reg b = f.reg(s, 1);
  const bool none = ((a.lo & b.lo) | (a.hi & b.hi)) == 0;
  const bool all = ((~a.lo & b.lo) | (~a.hi & b.hi)) == 0;
  f.define(s, uint64_t{none ? 0x40u : 0u} | (all ? 1u : 0u));
}

// MPSADBW: sums of differences of four bytes of b (imm[1:0]) with eight places of a (imm[2]).
void vmpsadbw(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint8_t>(f, s, 0);
  const auto b = lanes<uint8_t>(f, s, 1);
  const size_t from_a = (s.imm >> 2 & 1) * 4;
  const size_t from_b = (s.imm & 3) * 4;
  Lanes<uint16_t> out{};
  for (size_t i = 0; i < 8; i++) {
    int sum = 0;
    for (size_t j = 0; j < 4; j++) sum += std::abs(a[from_a + i + j] - b[from_b + j]);
    out[i] = static_cast<uint16_t>(sum);
  }
  define_lanes(f, s, out);
}

#undef EACH2
#undef PAIRS

}  // namespace panda::interp::ops
