// The images of the floating-point state in memory: FSTENV and FSAVE (SDM vol. 1, 8.1.10), FXSAVE
// (vol. 1, 10.5) and XSAVE (vol. 1, chapter 13). Helpers; each leaves with nothing changed in the
// guest state where an access faults.
#pragma once

#include <cstdint>

#include "guest/x86/state.h"

namespace panda::x86 {

inline constexpr uint32_t kAreaWide = 1;       // 32-bit layout (FSTENV); 64-bit FIP and FDP (FXSAVE)
inline constexpr uint32_t kAreaReal = 2;       // real-address or virtual-8086 layout of FSTENV
inline constexpr uint32_t kAreaRegisters = 4;  // FSAVE and FRSTOR: ST(0) to ST(7) follow
inline constexpr uint32_t kAreaXmm16 = 8;      // 64-bit code: XMM8 to XMM15 too
inline constexpr uint32_t kAreaCompact = 16;   // XSAVEC

void store_environment(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept;
void load_environment(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept;
void fxsave(void* state, uint64_t address, uint32_t form) noexcept;
void fxrstor(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept;
void xsave(void* state, uint64_t address, uint32_t form, uint64_t mask) noexcept;
void xrstor(void* state, uint64_t address, uint64_t form_and_mask, uint64_t next_pc) noexcept;  // form << 32 | mask

}  // namespace panda::x86
