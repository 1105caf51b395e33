// What the instruction tests covered, for docs/fidelity.md: with PANDA_FIDELITY set, a line per form is
// appended to that file, which scripts/fidelity.py turns into tables (make fidelity).
#pragma once

#include <string>

#include "forms.h"
#include "guest/x86/rows.h"

namespace panda::x86test {

[[nodiscard]] std::string extension_name(x86::Feature feature);
[[nodiscard]] x86::Feature feature_of(ZydisMnemonic mnemonic);  // by the front end's rows
// oracle: "host", "unicorn"; mode: "64", "32", "16".
void tally(const char* oracle, const char* mode, const Form& form, unsigned cases, bool failed);
// Every form that the front end has rows for, tested or not, and why a mnemonic is left out.
void tally_inventory();

}  // namespace panda::x86test
