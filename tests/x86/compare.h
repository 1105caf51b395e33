// What differs between two executions, as text for people.
#pragma once

#include <cstdint>
#include <string>

#include "machine_state.h"

namespace panda::x86test {

// One line per difference; empty where the results agree. undefined: EFLAGS bits to leave out; where the instruction
// faults, they still are what an earlier one left, unless it `ran_before` itself.
[[nodiscard]] std::string differences(const Result& want, const Result& got, uint32_t undefined, Mode mode,
                                      bool ran_before = false);

}  // namespace panda::x86test
