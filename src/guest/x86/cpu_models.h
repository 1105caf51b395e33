// The CPU models of -cpu, and its syntax: NAME[,+feature][,-feature]...
//
// All are Intel, family 6. The default models carry the signature of an in-order Atom (model 28):
// processors of that family do not speculate, so that guests neither isolate page tables nor
// replace indirect branches, which would cost here and protect nothing. All bring SYSENTER.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/x86/cpuid.h"
#include "guest/x86/state.h"

namespace panda::x86 {

struct CpuModel {
  std::string_view name;
  std::string_view alias;  // may be empty
  std::string_view brand;  // at most 47 characters
  uint32_t signature;      // CPUID.1:EAX
  uint32_t max_leaf;
  unsigned physical_bits;
  std::string_view base;      // the model whose features this one extends; empty: none
  std::string_view features;  // names of cpu_features.inc, separated by spaces
  bool runs_i386;
  bool runs_x86_64;
};

// What -cpu asked for.
struct CpuConfig {
  uint32_t model = 0;                  // State::cpu_model
  std::array<uint64_t, 8> features{};  // State::cpuid_features_
};

[[nodiscard]] const CpuModel& cpu_model(uint32_t index);  // of State::cpu_model; out of range: the first
[[nodiscard]] uint32_t cpu_model_count();
[[nodiscard]] std::vector<std::string> cpu_model_names(bool is_64bit_target);
[[nodiscard]] std::vector<std::string> cpu_feature_names();
[[nodiscard]] std::string_view default_cpu_model(bool is_64bit_target);
// An empty specification means the default model.
[[nodiscard]] Result<CpuConfig> parse_cpu(std::string_view specification, bool is_64bit_target);
// The model as it is, without additions.
[[nodiscard]] CpuConfig cpu_config(uint32_t model);
// Before reset(): which otherwise gives State::cpu_model's own features to a CPU that has none.
void apply_cpu(State& s, const CpuConfig& config);

}  // namespace panda::x86
