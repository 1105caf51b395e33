#include "tally.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>

#include "skip.h"

namespace panda::x86test {
namespace {

struct ExtensionName {
  x86::Feature feature;
  const char* name;
};
constexpr ExtensionName kExtensions[] = {
#define CPU_FEATURE(name, word, bit, feature) {x86::Feature::feature, name},
#include "guest/x86/cpu_features.inc"
#undef CPU_FEATURE
};

struct Chapter {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
constexpr Chapter kChapters[] = {
    {"integer", x86::integer_rows}, {"control", x86::control_rows}, {"string", x86::string_rows},
    {"system", x86::system_rows},   {"x87", x86::x87_rows},         {"mmx", x86::mmx_rows},
    {"sse", x86::sse_rows},         {"avx", x86::avx_rows},
};

void append(const std::string& line) {
  const char* path = std::getenv("PANDA_FIDELITY");
  if (path == nullptr) return;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "ae"), std::fclose);
  if (file != nullptr) std::fputs(line.c_str(), file.get());
}

std::string fields(std::initializer_list<std::string> words) {
  std::string line;
  for (const std::string& w : words) line += (line.empty() ? "" : "\t") + w;
  return line + "\n";
}

}  // namespace

std::string extension_name(x86::Feature feature) {
  if (feature == x86::Feature::None) return "base";
  for (const ExtensionName& e : kExtensions) {
    if (e.feature == feature) return e.name;
  }
  return "without a name";
}

x86::Feature feature_of(ZydisMnemonic mnemonic) {
  static const auto features = [] {
    std::map<ZydisMnemonic, x86::Feature> m;
    for (const Chapter& c : kChapters) {
      for (const x86::Row& row : c.rows()) m.try_emplace(row.mnemonic, row.feature);
    }
    return m;
  }();
  const auto found = features.find(mnemonic);
  return found == features.end() ? x86::Feature::None : found->second;
}

void tally(const char* oracle, const char* mode, const Form& form, unsigned cases, bool failed) {
  append(fields({"form", oracle, mode, extension_name(feature_of(form.mnemonic)), ZydisMnemonicGetString(form.mnemonic),
                 form.name(), std::to_string(cases), failed ? "failed" : "passed"}));
}

void tally_total(const char* test, Mode mode, const char* what, uint64_t count) {
  append(fields({"total", test, mode == Mode::Long64 ? "64" : "32", what, std::to_string(count)}));
}

FormTally::~FormTally() {
  for (const auto& [name, entry] : counted_) {
    tally(oracle_, mode_ == Mode::Long64 ? "64" : "32", entry.first, entry.second, false);
  }
}

void FormTally::add(const Form& form) { counted_.try_emplace(form.name(), form, 0u).first->second.second++; }

void tally_inventory() {
  if (std::getenv("PANDA_FIDELITY") == nullptr) return;
  std::string lines;
  for (const Chapter& c : kChapters) {
    std::set<ZydisMnemonic> seen;
    for (const x86::Row& row : c.rows()) {
      if (!seen.insert(row.mnemonic).second) continue;
      const std::string mnemonic = ZydisMnemonicGetString(row.mnemonic), extension = extension_name(row.feature);
      std::string reason;
      if (skipped(row.mnemonic, row.feature)) reason = skip_reason(row.mnemonic);
      lines += fields({"mnemonic", c.name, extension, mnemonic, reason});
      for (const Mode mode : {Mode::Long64, Mode::Protected32}) {
        for (const Form& form : all_forms({row.mnemonic}, mode)) {
          lines += fields({"known", mode == Mode::Long64 ? "64" : "32", extension, mnemonic, form.name()});
        }
      }
    }
  }
  append(lines);
}

}  // namespace panda::x86test
