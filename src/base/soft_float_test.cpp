// The software against the processor's own FMA and F16C where it has them: results and every exception flag,
// in each rounding mode, with denormals flushed and not; and fixed cases that need no such processor.
#include "base/soft_float.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <bit>
#include <random>

namespace panda {
namespace {

using Rng = std::mt19937_64;

uint32_t random_mxcsr(Rng& rng) {
  return 0x1f80 | static_cast<uint32_t>(rng() % 4) << kSseRoundingShift | (rng() % 4 == 0 ? kSseDaz : 0) |
         (rng() % 4 == 0 ? kSseFtz : 0);
}

// Often near each other or near the ends of the range, so that sums cancel, underflow and overflow.
template <typename T, unsigned fraction_bits>
T random_float(Rng& rng) {
  constexpr unsigned kBits = sizeof(T) * 8, kExponentBits = kBits - 1 - fraction_bits;
  constexpr uint64_t kMax = (uint64_t{1} << kExponentBits) - 1;
  uint64_t exponent = rng() & kMax;
  switch (rng() % 8) {
    case 0:
      exponent = rng() % 3;
      break;
    case 1:
      exponent = kMax - rng() % 3;
      break;
    case 2:
    case 3:
      exponent = kMax / 2 - 4 + rng() % 8;
      break;
    case 4:
      exponent = kMax / 4 + rng() % fraction_bits;
      break;
    default:
      break;
  }
  uint64_t fraction = rng() & ((uint64_t{1} << fraction_bits) - 1);
  switch (rng() % 6) {
    case 0:
      fraction = 0;
      break;
    case 1:
      fraction = (uint64_t{1} << fraction_bits) - 1 - rng() % 4;
      break;
    case 2:
      fraction = uint64_t{1} << rng() % fraction_bits;
      break;
    default:
      break;
  }
  return static_cast<T>((rng() % 2) << (kBits - 1) | exponent << fraction_bits | fraction);
}

constexpr unsigned kCases = 400'000;

__attribute__((target("fma"))) uint32_t host_fma32(uint32_t a, uint32_t b, uint32_t c, FmaKind kind, uint32_t& mxcsr) {
  __m128 x = _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(a)));
  __m128 y = _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(b)));
  __m128 z = _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(c)));
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(mxcsr);
  switch (kind) {
    case FmaKind::Add:
      __asm__ volatile("vfmadd231ss %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    case FmaKind::Sub:
      __asm__ volatile("vfmsub231ss %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    case FmaKind::NegatedAdd:
      __asm__ volatile("vfnmadd231ss %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    default:
      __asm__ volatile("vfnmsub231ss %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
  }
  mxcsr = _mm_getcsr();
  _mm_setcsr(before);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(z)));
}

__attribute__((target("fma"))) uint64_t host_fma64(uint64_t a, uint64_t b, uint64_t c, FmaKind kind, uint32_t& mxcsr) {
  __m128d x = _mm_castsi128_pd(_mm_cvtsi64_si128(static_cast<long long>(a)));
  __m128d y = _mm_castsi128_pd(_mm_cvtsi64_si128(static_cast<long long>(b)));
  __m128d z = _mm_castsi128_pd(_mm_cvtsi64_si128(static_cast<long long>(c)));
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(mxcsr);
  switch (kind) {
    case FmaKind::Add:
      __asm__ volatile("vfmadd231sd %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    case FmaKind::Sub:
      __asm__ volatile("vfmsub231sd %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    case FmaKind::NegatedAdd:
      __asm__ volatile("vfnmadd231sd %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
    default:
      __asm__ volatile("vfnmsub231sd %2, %1, %0" : "+x"(z) : "x"(x), "x"(y));
      break;
  }
  mxcsr = _mm_getcsr();
  _mm_setcsr(before);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_castpd_si128(z)));
}

TEST(SoftFloat, SingleFmaIsTheProcessors) {
  if (__builtin_cpu_supports("fma") == 0) GTEST_SKIP() << "the host has no FMA";
  Rng rng(1);
  for (unsigned i = 0; i < kCases && !HasFailure(); i++) {
    const auto a = random_float<uint32_t, 23>(rng), b = random_float<uint32_t, 23>(rng);
    uint32_t c = random_float<uint32_t, 23>(rng);
    if (rng() % 4 == 0) c = std::bit_cast<uint32_t>(-std::bit_cast<float>(a) * std::bit_cast<float>(b));
    const auto kind = static_cast<FmaKind>(rng() % 4);
    uint32_t ours = random_mxcsr(rng), theirs = ours;
    const uint32_t got = soft_fma32(a, b, c, kind, ours), want = host_fma32(a, b, c, kind, theirs);
    EXPECT_TRUE(got == want && ours == theirs)
        << std::hex << a << " " << b << " " << c << " kind " << static_cast<int>(kind) << ": want " << want << " mxcsr "
        << theirs << " got " << got << " mxcsr " << ours;
  }
}

TEST(SoftFloat, DoubleFmaIsTheProcessors) {
  if (__builtin_cpu_supports("fma") == 0) GTEST_SKIP() << "the host has no FMA";
  Rng rng(2);
  for (unsigned i = 0; i < kCases && !HasFailure(); i++) {
    const auto a = random_float<uint64_t, 52>(rng), b = random_float<uint64_t, 52>(rng);
    uint64_t c = random_float<uint64_t, 52>(rng);
    if (rng() % 4 == 0) c = std::bit_cast<uint64_t>(-std::bit_cast<double>(a) * std::bit_cast<double>(b));
    const auto kind = static_cast<FmaKind>(rng() % 4);
    uint32_t ours = random_mxcsr(rng), theirs = ours;
    const uint64_t got = soft_fma64(a, b, c, kind, ours), want = host_fma64(a, b, c, kind, theirs);
    EXPECT_TRUE(got == want && ours == theirs)
        << std::hex << a << " " << b << " " << c << " kind " << static_cast<int>(kind) << ": want " << want << " mxcsr "
        << theirs << " got " << got << " mxcsr " << ours;
  }
}

__attribute__((target("f16c"))) uint32_t host_half_to_float(uint16_t half, uint32_t& mxcsr) {
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(mxcsr);
  __m128 r;
  __asm__ volatile("vcvtph2ps %1, %0" : "=x"(r) : "x"(_mm_cvtsi32_si128(half)));
  mxcsr = _mm_getcsr();
  _mm_setcsr(before);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(r)));
}

