#include "base/soft_float.h"

#include <array>
#include <bit>

namespace panda {
namespace {

// __int128 is an extension of the compilers for every host that the JIT runs on.
__extension__ using Wide = unsigned __int128;

struct Format {
  unsigned fraction_bits;
  unsigned exponent_bits;
  [[nodiscard]] constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  [[nodiscard]] constexpr uint64_t exponent_mask() const { return (uint64_t{1} << exponent_bits) - 1; }
  [[nodiscard]] constexpr uint64_t fraction_mask() const { return (uint64_t{1} << fraction_bits) - 1; }
  [[nodiscard]] constexpr uint64_t sign_bit() const { return uint64_t{1} << (fraction_bits + exponent_bits); }
  [[nodiscard]] constexpr uint64_t quiet_bit() const { return uint64_t{1} << (fraction_bits - 1); }
  [[nodiscard]] constexpr uint64_t infinity() const { return exponent_mask() << fraction_bits; }
};
constexpr Format kHalf{10, 5}, kSingle{23, 8}, kDouble{52, 11};

enum class Class : uint8_t { Zero, Finite, Infinity, Nan };

// A number is significand * 2^(exponent - 126), the significand's leading one at bit 126.
constexpr int kTop = 126;
struct Number {
  bool sign = false;
  Class kind = Class::Zero;
  bool denormal = false;
  int exponent = 0;
  Wide significand = 0;
};

int leading_bit(Wide v) {
  const auto high = static_cast<uint64_t>(v >> 64);
  return high != 0 ? 127 - std::countl_zero(high) : 63 - std::countl_zero(static_cast<uint64_t>(v));
}

Number normalized(bool sign, int exponent, Wide significand) {
  const int shift = kTop - leading_bit(significand);
  return {sign, Class::Finite, false, exponent - shift, significand << shift};
}

Number unpack(const Format& f, uint64_t bits, bool daz) {
  const bool sign = (bits & f.sign_bit()) != 0;
  const uint64_t fraction = bits & f.fraction_mask();
  const uint64_t biased = bits >> f.fraction_bits & f.exponent_mask();
  if (biased == f.exponent_mask()) return {sign, fraction != 0 ? Class::Nan : Class::Infinity};
  if (biased == 0 && (fraction == 0 || daz)) return {sign, Class::Zero};
  const uint64_t significand = biased == 0 ? fraction : fraction | uint64_t{1} << f.fraction_bits;
  const int exponent =
      (biased == 0 ? 1 : static_cast<int>(biased)) - f.bias() - static_cast<int>(f.fraction_bits) + kTop;
  Number n = normalized(sign, exponent, significand);
  n.denormal = biased == 0;
  return n;
}

// Right by n with what falls off kept in bit 0.
Wide shift_sticky(Wide v, int n) {
  if (n <= 0) return v;
  if (n > 127) return v != 0 ? 1 : 0;
  const Wide lost = v & ((Wide{1} << n) - 1);
  return v >> n | (lost != 0 ? 1 : 0);
}

enum class Rounding : uint8_t { Nearest, Down, Up, Zero };

bool rounds_up(Rounding mode, bool sign, bool odd, Wide lost, Wide half) {
  switch (mode) {
    case Rounding::Nearest:
      return lost > half || (lost == half && odd);
    case Rounding::Down:
      return sign && lost != 0;
    case Rounding::Up:
      return !sign && lost != 0;
    default:
      return false;
  }
}

// `significand` without its low `drop` bits, rounded.
uint64_t rounded(Wide significand, int drop, Rounding mode, bool sign, bool& inexact) {
  const Wide lost = significand & ((Wide{1} << drop) - 1);
  auto kept = static_cast<uint64_t>(significand >> drop);
  inexact = lost != 0;
  if (rounds_up(mode, sign, (kept & 1) != 0, lost, Wide{1} << (drop - 1))) ++kept;
  return kept;
}

uint64_t overflowed(const Format& f, bool sign, Rounding mode) {
  const bool infinite =
      mode == Rounding::Nearest || (mode == Rounding::Up && !sign) || (mode == Rounding::Down && sign);
  return (sign ? f.sign_bit() : 0) | (infinite ? f.infinity() : f.infinity() - 1);
}

// A finite number other than zero. Tininess is found after rounding with an unbounded exponent.
uint64_t pack(const Format& f, const Number& n, Rounding mode, bool flush, uint32_t& mxcsr) {
  const int drop = kTop - static_cast<int>(f.fraction_bits);
  const int min_exponent = 1 - f.bias();
  const uint64_t sign = n.sign ? f.sign_bit() : 0;
  bool inexact = false;
  const uint64_t kept = rounded(n.significand, drop, mode, n.sign, inexact);
  const int carried = static_cast<int>(kept >> (f.fraction_bits + 1));
  if (n.exponent + carried >= min_exponent) {
    if (n.exponent + carried > f.bias()) {
      mxcsr |= kSseOverflow | kSseInexact;
      return overflowed(f, n.sign, mode);
    }
    if (inexact) mxcsr |= kSseInexact;
    if (n.exponent < min_exponent) return sign | uint64_t{1} << f.fraction_bits;  // rounded up to the smallest normal
    const auto biased = static_cast<uint64_t>(n.exponent + f.bias());
    return sign | ((biased << f.fraction_bits) + (kept - (uint64_t{1} << f.fraction_bits)));
  }
  if (flush) {
    mxcsr |= kSseUnderflow | kSseInexact;
    return sign;
  }
  const uint64_t result = rounded(shift_sticky(n.significand, min_exponent - n.exponent), drop, mode, n.sign, inexact);
  if (inexact) mxcsr |= kSseUnderflow | kSseInexact;
  return sign | result;
}

Rounding rounding_of(uint32_t mxcsr) { return static_cast<Rounding>(mxcsr >> kSseRoundingShift & 3); }

bool is_nan(const Format& f, uint64_t bits) { return (bits & ~f.sign_bit()) > f.infinity(); }
bool is_signalling(const Format& f, uint64_t bits) { return is_nan(f, bits) && (bits & f.quiet_bit()) == 0; }

// Neither is zero. Both significands are halved first, since their sum may reach 2^127; of numbers so far
// apart that bits fall off, a difference loses at most one bit at its top, so that the sticky bit stays below
// what is rounded.
Number sum(const Number& a, const Number& b) {
  const bool a_larger = a.exponent > b.exponent || (a.exponent == b.exponent && a.significand >= b.significand);
  const Number &large = a_larger ? a : b, &small = a_larger ? b : a;
  const Wide first = large.significand >> 1;  // its low bits are clear: 106 bits at most are in use
  const Wide second = shift_sticky(small.significand, large.exponent - small.exponent + 1);
  const Wide r = large.sign == small.sign ? first + second : first - second;
  return r == 0 ? Number{} : normalized(large.sign, large.exponent + 1, r);
}

uint64_t fma(const Format& f, uint64_t a, uint64_t b, uint64_t c, FmaKind kind, uint32_t& mxcsr) {
  const bool daz = (mxcsr & kSseDaz) != 0;
  Number x = unpack(f, a, daz), y = unpack(f, b, daz), z = unpack(f, c, daz);
  const bool signalling = is_signalling(f, a) || is_signalling(f, b) || is_signalling(f, c);
  const bool bad_product =
      (x.kind == Class::Infinity && y.kind == Class::Zero) || (x.kind == Class::Zero && y.kind == Class::Infinity);
  if (signalling) mxcsr |= kSseInvalid;
  // The first NaN in the order of the operation's operands.
  for (const uint64_t v : {a, b, c}) {
    if (is_nan(f, v)) return v | f.quiet_bit();
  }
  const uint64_t indefinite = f.sign_bit() | f.infinity() | f.quiet_bit();
  if (bad_product) {
    mxcsr |= kSseInvalid;
    return indefinite;
  }
  const bool product_sign = (x.sign != y.sign) != (kind == FmaKind::NegatedAdd || kind == FmaKind::NegatedSub);
  z.sign = z.sign != (kind == FmaKind::Sub || kind == FmaKind::NegatedSub);
  const bool infinite_product = x.kind == Class::Infinity || y.kind == Class::Infinity;
  if (infinite_product && z.kind == Class::Infinity && product_sign != z.sign) {
    mxcsr |= kSseInvalid;
    return indefinite;
  }
  if (x.denormal || y.denormal || z.denormal) mxcsr |= kSseDenormal;
  if (infinite_product || z.kind == Class::Infinity) {
    return ((infinite_product ? product_sign : z.sign) ? f.sign_bit() : 0) | f.infinity();
  }
  const Rounding mode = rounding_of(mxcsr);
  const bool zero_product = x.kind == Class::Zero || y.kind == Class::Zero;
  const auto signed_zero = [&](bool sign) { return sign ? f.sign_bit() : 0; };
  if (zero_product && z.kind == Class::Zero) {
    return signed_zero(product_sign == z.sign ? z.sign : mode == Rounding::Down);
  }
  Number r = z;
  if (!zero_product) {
    // The significands have at most 53 bits: their product is exact.
    const Wide product = (x.significand >> 64) * (y.significand >> 64);
    const Number p = normalized(product_sign, x.exponent + y.exponent + 2, product);
    r = z.kind == Class::Zero ? p : sum(p, z);
    if (r.kind == Class::Zero) return signed_zero(mode == Rounding::Down);
  }
  const bool flush = (mxcsr & kSseFtz) != 0 && (mxcsr & kSseUnderflowMask) != 0;
  return pack(f, r, mode, flush, mxcsr);
}

}  // namespace

uint32_t soft_fma32(uint32_t a, uint32_t b, uint32_t c, FmaKind kind, uint32_t& mxcsr) noexcept {
  return static_cast<uint32_t>(fma(kSingle, a, b, c, kind, mxcsr));
}

uint64_t soft_fma64(uint64_t a, uint64_t b, uint64_t c, FmaKind kind, uint32_t& mxcsr) noexcept {
  return fma(kDouble, a, b, c, kind, mxcsr);
}

uint32_t soft_half_to_float(uint16_t half, uint32_t& mxcsr) noexcept {
  const uint32_t sign = (half & kHalf.sign_bit()) != 0 ? 0x8000'0000 : 0;
  if (is_nan(kHalf, half)) {
    if (is_signalling(kHalf, half)) mxcsr |= kSseInvalid;
    const auto fraction = static_cast<uint32_t>(half & kHalf.fraction_mask()) << 13;
    return sign | static_cast<uint32_t>(kSingle.infinity() | kSingle.quiet_bit()) | fraction;
  }
  // Exact, and neither DAZ nor the denormal flag know of half-precision denormals.
  const Number n = unpack(kHalf, half, false);
  if (n.kind == Class::Zero) return sign;
  if (n.kind == Class::Infinity) return sign | static_cast<uint32_t>(kSingle.infinity());
  return static_cast<uint32_t>(pack(kSingle, n, Rounding::Nearest, false, mxcsr));
}

uint16_t soft_float_to_half(uint32_t bits, uint8_t imm, uint32_t& mxcsr) noexcept {
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (is_nan(kSingle, bits)) {
    if (is_signalling(kSingle, bits)) mxcsr |= kSseInvalid;
    return static_cast<uint16_t>(sign | kHalf.infinity() | kHalf.quiet_bit() | (bits >> 13 & kHalf.fraction_mask()));
  }
  const Number n = unpack(kSingle, bits, (mxcsr & kSseDaz) != 0);
  if (n.kind == Class::Zero) return sign;
  if (n.kind == Class::Infinity) return static_cast<uint16_t>(sign | kHalf.infinity());
  if (n.denormal) mxcsr |= kSseDenormal;
  const Rounding mode = (imm & 4) != 0 ? rounding_of(mxcsr) : static_cast<Rounding>(imm & 3);
  return static_cast<uint16_t>(pack(kHalf, n, mode, false, mxcsr));
}

SoftVector soft_vector_op(SoftOp op, uint8_t imm, SoftVector a, SoftVector b, SoftVector c, uint32_t& mxcsr) noexcept {
  using Singles = std::array<uint32_t, 4>;
  using Doubles = std::array<uint64_t, 2>;
  const auto kind = static_cast<FmaKind>(imm);
  switch (op) {
    case SoftOp::Fma32:
    case SoftOp::Fma32x4: {
      const auto x = std::bit_cast<Singles>(a), y = std::bit_cast<Singles>(b), z = std::bit_cast<Singles>(c);
      Singles r{};
      const unsigned lanes = op == SoftOp::Fma32 ? 1 : 4;
      for (unsigned i = 0; i < lanes; i++) r[i] = soft_fma32(x[i], y[i], z[i], fma_of_lane(kind, i), mxcsr);
      return std::bit_cast<SoftVector>(r);
    }
    case SoftOp::Fma64:
    case SoftOp::Fma64x2: {
      const auto x = std::bit_cast<Doubles>(a), y = std::bit_cast<Doubles>(b), z = std::bit_cast<Doubles>(c);
      Doubles r{};
      const unsigned lanes = op == SoftOp::Fma64 ? 1 : 2;
      for (unsigned i = 0; i < lanes; i++) r[i] = soft_fma64(x[i], y[i], z[i], fma_of_lane(kind, i), mxcsr);
      return std::bit_cast<SoftVector>(r);
    }
    case SoftOp::HalfToFloat: {
      Singles r{};
      for (unsigned i = 0; i < 4; i++) r[i] = soft_half_to_float(static_cast<uint16_t>(a.low >> (16 * i)), mxcsr);
      return std::bit_cast<SoftVector>(r);
    }
    default: {
      const auto x = std::bit_cast<Singles>(a);
      SoftVector r;
      for (unsigned i = 0; i < 4; i++) r.low |= uint64_t{soft_float_to_half(x[i], imm, mxcsr)} << (16 * i);
      return r;
    }
  }
}

}  // namespace panda
