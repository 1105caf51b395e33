// The x86 system architecture (SDM vol. 3) as functions on Cpu: what helpers, the front end and
// the engine call. Functions that can fault return false with the exception pending.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/x86/state.h"
#include "ir/helper.h"
#include "memory/mmu.h"

namespace panda::x86 {

// --- exceptions (exception.cpp)
// Makes `vector` pending and asks to leave the unit. Always returns false: `return raise(...)`.
bool raise(Cpu cpu, Vector vector, std::optional<uint16_t> error_code = {}) noexcept;
// A software interrupt (INT n, INT3, INTO, INT1): returns to next_eip; DPL of the gate is checked.
bool raise_software(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept;
// Delivers what is pending; double and triple faults. False: shut down.
bool deliver_pending(Cpu cpu) noexcept;
bool deliver_external(Cpu cpu, uint8_t vector) noexcept;

// --- modes (modes.cpp)
// Recomputes hflags from CR0, CR4, EFER, segments, EFLAGS, MXCSR, XCR0. After anything that changes them.
void update_hflags(Cpu cpu) noexcept;
bool write_cr(Cpu cpu, unsigned n, uint64_t value) noexcept;
bool write_dr(Cpu cpu, unsigned n, uint64_t value) noexcept;
void reset(Cpu cpu) noexcept;  // power-on state (SDM vol. 3, table 10-1)

// --- segmentation (segments.cpp)
bool load_segment(Cpu cpu, unsigned seg, uint16_t selector) noexcept;  // MOV/POP to DS, ES, FS, GS, SS
void set_segment(Cpu cpu, unsigned seg, uint16_t selector, uint64_t base, uint32_t limit, uint32_t flags) noexcept;

// --- paging (paging.cpp)
bool walk(Cpu cpu, uint64_t address, Access access, MmuMode mode, bool probe, Translation& out) noexcept;

// --- guest memory for helpers, with the CPU's current privilege or as the supervisor (descriptor tables)
template <typename T>
bool read_linear(Cpu cpu, uint64_t address, MmuMode mode, T& out) noexcept;
template <typename T>
bool write_linear(Cpu cpu, uint64_t address, MmuMode mode, T value) noexcept;

// --- FPU (fpu_state.cpp): #NM, #UD and pending #MF rules shared by x87, MMX and FXSAVE
inline constexpr uint8_t kFpEmpty = 1;

}  // namespace panda::x86

#include "memory/access.h"

namespace panda::x86 {

template <typename T>
bool read_linear(Cpu cpu, uint64_t address, MmuMode mode, T& out) noexcept {
  return load_guest(cpu.context(), address, ir::MemInfo{.mode = mode}, out);
}
template <typename T>
bool write_linear(Cpu cpu, uint64_t address, MmuMode mode, T value) noexcept {
  return store_guest(cpu.context(), address, ir::MemInfo{.mode = mode}, value);
}

}  // namespace panda::x86
