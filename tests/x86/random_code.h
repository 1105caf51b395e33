// Instructions for random code: each with what has to stand before it, so that its memory operand lies in the data
// area, and behind it, so that nothing undefined is carried on.
#pragma once

#include <vector>

#include "forms.h"
#include "machine_state.h"
#include "steps.h"
#include "tally.h"

namespace panda::x86test {

// Those that the host's CPU and we agree on in full.
[[nodiscard]] std::vector<Form> sequence_forms(Mode mode);
// no_stack: not one that uses_stack().
[[nodiscard]] Bytes random_step(const std::vector<Form>& forms, Mode mode, Rng& rng, FormTally& tally,
                                bool no_stack = false);
// With floating-point exceptions masked: those are insn_test's.
[[nodiscard]] MachineState sequence_state(Rng& rng, Mode mode);
// Does one of the instructions address memory by the stack pointer, or change that?
[[nodiscard]] bool uses_stack(const Bytes& code, Mode mode);

}  // namespace panda::x86test
