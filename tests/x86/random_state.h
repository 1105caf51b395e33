// Inputs: machine states in which boundary values are frequent.
#pragma once

#include "forms.h"
#include "machine_state.h"

namespace panda::x86test {

[[nodiscard]] MachineState random_state(Rng& rng, Mode mode);

}  // namespace panda::x86test
