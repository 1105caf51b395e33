// Moves between kinds of values and of lanes within V128: shuffles, packs, blends, extensions.
#include <algorithm>
#include <limits>

#include "backend/interp/step.h"

namespace panda::interp::ops {
namespace {

template <typename Wide, typename Narrow>
void pack(Frame& f, const Step& s) {
  const auto a = lanes<Wide>(f, s, 0);
  const auto b = lanes<Wide>(f, s, 1);
  Lanes<Narrow> out{};
  const auto saturated = [](Wide v) {
    return static_cast<Narrow>(
        std::clamp<int>(v, std::numeric_limits<Narrow>::min(), std::numeric_limits<Narrow>::max()));
  };
  for (size_t i = 0; i < a.size(); i++) {
    out[i] = saturated(a[i]);
    out[a.size() + i] = saturated(b[i]);
  }
  define_lanes(f, s, out);
}

template <typename T>
void unpack(Frame& f, const Step& s, size_t first) {
  const auto a = lanes<T>(f, s, 0);
  const auto b = lanes<T>(f, s, 1);
  Lanes<T> out{};
  for (size_t i = 0; i < out.size() / 2; i++) {
    out[2 * i] = a[first + i];
    out[2 * i + 1] = b[first + i];
  }
  define_lanes(f, s, out);
}

template <typename Narrow, typename Wide>
void extend(Frame& f, const Step& s) {
  const auto a = lanes<Narrow>(f, s, 0);
  Lanes<Wide> out{};
  for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<Wide>(a[i]);
  define_lanes(f, s, out);
}

// Lane i comes from b where bit i of the immediate is set.
template <typename T>
void blend(Frame& f, const Step& s) {
  auto out = lanes<T>(f, s, 0);
  const auto b = lanes<T>(f, s, 1);
  for (size_t i = 0; i < out.size(); i++) {
    if ((s.imm >> i & 1) != 0) out[i] = b[i];
  }
  define_lanes(f, s, out);
}

// Lane i comes from b where lane i of the third operand has its sign bit set.
template <typename T>
void blend_by_sign(Frame& f, const Step& s) {
  auto out = lanes<T>(f, s, 0);
  const auto b = lanes<T>(f, s, 1);
  const auto mask = lanes<T>(f, s, 2);
  for (size_t i = 0; i < out.size(); i++) {
    if (mask[i] < 0) out[i] = b[i];
  }
  define_lanes(f, s, out);
}

template <typename T>
uint64_t sign_bits(const Frame& f, const Step& s) {
  const auto a = lanes<T>(f, s, 0);
  uint64_t bits = 0;
  for (size_t i = 0; i < a.size(); i++) bits |= uint64_t{a[i] < 0} << i;
  return bits;
}

// Sixteen bytes of (zeros : a : zeros) beginning at byte `from` of a; from may be negative.
void slide(Frame& f, const Step& s, int from) {
  const auto a = lanes<uint8_t>(f, s, 0);
  Lanes<uint8_t> out{};
  for (int i = 0; i < 16; i++) {
    if (from + i >= 0 && from + i < 16) out[static_cast<size_t>(i)] = a[static_cast<size_t>(from + i)];
  }
  define_lanes(f, s, out);
}

}  // namespace

void bitcast(Frame& f, const Step& s) noexcept { f.define(s, f.reg(s, 0)); }
void vlow(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0)); }
void vzext(Frame& f, const Step& s) noexcept { f.define(s, Reg{f.arg(s, 0), 0}); }

void vget_lane(Frame& f, const Step& s) noexcept {
  const Reg a = f.reg(s, 0);
  uint64_t v = 0;
  const size_t bytes = ir::size_bytes(s.type);
  std::memcpy(&v, reinterpret_cast<const uint8_t*>(&a) + s.imm * bytes, bytes);
  f.define(s, v);
}
void vset_lane(Frame& f, const Step& s) noexcept {
  Reg a = f.reg(s, 0);
  const uint64_t v = f.arg(s, 1);
  const size_t bytes = s.aux;  // of the lane, see aux_of()
  std::memcpy(reinterpret_cast<uint8_t*>(&a) + s.imm * bytes, &v, bytes);
  f.define(s, a);
}
void vmovmsk(Frame& f, const Step& s) noexcept {
  f.define(s, s.aux == 1 ? sign_bits<int8_t>(f, s) : s.aux == 4 ? sign_bits<int32_t>(f, s) : sign_bits<int64_t>(f, s));
}

void vpack_s16_s8(Frame& f, const Step& s) noexcept { pack<int16_t, int8_t>(f, s); }
void vpack_s32_s16(Frame& f, const Step& s) noexcept { pack<int32_t, int16_t>(f, s); }
void vpack_s16_u8(Frame& f, const Step& s) noexcept { pack<int16_t, uint8_t>(f, s); }
void vpack_s32_u16(Frame& f, const Step& s) noexcept { pack<int32_t, uint16_t>(f, s); }

void vunpacklo_i8(Frame& f, const Step& s) noexcept { unpack<uint8_t>(f, s, 0); }
void vunpacklo_i16(Frame& f, const Step& s) noexcept { unpack<uint16_t>(f, s, 0); }
void vunpacklo_i32(Frame& f, const Step& s) noexcept { unpack<uint32_t>(f, s, 0); }
void vunpacklo_i64(Frame& f, const Step& s) noexcept { unpack<uint64_t>(f, s, 0); }
void vunpackhi_i8(Frame& f, const Step& s) noexcept { unpack<uint8_t>(f, s, 8); }
void vunpackhi_i16(Frame& f, const Step& s) noexcept { unpack<uint16_t>(f, s, 4); }
void vunpackhi_i32(Frame& f, const Step& s) noexcept { unpack<uint32_t>(f, s, 2); }
void vunpackhi_i64(Frame& f, const Step& s) noexcept { unpack<uint64_t>(f, s, 1); }

