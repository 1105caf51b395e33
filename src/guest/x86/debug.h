// Debug registers: what the rest of the front end asks of them (debug.cpp).
#pragma once

#include <cstdint>

#include "guest/x86/system.h"

namespace panda::x86 {

inline constexpr uint32_t kDr6Breakpoints = 15, kDr6Guard = 1u << 13, kDr6SingleStep = 1u << 14, kDr6Task = 1u << 15;
inline constexpr uint32_t kDr7Guard = 1u << 13;

// After a change of DR0-3 or DR7 that write_dr() did not make: a task switch, a loaded snapshot, reset.
void update_breakpoints(Cpu cpu) noexcept;
[[nodiscard]] bool has_code_breakpoints(const Cpu& cpu) noexcept;
// DR6 bits of the enabled instruction breakpoints at a linear address.
[[nodiscard]] uint32_t code_breakpoints_at(const Cpu& cpu, uint64_t linear) noexcept;
// Before the instruction at `linear`: true with #DB pending. Consumes RF.
bool stopped_by_code_breakpoint(Cpu cpu, uint64_t linear) noexcept;
// A port instruction went through.
void note_port_access(Cpu cpu, uint16_t port, unsigned size) noexcept;
// Behind an instruction: what it hit, and the single-step trap. True: #DB is pending.
bool take_debug_trap(Cpu cpu, bool single_step) noexcept;
// DR7.GD: true with #DB pending.
bool guarded_debug_access(Cpu cpu) noexcept;
// Between the iterations of a repeated instruction, no breakpoint on it counts (SDM vol. 3, 18.3.1.1).
inline void between_iterations(State& s) noexcept {
  if ((s.hflags & kModeCodeBreak) != 0) s.eflags |= kRF;
}
// EFLAGS.RF as an IRET of more than 16 bits loads it. It matters under kModeCodeBreak alone and is dropped
// elsewhere, so that an IRET to an instruction that faulted does not cost an exact unit.
[[nodiscard]] inline uint32_t loadable_rf(const State& s, unsigned op_bytes) noexcept {
  return (s.hflags & kModeCodeBreak) != 0 && op_bytes != 2 ? kRF : 0;
}

}  // namespace panda::x86
