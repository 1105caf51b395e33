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
// State::exception_flags_.
enum ExceptionFlags : uint32_t {
  kExceptionHasCode = 1,
  kExceptionSoftware = 2,       // INT n, INT3, INTO: saves exception_next_eip, checks the gate's DPL
  kExceptionPrivileged = 4,     // INT1: saves exception_next_eip, no DPL check
  kExceptionNonCanonical = 16,  // a data access; #SS where it was by the stack segment (frontend.cpp)
  kExceptionDebugFault = 32,    // #DB that is a fault and saves RF set: DR7.GD
  kExceptionNewTask = 8,        // met after a task switch: exception_next_eip is where the new task stands
};
// Makes `vector` pending and asks to leave the unit. Always returns false: `return raise(...)`.
bool raise(Cpu cpu, Vector vector, std::optional<uint16_t> error_code = {}) noexcept;
// INT n: returns to next_eip; DPL of the gate is checked. True where virtual-8086 mode redirected it: it is done.
bool raise_software(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept;
// INT3 and INTO: the same, and never redirected nor subject to IOPL.
bool raise_trap(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept;
// Delivers what is pending; double and triple faults. False: shut down.
bool deliver_pending(Cpu cpu) noexcept;
bool deliver_external(Cpu cpu, uint8_t vector) noexcept;
// INT1: a #DB trap that no gate's DPL stops.
bool raise_int1(Cpu cpu, uint64_t next_eip) noexcept;

// --- modes (modes.cpp)
// Recomputes hflags from CR0, CR4, EFER, segments, EFLAGS, MXCSR, XCR0. After anything that changes them.
void update_hflags(Cpu cpu) noexcept;
// The same where neither control registers nor the FPU changed: segments, EFLAGS.
void update_flow_hflags(Cpu cpu) noexcept;
bool write_cr(Cpu cpu, unsigned n, uint64_t value) noexcept;
bool write_dr(Cpu cpu, unsigned n, uint64_t value) noexcept;
void reset(Cpu cpu) noexcept;  // power-on state (SDM vol. 3, table 10-1)

// CR0 and CR4 bits.
inline constexpr uint32_t kCr0Pe = 1, kCr0Mp = 2, kCr0Em = 4, kCr0Ts = 8, kCr0Et = 0x10, kCr0Ne = 0x20,
                          kCr0Wp = 1u << 16, kCr0Am = 1u << 18, kCr0Nw = 1u << 29, kCr0Cd = 1u << 30, kCr0Pg = 1u << 31;
inline constexpr uint32_t kCr4Vme = 1, kCr4Pvi = 2, kCr4Tsd = 4, kCr4De = 8, kCr4Pse = 0x10, kCr4Pae = 0x20,
                          kCr4Mce = 0x40, kCr4Pge = 0x80, kCr4Pce = 0x100, kCr4Osfxsr = 0x200, kCr4Osxmmexcpt = 0x400,
                          kCr4Umip = 0x800, kCr4Fsgsbase = 1u << 16, kCr4Pcide = 1u << 17, kCr4Osxsave = 1u << 18,
                          kCr4Smep = 1u << 20, kCr4Smap = 1u << 21;
inline constexpr uint64_t kEferSce = 1, kEferLme = 1 << 8, kEferLma = 1 << 10, kEferNxe = 1 << 11;
bool write_efer(Cpu cpu, uint64_t value) noexcept;
// CR3 as a task switch or MOV loads it: PDPTEs, TLB, observer. False: #GP is pending.
bool load_cr3(Cpu cpu, uint64_t value) noexcept;
[[nodiscard]] inline bool is_protected(const State& s) { return (s.hflags & (kModePe | kModeVm)) == kModePe; }
// After a write that may have changed the mode: recomputes hflags and, where translations depend on
// the change, leaves the unit with the instruction complete.
void refresh_mode(Cpu cpu, uint64_t next_pc) noexcept;

// --- segmentation (segments.cpp)
bool load_segment(Cpu cpu, unsigned seg, uint16_t selector) noexcept;  // MOV/POP to DS, ES, FS, GS, SS
void set_segment(Cpu cpu, unsigned seg, uint16_t selector, uint64_t base, uint32_t limit, uint32_t flags) noexcept;

bool load_ldt(Cpu cpu, uint16_t selector) noexcept;
bool load_task_register(Cpu cpu, uint16_t selector) noexcept;

// --- far control transfers (far_transfer*.cpp). op_bytes: operand size 2, 4 or 8.
bool far_jump(Cpu cpu, uint16_t selector, uint64_t offset, unsigned op_bytes, uint64_t next_eip) noexcept;
bool far_call(Cpu cpu, uint16_t selector, uint64_t offset, unsigned op_bytes, uint64_t next_eip) noexcept;
bool far_return(Cpu cpu, unsigned op_bytes, uint16_t release_bytes) noexcept;
bool interrupt_return(Cpu cpu, unsigned op_bytes, uint64_t next_eip) noexcept;

// --- task switching (task_switch.cpp)
enum class TaskSwitch : uint8_t { Jump, Call, Interrupt, Return };
// selector: of the new TSS. next_eip is what the old task resumes at.
bool switch_task(Cpu cpu, uint16_t selector, TaskSwitch reason, uint64_t next_eip, unsigned ext,
                 std::optional<uint16_t> push_code = {}) noexcept;

// --- ports (port_io.cpp): may the CPU access `size` bytes at `port`? Else #GP is pending.
bool check_port(Cpu cpu, uint16_t port, unsigned size) noexcept;

// --- paging (paging.cpp)
bool walk(Cpu cpu, uint64_t address, Access access, MmuMode mode, bool probe, Translation& out) noexcept;

// INVPCID. False: #GP is pending.
bool invalidate_pcid(Cpu cpu, uint64_t type, uint64_t pcid, uint64_t address) noexcept;
// INVLPG: the page of `address`, or everything where it may belong to a large page.
void invalidate_page(Cpu cpu, uint64_t address) noexcept;
// Drops every cached translation.
void flush_translations(Cpu cpu) noexcept;
void flush_local_translations(Cpu cpu) noexcept;  // all but global pages
void enter_address_space(Cpu cpu) noexcept;       // CR3 was loaded

// The MMU mode of implicit supervisor accesses: descriptor tables, TSS, interrupt stacks.
[[nodiscard]] inline MmuMode system_mode(const Cpu& cpu) {
  return (cpu.cr(4) & kCr4Smap) != 0 ? kMmuKernel : kMmuKernelNoSmap;
}

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
