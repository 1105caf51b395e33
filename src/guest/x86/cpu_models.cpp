#include "guest/x86/cpu_models.h"

#include <algorithm>

namespace panda::x86 {
namespace {

struct FeatureBit {
  std::string_view name;
  CpuidWord word;
  unsigned bit;
};
constexpr FeatureBit kFeatures[] = {
#define CPU_FEATURE(name, word, bit, feature) {name, word, bit},
#include "guest/x86/cpu_features.inc"
#undef CPU_FEATURE
};

constexpr uint32_t kAtom = 0x000106ca;  // family 6, model 28, stepping 10

constexpr CpuModel kModels[] = {
    {"pentium3", "", "Pentium III", 0x00000683, 2, 36, "",
     "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse", true, true},
    {"qemu32", "", "PANDA Virtual CPU (32-bit, SSE4.2)", kAtom, 0x16, 36, "",
     "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 sse3 ssse3 sse4.1 "
     "sse4.2 popcnt tsc-deadline xsave hypervisor nx rdtscp invtsc arat",
     true, true},
    {"x86-64-v1", "qemu64", "PANDA Virtual CPU (x86-64-v1)", kAtom, 0x16, 40, "",
     "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 tsc-deadline "
     "hypervisor "
     "syscall nx lm invtsc arat",
     false, true},
    {"x86-64-v2", "", "PANDA Virtual CPU (x86-64-v2)", kAtom, 0x16, 40, "x86-64-v1",
     "sse3 ssse3 cx16 sse4.1 sse4.2 popcnt xsave smep smap lahf_lm rdtscp pdpe1gb", false, true},
    {"max", "", "PANDA Virtual CPU (all features)", kAtom, 0x16, 40, "*", "", true, true},
};
constexpr uint32_t kModelCount = sizeof kModels / sizeof *kModels;

// Means nothing to a CPU that has no 64-bit mode.
constexpr std::string_view kLongModeOnly[] = {"lm", "syscall", "cx16", "lahf_lm", "fsgsbase", "pdpe1gb", "pcid"};

// The first is nothing without the second.
struct Dependency {
  std::string_view name, needs;
};
constexpr Dependency kDependencies[] = {{"avx", "xsave"}, {"avx2", "avx"},       {"fma", "avx"},
                                        {"f16c", "avx"},  {"xsaveopt", "xsave"}, {"xsavec", "xsave"}};

const FeatureBit* find_feature(std::string_view name) {
  for (const FeatureBit& f : kFeatures) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

void set_feature(CpuConfig& c, const FeatureBit& f, bool on) {
  const uint64_t bit = uint64_t{1} << (f.bit + f.word % 2 * 32);
  uint64_t& field = c.features[f.word / 2];
  field = on ? field | bit : field & ~bit;
}

void add_features(CpuConfig& c, const CpuModel& m) {
  if (m.base == "*") {
    for (const FeatureBit& f : kFeatures) set_feature(c, f, true);
    return;
  }
  for (const CpuModel& other : kModels) {
    if (!m.base.empty() && other.name == m.base) add_features(c, other);
  }
  std::string_view rest = m.features;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (const FeatureBit* f = find_feature(rest.substr(0, end))) set_feature(c, *f, true);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

bool is_set(const CpuConfig& c, const FeatureBit& f) {
  return (c.features[f.word / 2] >> (f.bit + f.word % 2 * 32) & 1) != 0;
}

void drop_dependent(CpuConfig& c) {
  for (const Dependency& d : kDependencies) {
    if (!is_set(c, *find_feature(d.needs))) set_feature(c, *find_feature(d.name), false);
  }
}

void drop_long_mode(CpuConfig& c) {
  for (const std::string_view name : kLongModeOnly) set_feature(c, *find_feature(name), false);
}

bool runs_on(const CpuModel& m, bool is64) { return is64 ? m.runs_x86_64 : m.runs_i386; }

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "" : ", ") + n;
  return out;
}

}  // namespace

const CpuModel& cpu_model(uint32_t index) { return kModels[index < kModelCount ? index : 0]; }

uint32_t cpu_model_count() { return kModelCount; }

std::vector<std::string> cpu_model_names(bool is_64bit_target) {
  std::vector<std::string> names;
  for (const CpuModel& m : kModels) {
    if (!runs_on(m, is_64bit_target)) continue;
    names.emplace_back(m.name);
    if (!m.alias.empty()) names.emplace_back(m.alias);
  }
  return names;
}

std::vector<std::string> cpu_feature_names() {
  std::vector<std::string> names;
  for (const FeatureBit& f : kFeatures) names.emplace_back(f.name);
  return names;
}

std::string_view default_cpu_model(bool is_64bit_target) { return is_64bit_target ? "x86-64-v2" : "qemu32"; }

CpuConfig cpu_config(uint32_t model) {
  CpuConfig c{.model = model < kModelCount ? model : 0};
  add_features(c, kModels[c.model]);
  return c;
}

Result<CpuConfig> parse_cpu(std::string_view specification, bool is_64bit_target) {
  const size_t name_end = std::min(specification.find(','), specification.size());
  std::string_view name = specification.substr(0, name_end);
  if (name.empty()) name = default_cpu_model(is_64bit_target);
  const std::string target = is_64bit_target ? "x86_64" : "i386";
  uint32_t index = kModelCount;
  for (uint32_t i = 0; i < kModelCount; i++) {
    if (kModels[i].name == name || (!kModels[i].alias.empty() && kModels[i].alias == name)) index = i;
  }
  if (index == kModelCount || !runs_on(kModels[index], is_64bit_target)) {
    return fail("-cpu: there is no model '{}' for {}; there are: {}", name, target,
                joined(cpu_model_names(is_64bit_target)));
  }
  CpuConfig config = cpu_config(index);
  if (!is_64bit_target) drop_long_mode(config);

  std::vector<const FeatureBit*> wanted;
  std::string_view rest = specification.substr(name_end);
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the comma
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, end);
    rest.remove_prefix(end);
    if (item.size() < 2 || (item[0] != '+' && item[0] != '-')) {
      return fail("-cpu {}: '{}' is not a feature; write +NAME or -NAME", name, item);
    }
    const FeatureBit* f = find_feature(item.substr(1));
    if (f == nullptr) {
      return fail("-cpu {}: there is no feature '{}'; there are: {}", name, item.substr(1),
                  joined(cpu_feature_names()));
    }
    const bool long_only =
        std::find(std::begin(kLongModeOnly), std::end(kLongModeOnly), f->name) != std::end(kLongModeOnly);
    if (item[0] == '+' && long_only && !is_64bit_target) {
      return fail("-cpu {}: the feature '{}' needs the x86_64 target", name, f->name);
    }
    set_feature(config, *f, item[0] == '+');
    if (item[0] == '+') wanted.push_back(f);
  }
  drop_dependent(config);
  for (const FeatureBit* f : wanted) {
    if (is_set(config, *f)) continue;
    const auto* d = std::ranges::find(kDependencies, f->name, &Dependency::name);
    if (d != std::end(kDependencies)) return fail("-cpu {}: the feature '{}' needs '{}'", name, f->name, d->needs);
  }
  return config;
}

void apply_cpu(State& s, const CpuConfig& config) {
  s.cpu_model = config.model;
  std::copy(config.features.begin(), config.features.end(), s.cpuid_features_);
  if (s.is_64bit_target == 0) {
    CpuConfig narrowed = config;
    drop_long_mode(narrowed);
    std::copy(narrowed.features.begin(), narrowed.features.end(), s.cpuid_features_);
  }
}

}  // namespace panda::x86
