#include "guest/x86/cpuid.h"

#include <cstring>

#include "base/virtual_clock.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/fpu_state.h"
#include "guest/x86/system.h"

namespace panda::x86 {
namespace {

struct FeaturePlace {
  CpuidWord word;
  unsigned bit;
  Feature feature;
};
constexpr FeaturePlace kPlaces[] = {
#define CPU_FEATURE(name, word, bit, feature) {word, bit, Feature::feature},
#include "guest/x86/cpu_features.inc"
#undef CPU_FEATURE
};

constexpr uint32_t kMaxExtendedLeaf = 0x8000'0008;
constexpr unsigned kVirtualBits = 48;

CpuidResult signature(const State& s) {
  CpuidResult r{.eax = cpu_model(s.cpu_model).signature,
                .ebx = 0x0001'0800,  // one logical processor, CLFLUSH line of 64 bytes, APIC ID 0
                .ecx = cpuid_word(s, kLeaf1Ecx),
                .edx = cpuid_word(s, kLeaf1Edx)};
  const uint64_t cr4 = s.is_64bit_target != 0 ? s.cr64[4] : s.cr32[4];
  if ((cr4 & kCr4Osxsave) != 0) r.ecx |= 1u << 27;
  return r;
}

// Deterministic cache parameters: 32 KiB L1 data and code, 512 KiB L2, lines of 64 bytes, 8 ways.
CpuidResult cache(uint32_t subleaf) {
  const auto level = [](uint32_t type, uint32_t number, uint32_t sets) {
    return CpuidResult{.eax = type | number << 5 | 1u << 8, .ebx = 63 | 7u << 22, .ecx = sets - 1, .edx = 0};
  };
  switch (subleaf) {
    case 0:
      return level(1, 1, 64);
    case 1:
      return level(2, 1, 64);
    case 2:
      return level(3, 2, 1024);
    default:
      return {};
  }
}

CpuidResult extended_state(const State& s, uint32_t subleaf) {
  if (!has_feature(s, Feature::Xsave)) return {};
  const uint64_t supported = supported_xcr0(s);
  const uint32_t enabled_bytes = xsave_area_bytes(s.xcr0), all_bytes = xsave_area_bytes(supported);
  if (subleaf == 0) return {.eax = static_cast<uint32_t>(supported), .ebx = enabled_bytes, .ecx = all_bytes, .edx = 0};
  if (subleaf == 1) return {.eax = cpuid_word(s, kLeafXsave1Eax), .ebx = enabled_bytes};
  for (const XsaveComponent& c : kXsaveComponents) {
    if (c.bit == subleaf && (supported >> c.bit & 1) != 0) return {.eax = c.bytes, .ebx = c.offset};
  }
  return {};
}

CpuidResult brand(const State& s, unsigned part) {
  char text[48] = {};
  const std::string_view name = cpu_model(s.cpu_model).brand;
  std::memcpy(text, name.data(), std::min<size_t>(name.size(), sizeof text - 1));
  uint32_t words[4];
  std::memcpy(words, text + part * 16, sizeof words);
  return {words[0], words[1], words[2], words[3]};
}

CpuidResult extended(const State& s, uint32_t leaf) {
  switch (leaf) {
    case 0x8000'0000:
      return {.eax = kMaxExtendedLeaf};
    case 0x8000'0001: {
      uint32_t edx = cpuid_word(s, kLeafExt1Edx);
      if ((s.hflags & kModeCs64) == 0) edx &= ~(1u << 11);  // SYSCALL is there in 64-bit mode only
      return {.ecx = cpuid_word(s, kLeafExt1Ecx), .edx = edx};
    }
    case 0x8000'0002:
    case 0x8000'0003:
    case 0x8000'0004:
      return brand(s, leaf - 0x8000'0002);
    case 0x8000'0006:
      return {.ecx = 512u << 16 | 6u << 12 | 64};  // L2: 512 KiB, 8 ways, 64-byte lines
    case 0x8000'0007:
      return {.edx = cpuid_word(s, kLeafExt7Edx)};
    case 0x8000'0008:
      return {.eax = physical_bits(s) | (has_feature(s, Feature::LongMode) ? kVirtualBits : 32) << 8};
    default:
      return {};
  }
}

}  // namespace

bool has_feature(const State& s, Feature feature) {
  if (feature == Feature::None) return true;
  for (const FeaturePlace& p : kPlaces) {
    if (p.feature == feature) return has_cpuid_bit(s, p.word, p.bit);
  }
  return false;
}

unsigned physical_bits(const State& s) { return cpu_model(s.cpu_model).physical_bits; }

CpuidResult cpuid(const State& s, uint32_t leaf, uint32_t subleaf) {
  const uint32_t max_leaf = cpu_model(s.cpu_model).max_leaf;
  if (leaf >= 0x8000'0000) return extended(s, leaf);
  if (leaf > max_leaf) return {};
  switch (leaf) {
    case 0:
      return {.eax = max_leaf, .ebx = 0x756e'6547, .ecx = 0x6c65'746e, .edx = 0x4965'6e69};  // GenuineIntel
    case 1:
      return signature(s);
    case 2:
      return {.eax = 1};
    case 4:
      return cache(subleaf);
    case 6:
      return {.eax = cpuid_word(s, kLeaf6Eax)};
    case 7:
      return subleaf == 0 ? CpuidResult{.ebx = cpuid_word(s, kLeaf7Ebx), .ecx = cpuid_word(s, kLeaf7Ecx)}
                          : CpuidResult{};
    case 0xd:
      return extended_state(s, subleaf);
    // TSC and its crystal both run at the virtual clock's rate, so that nothing need be calibrated.
    case 0x15:
      return {.eax = 1, .ebx = 1, .ecx = static_cast<uint32_t>(kTscHz)};
    case 0x16: {
      constexpr auto kMhz = static_cast<uint32_t>(kTscHz / 1'000'000);
      return {.eax = kMhz, .ebx = kMhz, .ecx = 100};
    }
    default:
      return {};
  }
}

}  // namespace panda::x86
