#include "guest/x86/simd_helpers.h"

#include <bit>

#include "guest/x86/fpu_state.h"
#include "guest/x86/system.h"

namespace panda::x86 {
namespace {

using ir::Type;

constexpr uint32_t kSign = 0x80000000, kInfinity = 0x7f800000, kQuiet = 0x00400000;

uint64_t integer_root(uint64_t v) {  // floor of the square root
  uint64_t root = 0;
  for (uint64_t bit = uint64_t{1} << 31; bit != 0; bit >>= 1) {
    if ((root + bit) * (root + bit) <= v) root += bit;
  }
  return root;
}

uint32_t rcp(void*, uint32_t bits) noexcept { return approximate_reciprocal(bits); }
uint64_t rcp_pair(void*, uint64_t bits) noexcept {
  return approximate_reciprocal(static_cast<uint32_t>(bits)) |
         uint64_t{approximate_reciprocal(static_cast<uint32_t>(bits >> 32))} << 32;
}
uint32_t rsqrt(void*, uint32_t bits) noexcept { return approximate_reciprocal_root(bits); }
uint64_t rsqrt_pair(void*, uint64_t bits) noexcept {
  return approximate_reciprocal_root(static_cast<uint32_t>(bits)) |
         uint64_t{approximate_reciprocal_root(static_cast<uint32_t>(bits >> 32))} << 32;
}

void exceptions_begin(void* state) noexcept {
  Cpu cpu(state);
  VcpuContext& context = cpu.context();
  cpu.s().mxcsr |= context.guest_mxcsr & kMxcsrFlags;
  context.guest_mxcsr &= ~kMxcsrFlags;
}

void tiny_result(void* state, uint64_t low, uint64_t high, uint32_t lane) noexcept {
  Cpu cpu(state);
  constexpr uint32_t kUnderflow = 0x10;
  if ((cpu.s().mxcsr & kUnderflow << 7) != 0) return;
  const unsigned bits = lane * 8, fraction_bits = lane == 8 ? 52 : lane == 4 ? 23 : 10;
  bool tiny = false;
  for (const uint64_t half : {low, high}) {
    for (unsigned at = 0; at < 64; at += bits) {
      const uint64_t magnitude = half >> at & ((uint64_t{1} << (bits - 1)) - 1);
      tiny |= magnitude != 0 && magnitude >> fraction_bits == 0;
    }
  }
  if (tiny) cpu.context().guest_mxcsr |= kUnderflow;
}

// SDM vol. 1, 11.5.2: where an invalid-operand, denormal or divide exception is unmasked, the
// flags of the exceptions that come after a computation are not set, since there was none.
void exceptions_check(void* state) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  const uint32_t raised = cpu.context().guest_mxcsr & kMxcsrFlags;
  const uint32_t unmasked = raised & ~(s.mxcsr >> 7) & kMxcsrFlags;
  const uint32_t taken = (unmasked & 7) != 0 ? raised & 7 : raised;
  s.mxcsr |= taken;
  cpu.context().guest_mxcsr = (cpu.context().guest_mxcsr & ~kMxcsrFlags) | (s.mxcsr & kMxcsrFlags);
  if (unmasked == 0) return;
  constexpr uint64_t kOsXmmExcpt = uint64_t{1} << 10;
  raise(cpu, (cpu.cr(4) & kOsXmmExcpt) != 0 ? kXM : kUD);
}

}  // namespace

uint32_t approximate_reciprocal(uint32_t bits) noexcept {
  const uint32_t sign = bits & kSign, magnitude = bits & ~kSign;
  if (magnitude > kInfinity) return bits | kQuiet;
  if (magnitude == kInfinity) return sign;
  if (magnitude < 0x00800000) return sign | kInfinity;
  const uint64_t m = (magnitude & 0x7fffff) | 0x800000;
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  // 1 / (m * 2^-23) = q * 2^-13, rounded
  const uint64_t q = ((uint64_t{1} << 37) / m + 1) / 2;
  int biased = 127 - exponent - 1;
  uint64_t fraction = q - 0x1000;
  if (q == 0x2000) {
    ++biased;
    fraction = 0;
  }
  if (biased <= 0) return sign;
  return sign | static_cast<uint32_t>(biased) << 23 | static_cast<uint32_t>(fraction << 11);
}

uint32_t approximate_reciprocal_root(uint32_t bits) noexcept {
  const uint32_t sign = bits & kSign, magnitude = bits & ~kSign;
  if (magnitude > kInfinity) return bits | kQuiet;
  if (magnitude < 0x00800000) return sign | kInfinity;
  if (sign != 0) return 0xffc00000;
  if (magnitude == kInfinity) return 0;
  uint64_t m = (magnitude & 0x7fffff) | 0x800000;
  int exponent = static_cast<int>(magnitude >> 23) - 127;
  if ((exponent & 1) != 0) {
    m <<= 1;
    --exponent;
  }
  // 1 / sqrt(m * 2^-23) = q * 2^-13, rounded: q^2 = 2^49 / m
  const uint64_t q = (integer_root((uint64_t{1} << 51) / m) + 1) / 2;
  int biased = 127 - exponent / 2 - 1;
  uint64_t fraction = q - 0x1000;
  if (q == 0x2000) {
    ++biased;
    fraction = 0;
  }
  return static_cast<uint32_t>(biased) << 23 | static_cast<uint32_t>(fraction << 11);
}

namespace {
template <typename F>
ir::HelperDesc pure(std::string_view name, F* function, Type type) {
  return {.name = name,
          .function = reinterpret_cast<const void*>(function),
          .result = type,
          .params = {type},
          .reads = ir::kNoState,
          .writes = ir::kNoState,
          .may_exit = false,
          .pure = true};
}
}  // namespace

const ir::HelperDesc kRcp = pure("sse_rcp", &rcp, Type::I32);
const ir::HelperDesc kRcpPair = pure("sse_rcp_pair", &rcp_pair, Type::I64);
const ir::HelperDesc kRsqrt = pure("sse_rsqrt", &rsqrt, Type::I32);
const ir::HelperDesc kRsqrtPair = pure("sse_rsqrt_pair", &rsqrt_pair, Type::I64);

const ir::HelperDesc kSseExceptionsBegin{.name = "sse_exceptions_begin",
                                         .function = reinterpret_cast<const void*>(&exceptions_begin),
                                         .result = Type::Void,
                                         .params = {},
                                         .reads = {offsetof(State, mxcsr), offsetof(State, mxcsr) + 4},
                                         .writes = {offsetof(State, mxcsr), offsetof(State, mxcsr) + 4},
                                         .may_exit = false,
                                         .uses_fp = true};
const ir::HelperDesc kSseTinyResult{.name = "sse_tiny_result",
                                    .function = reinterpret_cast<const void*>(&tiny_result),
                                    .result = Type::Void,
                                    .params = {Type::I64, Type::I64, Type::I32},
                                    .reads = {offsetof(State, mxcsr), offsetof(State, mxcsr) + 4},
                                    .writes = ir::kNoState,
                                    .may_exit = false,
                                    .uses_fp = true};
const ir::HelperDesc kSseExceptionsCheck{.name = "sse_exceptions_check",
                                         .function = reinterpret_cast<const void*>(&exceptions_check),
                                         .result = Type::Void,
                                         .params = {},
                                         .uses_fp = true};

}  // namespace panda::x86
