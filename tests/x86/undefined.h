// Which flags of an execution may differ between correct CPUs, and which executions mean nothing.
#pragma once

#include <cstdint>

#include "forms.h"
#include "machine_state.h"

namespace panda::x86test {

[[nodiscard]] uint32_t undefined_flags(const Form& form, const Encoded& code, const MachineState& before);
// The result as a whole is undefined (BSWAP of 16 bits, SHLD beyond the operand's width).
[[nodiscard]] bool undefined_result(const Form& form, const Encoded& code, const MachineState& before);

}  // namespace panda::x86test
