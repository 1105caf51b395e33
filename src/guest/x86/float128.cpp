#include "guest/x86/float128.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "guest/x86/x87_fpu.h"

namespace panda::x86 {
namespace {

// v * 2^n
constexpr Float128 scaled(Float128 v, int n) {
  for (; n > 0; --n) v *= 2;
  for (; n < 0; ++n) v /= 2;
  return v;
}

// hi * 2^-scale + lo * 2^-(scale + 64)
constexpr Float128 constant(uint64_t hi, uint64_t lo, int scale) {
  return scaled(static_cast<Float128>(hi), -scale) + scaled(static_cast<Float128>(lo), -scale - 64);
}

constexpr Float128 kPi = constant(0x3243f6a8885a308d, 0x313198a2e0370734, 60);
constexpr Float128 kLn2 = constant(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af, 64);

constexpr auto kInverseFactorials = [] {
  std::array<Float128, 36> table{};
  Float128 factorial = 1;
  for (unsigned n = 0; n < table.size(); ++n) {
    if (n > 1) factorial *= static_cast<int>(n);
    table[n] = 1 / factorial;
  }
  return table;
}();

constexpr auto kInverses = [] {
  std::array<Float128, 64> table{};
  for (unsigned n = 1; n < table.size(); ++n) table[n] = Float128{1} / static_cast<int>(n);
  return table;
}();

// arctangent of |u| <= 1/8 by its series
constexpr Float128 arctangent_series(Float128 u, unsigned terms) {
  const Float128 square = u * u;
  Float128 sum = 0;
  for (unsigned n = terms; n > 0; --n) {
    const Float128 term = kInverses[2 * n + 1];
    sum = ((n & 1) ? -term : term) + (n == terms ? Float128{0} : square * sum);
  }
  return u + u * (square * sum);
}

// arctangents of k / 8
constexpr auto kArctangents = [] {
  std::array<Float128, 9> table{};
  for (int k = 1; k <= 8; ++k) {
    const Float128 step = Float128{8} / (64 + k * (k - 1));
    table[static_cast<unsigned>(k)] = table[static_cast<unsigned>(k - 1)] + arctangent_series(step, 22);
  }
  return table;
}();

struct Parts {
  bool negative;
  int exponent;          // of the integer significand's top bit
  uint64_t significand;  // normalised: bit 63 set, unless zero
};

Parts parts_of(long double v) {
  Parts p{};
  uint16_t high;
  std::memcpy(&p.significand, &v, 8);
  std::memcpy(&high, reinterpret_cast<const char*>(&v) + 8, 2);
  p.negative = high >> 15 != 0;
  p.exponent = (high & 0x7fff) - 0x3fff;
  if ((high & 0x7fff) == 0) ++p.exponent;
  if (p.significand != 0) {
    const int shift = std::countl_zero(p.significand);
    p.significand <<= shift;
    p.exponent -= shift;
  }
  return p;
}

// ln(m) = 2 artanh(s), s = (m - 1) / (m + 1), for |s| < 0.18
Float128 artanh_doubled(Float128 s) {
  const Float128 square = s * s;
  Float128 sum = 0;
  for (unsigned n = 24; n > 0; --n) sum = square * (kInverses[2 * n + 1] + sum);
  return 2 * (s + s * sum);
}

Float128 log2_128(long double x) {
  Parts p = parts_of(x);
  // m in [0.707, 1.414)
  constexpr uint64_t kRootTwo = 0xb504f333f9de6484;
  int exponent = p.exponent;
  Float128 m = scaled(static_cast<Float128>(p.significand), -63);
  if (p.significand > kRootTwo) {
    m /= 2;
    ++exponent;
  }
  if (m == 1) return exponent;
  return exponent + artanh_doubled((m - 1) / (m + 1)) / kLn2;
}

}  // namespace

Float128 to_float128(long double v) noexcept {
  uint64_t low;
  uint16_t high;
  std::memcpy(&low, &v, 8);
  std::memcpy(&high, reinterpret_cast<const char*>(&v) + 8, 2);
  if ((high & 0x7fff) == 0 && low >> 63 != 0) v = make_f80(low, static_cast<uint16_t>(high | 1));
  return static_cast<Float128>(v);
}

SineCosine sine_cosine_128(long double x) noexcept {
  const Parts p = parts_of(x);
  // x = q * (pi / 2) + r exactly, in units of 2^-65, where pi / 2 is a 66-bit integer.
  constexpr Uint128 kHalfPi = static_cast<Uint128>(0xc90fdaa22168c234) << 2 | 3;
  Float128 r;
  unsigned quadrant = 0;
  const int shift = p.exponent + 2;
  if (shift < 0) {
    r = to_float128(x < 0 ? -x : x);
  } else {
    Uint128 rest = 0;
    for (int bit = 63; bit >= -shift; --bit) {
      rest = rest << 1 | (bit >= 0 ? p.significand >> bit & 1 : 0);
      quadrant <<= 1;
      if (rest >= kHalfPi) {
        rest -= kHalfPi;
        quadrant |= 1;
      }
    }
    const bool round_up = rest * 2 > kHalfPi;
    if (round_up) {
      rest = kHalfPi - rest;
      ++quadrant;
    }
    r = scaled(static_cast<Float128>(static_cast<uint64_t>(rest >> 64)), 64) +
        static_cast<Float128>(static_cast<uint64_t>(rest));
    r = scaled(round_up ? -r : r, -65);
  }
  const Float128 square = r * r;
  Float128 sine = 0, cosine = 0;
  for (unsigned n = 17; n > 0; --n) {
    const Float128 s = kInverseFactorials[2 * n + 1], c = kInverseFactorials[2 * n];
    sine = square * (((n & 1) ? -s : s) + sine);
    cosine = square * (((n & 1) ? -c : c) + cosine);
  }
  sine = r + r * sine;
  cosine = 1 + cosine;
  SineCosine result{};
  switch (quadrant & 3) {
    case 0:
      result = {sine, cosine};
      break;
    case 1:
      result = {cosine, -sine};
      break;
    case 2:
      result = {-sine, -cosine};
      break;
    default:
      result = {-cosine, sine};
      break;
  }
  if (p.negative) result.sine = -result.sine;
  return result;
}

Float128 arctangent_128(long double y, long double x) noexcept {
  const bool y_negative = std::signbit(y), x_negative = std::signbit(x);
  const Float128 a = to_float128(y_negative ? -y : y), b = to_float128(x_negative ? -x : x);
  const bool steep = a > b;
  const Float128 t = steep ? b / a : a / b;
  const int k = static_cast<int>(t * 8 + Float128{1} / 2);
  const Float128 c = static_cast<Float128>(k) / 8;
  const Float128 u = k == 0 ? t : (t - c) / (1 + t * c);
  Float128 r = kArctangents[static_cast<unsigned>(k)] + arctangent_series(u, 15);
  if (k == 0) r = arctangent_series(u, 15);
  if (steep) r = kPi / 2 - r;
  if (x_negative) r = kPi - r;
  return y_negative ? -r : r;
}

Float128 log2_times_128(long double x, long double y) noexcept { return to_float128(y) * log2_128(x); }

Float128 log2_plus1_times_128(long double x, long double y) noexcept {
  const Float128 v = to_float128(x);
  if (x > -0.29L && x < 0.41L) return to_float128(y) * (artanh_doubled(v / (2 + v)) / kLn2);
  // Outside the range that the instruction is defined for.
  return to_float128(y) * log2_128(static_cast<long double>(1 + v));
}

Float128 exp2_minus1_128(long double x) noexcept {
  if (x == 1) return 1;
  if (x == -1) return Float128{-1} / 2;
  const Float128 z = to_float128(x) * kLn2;
  Float128 sum = 0;
  for (unsigned n = 33; n > 1; --n) sum = z * (kInverseFactorials[n] + sum);
  return z + z * sum;
}

Float128 pi_times_128(int quarters) noexcept { return kPi * quarters / 4; }

Rounded round_to_x87(Float128 v, unsigned rounding) noexcept {
  const auto bits = std::bit_cast<Uint128>(v);
  const auto top = static_cast<uint64_t>(bits >> 64);
  const bool negative = top >> 63 != 0;
  unsigned exponent = top >> 48 & 0x7fff;
  const auto sign = static_cast<uint16_t>(negative ? 0x8000 : 0);
  if (exponent == 0x7fff) return {make_f80(0x8000000000000000, static_cast<uint16_t>(sign | 0x7fff)), 0};
  constexpr Uint128 kOne = 1;
  Uint128 m = bits & ((kOne << 112) - 1);
  if (exponent != 0) m |= kOne << 112;
  auto kept = static_cast<uint64_t>(m >> 49);
  const auto rest = static_cast<uint64_t>(m) & ((uint64_t{1} << 49) - 1);
  constexpr uint64_t kHalf = uint64_t{1} << 48;
  bool up = false;
  switch (rounding) {
    case 0:
      up = rest > kHalf || (rest == kHalf && (kept & 1) != 0);
      break;
    case 1:
      up = negative && rest != 0;
      break;
    case 2:
      up = !negative && rest != 0;
      break;
    default:
      break;
  }
  unsigned status = 0;
  if (rest != 0) {
    status |= kFpPE;
    if (exponent == 0) status |= kFpUE;
  }
  if (up) {
    status |= kFpC1;
    if (++kept == 0) {
      kept = uint64_t{1} << 63;
      ++exponent;
    }
  }
  if (exponent == 0 && kept >> 63 != 0) exponent = 1;
  if (exponent >= 0x7fff) {
    status |= kFpOE | kFpPE;
    kept = uint64_t{1} << 63;
    exponent = 0x7fff;
  }
  return {make_f80(kept, static_cast<uint16_t>(sign | exponent)), static_cast<uint16_t>(status)};
}

}  // namespace panda::x86
