// What the instruction tests covered, for docs/fidelity.md: with PANDA_FIDELITY set, a line per form is
// appended to that file, which scripts/fidelity.py turns into tables (make fidelity).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "forms.h"
#include "guest/x86/rows.h"

namespace panda::x86test {

[[nodiscard]] std::string extension_name(x86::Feature feature);
[[nodiscard]] x86::Feature feature_of(ZydisMnemonic mnemonic);  // by the front end's rows
// oracle: "host", "unicorn", "prefixes", "fault KIND"; mode: "64", "32", "16".
void tally(const char* oracle, const char* mode, const Form& form, unsigned cases, bool failed);
// What a test has done that is not a matter of single forms: so many of `what`.
void tally_total(const char* test, Mode mode, const char* what, uint64_t count);

// Counts forms as they are taken into random code, and tells them at its end. Lives as long as the test.
class FormTally {
 public:
  FormTally(const char* oracle, Mode mode) : oracle_(oracle), mode_(mode) {}
  ~FormTally();
  FormTally(const FormTally&) = delete;
  FormTally& operator=(const FormTally&) = delete;
  void add(const Form& form);

 private:
  const char* oracle_;
  Mode mode_;
  std::map<std::string, std::pair<Form, unsigned>> counted_;
};

// Every form that the front end has rows for, tested or not, and why a mnemonic is left out.
void tally_inventory();

}  // namespace panda::x86test