template <int imm>
__attribute__((target("f16c"))) uint16_t host_float_to_half(uint32_t bits, uint32_t& mxcsr) {
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(mxcsr);
  __m128i r;
  __asm__ volatile("vcvtps2ph %2, %1, %0" : "=x"(r) : "x"(_mm_cvtsi32_si128(static_cast<int>(bits))), "i"(imm));
  mxcsr = _mm_getcsr();
  _mm_setcsr(before);
  return static_cast<uint16_t>(_mm_cvtsi128_si32(r));
}

TEST(SoftFloat, HalfConversionsAreTheProcessors) {
  if (__builtin_cpu_supports("f16c") == 0) GTEST_SKIP() << "the host has no F16C";
  using Convert = uint16_t (*)(uint32_t, uint32_t&);
  constexpr Convert kHost[] = {&host_float_to_half<0>, &host_float_to_half<1>, &host_float_to_half<2>,
                               &host_float_to_half<3>, &host_float_to_half<4>};
  Rng rng(3);
  for (uint32_t half = 0; half < 0x10000 && !HasFailure(); half++) {
    uint32_t ours = random_mxcsr(rng), theirs = ours;
    const uint32_t got = soft_half_to_float(static_cast<uint16_t>(half), ours);
    const uint32_t want = host_half_to_float(static_cast<uint16_t>(half), theirs);
    EXPECT_TRUE(got == want && ours == theirs)
        << std::hex << half << ": want " << want << " mxcsr " << theirs << " got " << got << " mxcsr " << ours;
  }
  for (unsigned i = 0; i < kCases && !HasFailure(); i++) {
    uint32_t bits = random_float<uint32_t, 23>(rng);
    if (rng() % 2 == 0) bits = (bits & 0x807f'ffff) | static_cast<uint32_t>(127 - 28 + rng() % 48) << 23;
    const auto imm = static_cast<uint8_t>(rng() % 5);
    uint32_t ours = random_mxcsr(rng), theirs = ours;
    const uint16_t got = soft_float_to_half(bits, imm, ours), want = kHost[imm](bits, theirs);
    EXPECT_TRUE(got == want && ours == theirs) << std::hex << bits << " imm " << int{imm} << ": want " << want
                                               << " mxcsr " << theirs << " got " << got << " mxcsr " << ours;
  }
}

// (1 + 2^-23) * (1 - 2^-23) - 1 = -2^-46: two roundings would give 0.
TEST(SoftFloat, FmaRoundsOnce) {
  uint32_t mxcsr = 0x1f80;
  EXPECT_EQ(soft_fma32(0x3f800001, 0x3f7ffffe, 0x3f800000, FmaKind::Sub, mxcsr), 0xa8800000u);
  EXPECT_EQ(mxcsr, 0x1f80u);
  EXPECT_EQ(soft_fma64(0x3ff8000000000000, 0x4000000000000000, 0x3ff0000000000000, FmaKind::NegatedAdd, mxcsr),
            0xc000000000000000u);  // -(1.5 * 2) + 1
  EXPECT_EQ(mxcsr, 0x1f80u);
  EXPECT_EQ(soft_fma32(0x7f800000, 0, 0x3f800000, FmaKind::Add, mxcsr), 0xffc00000u);
  EXPECT_EQ(mxcsr, 0x1f80u | kSseInvalid);
}

TEST(SoftFloat, PackedKindsAlternate) {
  uint32_t mxcsr = 0x1f80;
  const SoftVector two{0x4000000040000000, 0x4000000040000000}, one{0x3f8000003f800000, 0x3f8000003f800000};
  const SoftVector r = soft_vector_op(SoftOp::Fma32x4, static_cast<uint8_t>(FmaKind::AddSub), two, one, one, mxcsr);
  EXPECT_EQ(r.low, 0x404000003f800000u);  // 2 - 1, 2 + 1
  EXPECT_EQ(r.high, r.low);
  const SoftVector s = soft_vector_op(SoftOp::Fma32x4, static_cast<uint8_t>(FmaKind::SubAdd), two, one, one, mxcsr);
  EXPECT_EQ(s.low, 0x3f80000040400000u);
}

TEST(SoftFloat, HalvesRoundByTheImmediate) {
  uint32_t mxcsr = 0x1f80;
  EXPECT_EQ(soft_float_to_half(0x3f801000, 0, mxcsr), 0x3c00);  // halfway, to even
  EXPECT_EQ(soft_float_to_half(0x3f801000, 2, mxcsr), 0x3c01);
  EXPECT_EQ(mxcsr, 0x1f80u | kSseInexact);
  EXPECT_EQ(soft_half_to_float(0x0001, mxcsr), 0x33800000u);  // 2^-24
}

}  // namespace
}  // namespace panda