void vshuffle_i8(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint8_t>(f, s, 0);
  const auto control = lanes<uint8_t>(f, s, 1);
  Lanes<uint8_t> out{};
  for (size_t i = 0; i < 16; i++) out[i] = (control[i] & 0x80) != 0 ? uint8_t{0} : a[control[i] & 15];
  define_lanes(f, s, out);
}

void vshlbytes(Frame& f, const Step& s) noexcept { slide(f, s, -static_cast<int>(s.imm & 0xff)); }
void vshrbytes(Frame& f, const Step& s) noexcept { slide(f, s, static_cast<int>(s.imm & 0xff)); }

void vpshufd(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint32_t>(f, s, 0);
  Lanes<uint32_t> out{};
  for (size_t i = 0; i < 4; i++) out[i] = a[s.imm >> (2 * i) & 3];
  define_lanes(f, s, out);
}
void vpshuflw(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint16_t>(f, s, 0);
  auto out = a;
  for (size_t i = 0; i < 4; i++) out[i] = a[s.imm >> (2 * i) & 3];
  define_lanes(f, s, out);
}
void vpshufhw(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint16_t>(f, s, 0);
  auto out = a;
  for (size_t i = 0; i < 4; i++) out[4 + i] = a[4 + (s.imm >> (2 * i) & 3)];
  define_lanes(f, s, out);
}
void vshufps(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint32_t>(f, s, 0);
  const auto b = lanes<uint32_t>(f, s, 1);
  define_lanes(f, s, Lanes<uint32_t>{a[s.imm & 3], a[s.imm >> 2 & 3], b[s.imm >> 4 & 3], b[s.imm >> 6 & 3]});
}
void vshufpd(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint64_t>(f, s, 0);
  const auto b = lanes<uint64_t>(f, s, 1);
  define_lanes(f, s, Lanes<uint64_t>{a[s.imm & 1], b[s.imm >> 1 & 1]});
}

// Sixteen bytes of a:b (a the high half), from byte imm on.
void vpalignr(Frame& f, const Step& s) noexcept {
  const auto a = lanes<uint8_t>(f, s, 0);
  const auto b = lanes<uint8_t>(f, s, 1);
  const size_t from = s.imm & 0xff;
  Lanes<uint8_t> out{};
  for (size_t i = 0; i < 16; i++) {
    const size_t at = from + i;
    out[i] = at < 16 ? b[at] : at < 32 ? a[at - 16] : uint8_t{0};
  }
  define_lanes(f, s, out);
}

void vblend_i16(Frame& f, const Step& s) noexcept { blend<uint16_t>(f, s); }
void vblendps(Frame& f, const Step& s) noexcept { blend<uint32_t>(f, s); }
void vblendpd(Frame& f, const Step& s) noexcept { blend<uint64_t>(f, s); }

void vinsertps(Frame& f, const Step& s) noexcept {
  auto out = lanes<uint32_t>(f, s, 0);
  out[s.imm >> 4 & 3] = lanes<uint32_t>(f, s, 1)[s.imm >> 6 & 3];
  for (size_t i = 0; i < 4; i++) {
    if ((s.imm >> i & 1) != 0) out[i] = 0;
  }
  define_lanes(f, s, out);
}

void vblendv_i8(Frame& f, const Step& s) noexcept { blend_by_sign<int8_t>(f, s); }
void vblendvps(Frame& f, const Step& s) noexcept { blend_by_sign<int32_t>(f, s); }
void vblendvpd(Frame& f, const Step& s) noexcept { blend_by_sign<int64_t>(f, s); }

void vsext_i8_i16(Frame& f, const Step& s) noexcept { extend<int8_t, int16_t>(f, s); }
void vsext_i8_i32(Frame& f, const Step& s) noexcept { extend<int8_t, int32_t>(f, s); }
void vsext_i8_i64(Frame& f, const Step& s) noexcept { extend<int8_t, int64_t>(f, s); }
void vsext_i16_i32(Frame& f, const Step& s) noexcept { extend<int16_t, int32_t>(f, s); }
void vsext_i16_i64(Frame& f, const Step& s) noexcept { extend<int16_t, int64_t>(f, s); }
void vsext_i32_i64(Frame& f, const Step& s) noexcept { extend<int32_t, int64_t>(f, s); }
void vzext_i8_i16(Frame& f, const Step& s) noexcept { extend<uint8_t, uint16_t>(f, s); }
void vzext_i8_i32(Frame& f, const Step& s) noexcept { extend<uint8_t, uint32_t>(f, s); }
void vzext_i8_i64(Frame& f, const Step& s) noexcept { extend<uint8_t, uint64_t>(f, s); }
void vzext_i16_i32(Frame& f, const Step& s) noexcept { extend<uint16_t, uint32_t>(f, s); }
void vzext_i16_i64(Frame& f, const Step& s) noexcept { extend<uint16_t, uint64_t>(f, s); }
void vzext_i32_i64(Frame& f, const Step& s) noexcept { extend<uint32_t, uint64_t>(f, s); }

}  // namespace panda::interp::ops
