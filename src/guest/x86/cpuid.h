// The CPUID instruction and questions about what the CPU announces (SDM vol. 2, CPUID). The feature
// words stand in State::cpuid_features_, two to a field, so that they are saved with the CPU.
#pragma once

#include <array>
#include <cstdint>

#include "guest/x86/rows.h"
#include "guest/x86/state.h"

namespace panda::x86 {

enum CpuidWord : unsigned {
  kLeaf1Edx,
  kLeaf1Ecx,
  kLeaf7Ebx,
  kLeafExt1Edx,
  kLeafExt1Ecx,
  kLeafXsave1Eax,
  kLeafExt7Edx,
  kLeaf6Eax,
  kLeaf7Ecx,
  kCpuidWords,
};

[[nodiscard]] inline uint32_t cpuid_word(const State& s, CpuidWord w) {
  return static_cast<uint32_t>(s.cpuid_features_[w / 2] >> (w % 2 * 32));
}
[[nodiscard]] inline bool has_cpuid_bit(const State& s, CpuidWord w, unsigned bit) {
  return (cpuid_word(s, w) >> bit & 1) != 0;
}
[[nodiscard]] bool has_feature(const State& s, Feature feature);
[[nodiscard]] inline bool has_gigabyte_pages(const State& s) { return has_cpuid_bit(s, kLeafExt1Edx, 26); }
[[nodiscard]] inline bool has_nx(const State& s) { return has_cpuid_bit(s, kLeafExt1Edx, 20); }
[[nodiscard]] unsigned physical_bits(const State& s);
// Physical addresses that exist: bits 0 .. MAXPHYADDR-1.
[[nodiscard]] inline uint64_t physical_mask(const State& s) { return (uint64_t{1} << physical_bits(s)) - 1; }

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
[[nodiscard]] CpuidResult cpuid(const State& s, uint32_t leaf, uint32_t subleaf);

}  // namespace panda::x86
