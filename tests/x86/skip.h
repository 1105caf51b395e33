// What the instruction tests leave out, each with its reason, and how inputs are made to make sense.
#pragma once

#include <string>

#include "forms.h"
#include "guest/x86/rows.h"

namespace panda::x86test {

// Not run as a single instruction on the host: it would leave the test's code or cannot be compared.
[[nodiscard]] bool skipped(ZydisMnemonic mnemonic, x86::Feature feature);
// An oracle that is known to be wrong about a form.
[[nodiscard]] bool oracle_is_wrong(const std::string& oracle, const Form& form);
// Puts string instructions' pointers into the data area, bounds counts, and so on.
void prepare(const Form& form, MachineState& state, Rng& rng);

}  // namespace panda::x86test
