// SSE instructions that are not one IR operation: approximations, string compares and the response
// to unmasked exceptions.
#pragma once

#include <cstdint>

#include "ir/helper.h"

namespace panda::x86 {

// --- approximations. The architecture allows an error of 1.5 * 2^-12; here the result is the exact
// one rounded to 12 bits behind the point, ties away from zero, computed in integers: the same on
// every host. Denormals count as zeros, denormal results become zeros, no flag is raised.
[[nodiscard]] uint32_t approximate_reciprocal(uint32_t bits) noexcept;       // RCPSS
[[nodiscard]] uint32_t approximate_reciprocal_root(uint32_t bits) noexcept;  // RSQRTSS
extern const ir::HelperDesc kRcp, kRcpPair, kRsqrt, kRsqrtPair;              // I32 to I32; I64 to I64: two lanes

// --- PCMPxSTRx (simd_strings.cpp). control: immediate | XMM number of the first operand << 8 | mask
// form << 17. The second operand's value is given, since it may be memory. Result: ECX in bits 0-31,
// EFLAGS in 32-63; the mask form writes XMM0 itself.
extern const ir::HelperDesc kPcmpstr;        // control, low, high
extern const ir::HelperDesc kPcmpstrLength;  // control, low, high, lengths (EAX | EDX << 32, in 0..16)
struct StringCompare {
  uint64_t low = 0, high = 0;  // the mask result
  uint32_t index = 0;
  uint32_t eflags = 0;
};
[[nodiscard]] StringCompare compare_strings(const uint8_t* a, int length_a, const uint8_t* b, int length_b,
                                            uint8_t control) noexcept;
[[nodiscard]] int implicit_length(const uint8_t* text, uint8_t control) noexcept;

// --- unmasked SSE exceptions (kModeFpUnmasked)
extern const ir::HelperDesc kSseExceptionsBegin;  // clears the flags, so that the check sees new ones
// What the host does not tell where it runs with exceptions masked: a result that is tiny and exact. Lanes
// (low, high halves) of `lane` bytes, of an operation that underflows.
extern const ir::HelperDesc kSseTinyResult;       // low, high, lane
extern const ir::HelperDesc kSseExceptionsCheck;  // adds them to MXCSR; #XM (or #UD) where one is unmasked

}  // namespace panda::x86
