// C++ functions that translated integer and control code calls, and their descriptors.
#pragma once

#include "guest/x86/state.h"
#include "ir/helper.h"

namespace panda::x86 {

// Faults.
extern const ir::HelperDesc kHelperRaise;         // (vector | error code << 16 | has code << 8)
extern const ir::HelperDesc kHelperRaiseIf;       // (condition, as above)
extern const ir::HelperDesc kHelperSoftwareInt;   // (vector, next eip)
extern const ir::HelperDesc kHelperInt3;          // (next eip): INT3
extern const ir::HelperDesc kHelperInt1;          // (next eip): INT1
extern const ir::HelperDesc kHelperInto;          // (condition, next eip): INTO
extern const ir::HelperDesc kHelperCheckSegment;  // (seg, offset, bytes | write << 16)
extern const ir::HelperDesc kHelperCheckTarget;   // (eip): #GP(0) beyond the CS limit
[[nodiscard]] constexpr uint32_t pack_fault(Vector vector, bool has_code, uint16_t code) {
  return uint32_t{vector} | (has_code ? 0x100u : 0u) | uint32_t{code} << 16;
}

// Would an access of `bytes` at `offset` pass the segment's type and limit checks (SDM vol. 3, 5.3)?
[[nodiscard]] bool segment_permits(const State& s, unsigned seg, uint64_t offset, uint64_t bytes, bool write) noexcept;
// The same, raising #SS(0) or #GP(0).
bool check_segment(Cpu cpu, unsigned seg, uint64_t offset, uint64_t bytes, bool write) noexcept;

// Lazy flags. Pure: (cc_op, dst, src, src2).
extern const ir::HelperDesc kHelperFlags;      // the six flags
extern const ir::HelperDesc kHelperCarry;      // CF
extern const ir::HelperDesc kHelperCondition;  // cc_op | cc << 16: the condition of Jcc

// Division: (divisor); rAX, rDX in and out; #DE.
extern const ir::HelperDesc kHelperDiv8, kHelperDiv16, kHelperDiv32, kHelperDiv64;
extern const ir::HelperDesc kHelperIdiv8, kHelperIdiv16, kHelperIdiv32, kHelperIdiv64;

// Rotates through carry, pure: (value, count | width << 8, eflags): the value, or eflags with CF and OF replaced.
extern const ir::HelperDesc kHelperRclValue, kHelperRclFlags, kHelperRcrValue, kHelperRcrFlags;

// Decimal adjustments, pure: (AX, eflags [, base]): AX | flags << 16.
extern const ir::HelperDesc kHelperDaa, kHelperDas, kHelperAaa, kHelperAas;

// PDEP, PEXT, pure: (source, mask).
extern const ir::HelperDesc kHelperPdep, kHelperPext;

// POPF: (value, operand bytes, next eip, exact). Leaves the unit only where something that
// translations or interrupts depend on changed.
extern const ir::HelperDesc kHelperPopf;
extern const ir::HelperDesc kHelperSti;  // (next eip)

}  // namespace panda::x86
