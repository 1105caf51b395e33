// The conventions that all translated code shares.
//
//   rbp  guest state; VcpuContext before it       r15  budget
//   rsp  a fixed frame: spill slots and SaveArea  everything else: allocatable
//
// Code enters units by jumps only, with nothing else in registers. It leaves to the common exit with
// rax = pack_exit(kind, index) and rdx = TranslationUnit*.
//
// An access that misses the soft TLB jumps to a stub in the unit's cold part, which is little more
// than a call of a shared thunk. What the thunk has to know about the access lies before that call
// as data (SlowHeader): which register holds what, and the guest-state slots whose current value is
// only in a register. That makes a stub some 40 bytes and cheap to emit, and boot code is mostly
// stubs that never run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exec/backend.h"
#include "ir/type.h"
#include "memory/vcpu_context.h"

namespace panda::x64 {

inline constexpr int kState = 5;    // rbp
inline constexpr int kBudget = 15;  // r15
inline constexpr uint32_t kAllocatableGprs = 0x7fff & ~(1u << 4) & ~(1u << kState);
inline constexpr uint32_t kCallerSavedGprs = 0x0fc7;  // rax rcx rdx rsi rdi r8-r11
inline constexpr uint32_t kCalleeSavedGprs = kAllocatableGprs & ~kCallerSavedGprs;
inline constexpr uint32_t kAllXmms = 0xffff0000;

// What the slow path does besides the ordinary access.
struct X87Access {
  enum Kind : uint8_t {
    Plain,  // a load or store like any other, while values lie on the x87 stack
    Load,   // the data goes to memory of ours, and its address to SlowHeader::data
    Store,  // ST(st) as `format`; SlowHeader::data gets the address of memory of ours
    Guard,  // no access: calls SlowHeader::constant
  };
  uint16_t status;    // slot of the status word
  uint16_t taken;     // bits of the host's status word to add to it
  uint16_t replaced;  // bits of it to clear before
  Kind kind : 2;
  uint8_t format : 4;
  uint8_t unused : 2;
  uint8_t st;
};
static_assert(sizeof(X87Access) == 8);

struct SaveArea {
  uint64_t gpr[16];
  alignas(16) uint8_t xmm[16][16];
  uint64_t exit_code;  // pack_exit() of a slow path that leaves the unit
  uint64_t exit_unit;
  uint64_t borrowed;  // of an out-of-line access of a group's member: what was in its register of kLookupGprs
  uint64_t entry;     // and in kLookupEntry
  uint64_t address;   // kFrameAddress
  // Of a stub whose access has to do with the x87 (slow_x87.cpp).
  X87Access x87_access;
  alignas(16) uint8_t x87[112];  // FNSAVE
};

inline constexpr int kGprSpills = 512;
inline constexpr int kXmmSpills = 256;
inline constexpr int kSaveArea = kGprSpills * 8;
inline constexpr int kXmmSpillBase = kSaveArea + static_cast<int>(sizeof(SaveArea));
inline constexpr int kF80Spills = 64;
inline constexpr int kF80SpillBase = kXmmSpillBase + kXmmSpills * 16;
inline constexpr int kFrameBytes = kF80SpillBase + kF80Spills * 16;
static_assert(kFrameBytes % 16 == 0);

[[nodiscard]] constexpr uint32_t pack_exit(exec::Exit kind, uint32_t index) {
  return static_cast<uint32_t>(kind) << 28 | index;
}

// Displacement of a VcpuContext field from the guest state.
#define PANDA_CONTEXT(field) \
  (static_cast<int>(offsetof(::panda::VcpuContext, field)) - static_cast<int>(sizeof(::panda::VcpuContext)))

// Displacement of a field of a TLB's first entry from the guest state.
[[nodiscard]] constexpr int tlb_field(unsigned mode, size_t field) {
  return PANDA_CONTEXT(tlb) + static_cast<int>(mode * sizeof(TlbTable) + field);
}

// A lookup thunk takes an address in one of the first, and needs the other besides.
inline constexpr uint32_t kLookupGprs = 0x47;  // rax rcx rdx rsi
inline constexpr int kLookupEntry = 7;         // rdi

inline constexpr uint8_t kConstantReg = 0xff;
inline constexpr uint8_t kFrameAddress = 0xfd;  // SlowHeader::address: in SaveArea::address
inline constexpr uint8_t kNoPointer = 0xff;
inline constexpr uint8_t kLazyReg = 0xfe;  // the slot's value is what its LazyTokens come to

inline constexpr uint8_t kX87Reg = 64;          // and on: ST(reg - kX87Reg)
inline constexpr uint8_t kHostControlHigh = 3;  // of VcpuContext::host_fpcw

// One slot to write before the slow path runs. Constants stand before all DirtySlots, in order.
struct DirtySlot {
  uint16_t offset;
  uint8_t size;
  uint8_t reg;  // 0-15 general, 16-31 vector, kX87Reg.., kConstantReg, kLazyReg
};

// A lazy slot's expression in postfix order (liveness.h); `last` ends it. The tokens of all lazy
// slots, in the slots' order, stand before the constants.
struct LazyToken {
  enum Kind : uint8_t { Register, Constant, Spill, State, Compute, Call };
  Kind kind;
  ir::Type type;  // of the result
  ir::Type from;  // Compute: of the first operand
  uint8_t nargs;  // Compute, Call
  uint16_t op;    // Compute: ir::Op; Register: its number
  bool last;
  uint8_t unused;
  uint64_t imm;  // Constant: the value; Spill: index; State: offset; Compute: Inst::imm; Call: the function
};
static_assert(sizeof(LazyToken) == 16);
inline constexpr unsigned kMaxLazySlots = 128;  // in one access's description

// Directly before the stub's call; DirtySlot[dirty] directly before this.
struct SlowHeader {
  exec::TranslationUnit* unit;
  uint32_t insn;      // Unit::guest_insns index
  uint32_t mem_info;  // MemInfo::pack()
  uint8_t size;
  uint8_t is_store;
  uint8_t address;  // register
  uint8_t data;     // register to load into or store from; kConstantReg: `constant`
  uint16_t dirty;
  uint16_t constants;
  uint32_t tokens;
  // Access groups (access_groups.h).
  uint16_t pointers;    // registers that hold one: null after a TLB entry was filled
  uint8_t pointer;      // the register of the access's own group, to be set if it may be; or kNoPointer
  bool pointer_writes;  // and where the group's range is: this far before the address,
  uint16_t offset;
  uint16_t span;  // this long
  uint64_t constant;
};

// By exit number, behind the unit's code: where the exit's jump is.
struct ExitJump {
  uint32_t after = 0;  // position after the jump's displacement; 0: no such exit
  uint32_t stub = 0;
  uint32_t loop_head = 0;  // where a link of the unit to itself goes; 0: to its entry
  // 0: not there. Where a counted link's jump goes, and the position after the displacement of the jump behind that.
  uint32_t counted = 0;
  uint32_t counted_after = 0;
};

// Brings the guest's slots up to date from what the stub's description says; returns its header.
SlowHeader write_dirty_slots(void* state, const uint8_t* resume, const SaveArea& save) noexcept;

// The C++ half for stubs with an X87Access; SaveArea::x87 is the host's x87 as it was.
extern "C" uint32_t panda_x64_slow_x87(void* state, const uint8_t* resume, SaveArea* save) noexcept;

// The C++ half of the thunk. `resume` is the return address of the stub's call. True: leave the unit.
extern "C" uint32_t panda_x64_slow_access(void* state, const uint8_t* resume, SaveArea* save) noexcept;

}  // namespace panda::x64
