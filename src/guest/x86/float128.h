// Elementary functions in 113-bit arithmetic, for the x87's transcendental instructions. Everything
// is additions, multiplications and divisions of the compiler's software __float128, so the results
// do not depend on the host; their relative error is below 2^-108.
#pragma once

#include <cstdint>

namespace panda::x86 {

__extension__ typedef __float128 Float128;
__extension__ typedef unsigned __int128 Uint128;

// The software arithmetic honours and sets MXCSR: these must be called with the default one in the
// host's register (DefaultMxcsr). They are opaque to the optimiser so that they stay inside.
class DefaultMxcsr {
 public:
  DefaultMxcsr() noexcept {
    __asm__ volatile("stmxcsr %0" : "=m"(saved_)::"memory");
    const uint32_t plain = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(plain) : "memory");
  }
  ~DefaultMxcsr() { __asm__ volatile("ldmxcsr %0" ::"m"(saved_) : "memory"); }
  DefaultMxcsr(const DefaultMxcsr&) = delete;
  DefaultMxcsr& operator=(const DefaultMxcsr&) = delete;

 private:
  uint32_t saved_;
};

// The exact value. A pseudo-denormal (exponent 0, integer bit 1) counts as the processor counts it.
[[gnu::noipa]] Float128 to_float128(long double v) noexcept;

// sine and cosine of x, |x| < 2^63. Reduced by the 66-bit value of pi that the x87 uses (SDM vol. 1, 8.3.8).
struct SineCosine {
  Float128 sine, cosine;
};
[[gnu::noipa]] SineCosine sine_cosine_128(long double x) noexcept;
[[gnu::noipa]] Float128 arctangent_128(long double y, long double x) noexcept;  // by quadrant; finite, not both zero
[[gnu::noipa]] Float128 log2_times_128(long double x, long double y) noexcept;  // y * log2(x), x finite and > 0
[[gnu::noipa]] Float128 log2_plus1_times_128(long double x, long double y) noexcept;  // y * log2(1 + x), x > -1
[[gnu::noipa]] Float128 exp2_minus1_128(long double x) noexcept;                      // |x| <= 1
[[gnu::noipa]] Float128 pi_times_128(int quarters) noexcept;                          // quarters * pi / 4

// Rounded to an x87 value by `rounding` (the RC field). status: PE, OE, UE as for masked exceptions, and C1.
struct Rounded {
  long double value;
  uint16_t status;
};
[[gnu::noipa]] Rounded round_to_x87(Float128 v, unsigned rounding) noexcept;

}  // namespace panda::x86
