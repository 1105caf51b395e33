#include "guest/x86/simd_helpers.h"

#include <gtest/gtest.h>
#include <nmmintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "guest/x86/state.h"

namespace panda::x86 {
namespace {

float value(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t bits(float v) { return std::bit_cast<uint32_t>(v); }

TEST(Approximations, StayWithinTheArchitecturalError) {
  std::mt19937 random(11);
  for (int i = 0; i < 200000; ++i) {
    const uint32_t x = 0x00800000 + static_cast<uint32_t>(random()) % (0x7f000000 - 0x00800000);
    const double exact = 1.0 / static_cast<double>(value(x));
    if (exact >= 0x1p-126) {
      const double r = static_cast<double>(value(approximate_reciprocal(x)));
      ASSERT_LE(std::fabs(r - exact), exact * 0x1.8p-12) << std::hex << x;
      ASSERT_EQ(approximate_reciprocal(x ^ 0x80000000), bits(static_cast<float>(-r)));
    } else {
      ASSERT_EQ(approximate_reciprocal(x), 0u);
    }
    const double root = 1.0 / std::sqrt(static_cast<double>(value(x)));
    ASSERT_LE(std::fabs(static_cast<double>(value(approximate_reciprocal_root(x))) - root), root * 0x1.8p-12)
        << std::hex << x;
  }
}

TEST(Approximations, SpecialValuesAreTheHosts) {
  for (const uint32_t x : {0u, 0x80000000u, 1u, 0x807fffffu, 0x7f800000u, 0xff800000u, 0x7fc00001u, 0x7f800001u,
                           0xffa00000u, 0x3f800000u, 0x40800000u}) {
    const __m128 v = _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(x)));
    if (x == 0x3f800000u || x == 0x40800000u) {  // exact powers
      EXPECT_EQ(value(approximate_reciprocal(x)), 1 / value(x));
      EXPECT_EQ(value(approximate_reciprocal_root(x)), 1 / std::sqrt(value(x)));
      continue;
    }
    EXPECT_EQ(approximate_reciprocal(x), static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_rcp_ss(v)))))
        << std::hex << x;
    EXPECT_EQ(approximate_reciprocal_root(x),
              static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_rsqrt_ss(v)))))
        << std::hex << x;
  }
  EXPECT_EQ(approximate_reciprocal_root(bits(-1.0f)), 0xffc00000u);
}

// --- string compares against the host, each immediate
struct Operands {
  __m128i a, b;
  int length_a, length_b;
};

template <int imm>
[[gnu::target("sse4.2")]] StringCompare host(const Operands& o, bool explicit_length) {
  StringCompare r;
  const auto eflags = [](int c, int z, int s, int v) {
    return (c ? kCF : 0u) | (z ? kZF : 0u) | (s ? kSF : 0u) | (v ? kOF_ : 0u);
  };
  __m128i mask;
  if (explicit_length) {
    mask = _mm_cmpestrm(o.a, o.length_a, o.b, o.length_b, imm);
    r.index = static_cast<uint32_t>(_mm_cmpestri(o.a, o.length_a, o.b, o.length_b, imm));
    r.eflags = eflags(
        _mm_cmpestrc(o.a, o.length_a, o.b, o.length_b, imm), _mm_cmpestrz(o.a, o.length_a, o.b, o.length_b, imm),
        _mm_cmpestrs(o.a, o.length_a, o.b, o.length_b, imm), _mm_cmpestro(o.a, o.length_a, o.b, o.length_b, imm));
  } else {
    mask = _mm_cmpistrm(o.a, o.b, imm);
    r.index = static_cast<uint32_t>(_mm_cmpistri(o.a, o.b, imm));
    r.eflags = eflags(_mm_cmpistrc(o.a, o.b, imm), _mm_cmpistrz(o.a, o.b, imm), _mm_cmpistrs(o.a, o.b, imm),
                      _mm_cmpistro(o.a, o.b, imm));
  }
  uint64_t halves[2];
  std::memcpy(halves, &mask, 16);
  r.low = halves[0];
  r.high = halves[1];
  return r;
}

template <int imm>
void check(std::mt19937& random) {
  for (int round = 0; round < 300; ++round) {
    std::array<uint8_t, 16> a{}, b{};
    const unsigned alphabet = round % 3 == 0 ? 256 : 4;  // few characters, so that they meet
    for (auto* text : {&a, &b}) {
      for (uint8_t& c : *text) c = static_cast<uint8_t>(random() % alphabet + (round % 3 == 1 && random() % 8 ? 1 : 0));
    }
    Operands o{};
    std::memcpy(&o.a, a.data(), 16);
    std::memcpy(&o.b, b.data(), 16);
    o.length_a = static_cast<int>(random() % 17);
    o.length_b = static_cast<int>(random() % 17);
    const bool explicit_length = round % 2 == 0;
    const StringCompare expected = host<imm>(o, explicit_length);
    const int la = explicit_length ? o.length_a : implicit_length(a.data(), imm);
    const int lb = explicit_length ? o.length_b : implicit_length(b.data(), imm);
    const StringCompare actual = compare_strings(a.data(), la, b.data(), lb, imm);
    ASSERT_EQ(expected.index, actual.index) << "imm " << imm << " round " << round << " lengths " << la << " " << lb;
    ASSERT_EQ(expected.eflags, actual.eflags) << "imm " << imm << " round " << round << " lengths " << la << " " << lb;
    ASSERT_EQ(expected.low, actual.low) << "imm " << imm;
    ASSERT_EQ(expected.high, actual.high) << "imm " << imm;
  }
}

template <int... imm>
void check_all(std::integer_sequence<int, imm...>) {
  std::mt19937 random(3);
  (check<imm>(random), ...);
}

TEST(StringCompares, AreTheHosts) { check_all(std::make_integer_sequence<int, 128>()); }

}  // namespace
}  // namespace panda::x86
