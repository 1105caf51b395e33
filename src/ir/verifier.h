// Checks that a unit keeps the rules of ir.h and opcodes.inc, so that passes and back ends may
// rely on them. Run by tests and debug builds after every pass.
#pragma once

#include "base/result.h"
#include "ir/ir.h"

namespace panda::ir {

// The error names the block and the instruction's index.
[[nodiscard]] Status verify(const Unit& unit);

}  // namespace panda::ir
