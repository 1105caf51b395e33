// What the instruction tests leave out, each with its reason, and how inputs are made to make sense.
#pragma once

#include <string>

#include "forms.h"
#include "guest/x86/rows.h"

namespace panda::x86test {

// Not run as a single instruction on the host: it would leave the test's code or cannot be compared.
[[nodiscard]] bool skipped(ZydisMnemonic mnemonic, x86::Feature feature);
[[nodiscard]] const char* skip_reason(ZydisMnemonic mnemonic);
// Where the host's CPU is known to differ from the manual that we follow, or from any rule: takes over
// ours into `host`, in exactly the field and case in question.
void forgive(const Form& form, const Encoded& code, const MachineState& before, const Result& ours, Result& host);
// forgive() has something for it: not for sequences.
[[nodiscard]] bool host_differs(ZydisMnemonic mnemonic);
// Puts string instructions' pointers into the data area, bounds counts, and so on.
void prepare(const Form& form, MachineState& state, Rng& rng);

}  // namespace panda::x86test
