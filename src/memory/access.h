// Guest memory access from C++: the JIT's slow path, the interpreter's every access, and helpers'.
// All obey the same rules as translated code: faults pend in the guest state, accesses to devices
// or to running code ask for an exact unit.
#pragma once

#include <cstdint>

#include "ir/ir.h"
#include "memory/mmu.h"
#include "memory/vcpu_context.h"

namespace panda {

// size: 1 to 16 bytes. Returns false where the unit must be left: exit_request is then set (Fault or
// Restart) and nothing was read or written (a store that straddles two pages checks both before it
// writes either). Tells VcpuContext::accesses.
bool load_guest(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, void* out) noexcept;
bool store_guest(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, const void* data) noexcept;

// The same without telling anybody: for the loads and stores of translated code.
bool load_unreported(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, void* out) noexcept;
bool store_unreported(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, const void* data) noexcept;

// As the first two, zero-extended; the value is meaningless where it returns false.
template <typename T>
[[nodiscard]] bool load_guest(VcpuContext& cpu, uint64_t address, ir::MemInfo info, T& out) noexcept {
  return load_guest(cpu, address, sizeof(T), info, &out);
}
template <typename T>
[[nodiscard]] bool store_guest(VcpuContext& cpu, uint64_t address, ir::MemInfo info, T value) noexcept {
  return store_guest(cpu, address, sizeof(T), info, &value);
}

// A run of bytes inside one page as host memory, for string operations: nullptr where it must go
// byte by byte (device, code page, watched, accesses reported) with nothing raised, or where it faults
// (exit_request set).
void* map_guest(VcpuContext& cpu, uint64_t address, unsigned size, Access access, unsigned mode) noexcept;

// Debugger's and plugins' view: no fault, no A/D bits, no devices. Returns false where not mapped to RAM.
bool peek_guest(VcpuContext& cpu, uint64_t address, unsigned mode, void* out, uint64_t size) noexcept;
bool poke_guest(VcpuContext& cpu, uint64_t address, unsigned mode, const void* data, uint64_t size) noexcept;

// The instruction fetch of the translator: physical address of the code at a virtual address;
// raises the guest's fault on failure.
bool fetch_address(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept;

// What the JIT's out-of-line code calls after an inline TLB miss. 16-byte values go through
// VcpuContext::scratch[0..1]. The result is zero-extended; the caller tests exit_request.
extern "C" uint64_t panda_slow_load(void* state, uint64_t address, uint32_t size, uint64_t mem_info) noexcept;
extern "C" void panda_slow_store(void* state, uint64_t address, uint64_t value, uint32_t size,
                                 uint64_t mem_info) noexcept;

}  // namespace panda
