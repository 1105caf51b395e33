// The string compares of SSE4.2, after SDM vol. 2, 4.1: compare each lane of one operand with each
// of the other, aggregate the matrix into a bit per lane, apply the polarity.
#include <algorithm>
#include <bit>
#include <cstring>

#include "guest/x86/simd_helpers.h"
#include "guest/x86/state.h"

namespace panda::x86 {
namespace {

// Control byte: bit 0 words, bit 1 signed, bits 2-3 aggregation, bit 4 negative, bit 5 masked, bit 6 output.
constexpr unsigned lane_count(uint8_t control) { return (control & 1) ? 8 : 16; }

int lane(const uint8_t* text, unsigned i, uint8_t control) {
  if ((control & 1) == 0) return (control & 2) ? static_cast<int8_t>(text[i]) : text[i];
  uint16_t word;
  std::memcpy(&word, text + 2 * i, 2);
  return (control & 2) ? static_cast<int16_t>(word) : word;
}

enum Aggregation : unsigned { kEqualAny, kRanges, kEqualEach, kEqualOrdered };

uint32_t aggregate(const uint8_t* a, unsigned length_a, const uint8_t* b, unsigned length_b, uint8_t control) {
  const unsigned n = lane_count(control);
  uint32_t result = 0;
  for (unsigned j = 0; j < n; ++j) {
    bool bit = false;
    switch (control >> 2 & 3) {
      case kEqualAny:
        for (unsigned i = 0; i < length_a && j < length_b; ++i) bit |= lane(a, i, control) == lane(b, j, control);
        break;
      case kRanges:
        for (unsigned i = 0; i + 1 < length_a && j < length_b; i += 2) {
          const int v = lane(b, j, control);
          bit |= v >= lane(a, i, control) && v <= lane(a, i + 1, control);
        }
        break;
      case kEqualEach:  // both past their ends: equal; one of them: not
        bit = (j >= length_a && j >= length_b) ||
              (j < length_a && j < length_b && lane(a, j, control) == lane(b, j, control));
        break;
      default:  // kEqualOrdered: is `a` a prefix of `b` from j on, as far as the register reaches
        bit = true;
        for (unsigned i = 0; i < length_a && j + i < n; ++i) {
          bit = bit && j + i < length_b && lane(a, i, control) == lane(b, j + i, control);
        }
        break;
    }
    result |= (bit ? 1u : 0u) << j;
  }
  return result;
}

}  // namespace

int implicit_length(const uint8_t* text, uint8_t control) noexcept {
  const unsigned n = lane_count(control);
  for (unsigned i = 0; i < n; ++i) {
    if (lane(text, i, control) == 0) return static_cast<int>(i);
  }
  return static_cast<int>(n);
}

StringCompare compare_strings(const uint8_t* a, int length_a, const uint8_t* b, int length_b,
                              uint8_t control) noexcept {
  const unsigned n = lane_count(control);
  const uint32_t all = (1u << n) - 1;
  const unsigned la = std::min(static_cast<unsigned>(length_a), n), lb = std::min(static_cast<unsigned>(length_b), n);
  uint32_t bits = aggregate(a, la, b, lb, control);
  if (control & 0x10) bits ^= (control & 0x20) ? (1u << lb) - 1 : all;

  StringCompare r;
  r.eflags = (bits != 0 ? kCF : 0u) | (lb < n ? kZF : 0u) | (la < n ? kSF : 0u) | ((bits & 1) ? kOF_ : 0u);
  if (bits == 0)
    r.index = n;
  else if (control & 0x40)
    r.index = static_cast<uint32_t>(31 - std::countl_zero(bits));
  else
    r.index = static_cast<uint32_t>(std::countr_zero(bits));
  if ((control & 0x40) == 0) {
    r.low = bits;
    return r;
  }
  uint8_t mask[16];
  for (unsigned i = 0; i < 16; ++i) mask[i] = (bits >> ((control & 1) ? i / 2 : i) & 1) ? 0xff : 0;
  std::memcpy(&r.low, mask, 8);
  std::memcpy(&r.high, mask + 8, 8);
  return r;
}

namespace {

constexpr uint32_t kMaskResult = 1u << 17;

uint64_t finish(State& s, uint32_t control, const uint8_t* b, int length_a, int length_b) {
  const auto mode = static_cast<uint8_t>(control);
  const uint8_t* a = s.xmm_regs[control >> 8 & 15]._b_ZMMReg;
  if (length_a < 0) {
    length_a = implicit_length(a, mode);
    length_b = implicit_length(b, mode);
  }
  const StringCompare r = compare_strings(a, length_a, b, length_b, mode);
  if (control & kMaskResult) {
    s.xmm_regs[0].ZMM_Q(0) = r.low;
    s.xmm_regs[0].ZMM_Q(1) = r.high;
  }
  return r.index | static_cast<uint64_t>(r.eflags) << 32;
}

uint64_t pcmpstr(void* state, uint32_t control, uint64_t low, uint64_t high) noexcept {
  uint8_t b[16];
  std::memcpy(b, &low, 8);
  std::memcpy(b + 8, &high, 8);
  return finish(*static_cast<State*>(state), control, b, -1, -1);
}

uint64_t pcmpstr_length(void* state, uint32_t control, uint64_t low, uint64_t high, uint64_t lengths) noexcept {
  uint8_t b[16];
  std::memcpy(b, &low, 8);
  std::memcpy(b + 8, &high, 8);
  return finish(*static_cast<State*>(state), control, b, static_cast<int>(lengths & 31),
                static_cast<int>(lengths >> 32 & 31));
}

constexpr ir::StateRange kXmmRange{offsetof(State, xmm_regs), offsetof(State, xmm_regs) + 64 * 16};
constexpr ir::StateRange kXmm0{offsetof(State, xmm_regs), offsetof(State, xmm_regs) + 64};

}  // namespace

const ir::HelperDesc kPcmpstr{.name = "sse_pcmpstr",
                              .function = reinterpret_cast<const void*>(&pcmpstr),
                              .result = ir::Type::I64,
                              .params = {ir::Type::I32, ir::Type::I64, ir::Type::I64},
                              .reads = kXmmRange,
                              .writes = kXmm0,
                              .may_exit = false};
const ir::HelperDesc kPcmpstrLength{.name = "sse_pcmpstr_length",
                                    .function = reinterpret_cast<const void*>(&pcmpstr_length),
                                    .result = ir::Type::I64,
                                    .params = {ir::Type::I32, ir::Type::I64, ir::Type::I64, ir::Type::I64},
                                    .reads = kXmmRange,
                                    .writes = kXmm0,
                                    .may_exit = false};

}  // namespace panda::x86
