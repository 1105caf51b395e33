// Model-specific registers (SDM vol. 4). count: completed instructions, for the TSC.
#pragma once

#include <cstdint>

#include "guest/x86/system.h"

namespace panda::x86 {

// False: #GP is pending, or (ExitRequest::Restart) it takes an exact unit.
bool read_msr(Cpu cpu, uint32_t index, uint64_t count, uint64_t& value) noexcept;
bool write_msr(Cpu cpu, uint32_t index, uint64_t count, uint64_t value) noexcept;
[[nodiscard]] uint64_t read_tsc(Cpu cpu, uint64_t count) noexcept;

}  // namespace panda::x86
