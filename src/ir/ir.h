// The IR of one translation unit: blocks of instructions in SSA form within each block. A value
// never crosses a block; what does goes through guest-state slots (get, set), which the back ends
// may keep in host registers. That keeps translation one cheap forward pass, needs no phi, and
// makes a fault's exact state simply "the slots as of this op".
//
// Rules that front ends keep and every back end relies on:
//  - `insn i` precedes the ops of guest instruction i. An op that can leave early (load, store,
//    call of a may_fault helper) leaves the state as it was at that instruction's `insn` mark
//    plus any `set` already executed for it: so a front end emits all faulting ops of an
//    instruction before its first `set`.
//  - One offset is always accessed with one type within a unit; different slots do not overlap.
//  - Each block starts with at most one `count`, covering the guest instructions whose `insn`
//    marks follow in this block. A guest instruction that spans blocks repeats its `insn` mark in
//    each block that holds one of its faulting ops; its refund stays the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ir/helper.h"
#include "ir/opcode.h"
#include "ir/type.h"

namespace panda::ir {

using ValueId = uint32_t;
inline constexpr ValueId kNoValue = ~ValueId{0};

struct Inst {
  Op op;
  Type type;  // of the result; for set and store, of the stored value
  uint8_t nargs = 0;
  ValueId args[4] = {kNoValue, kNoValue, kNoValue, kNoValue};
  uint32_t aux = 0;
  uint64_t imm = 0;
};

struct Block {
  uint32_t first = 0;  // index of its first instruction
  uint32_t count = 0;  // instructions, the terminator included
};

struct GuestInsn {
  uint64_t pc = 0;      // value of the guest's pc register at this instruction
  uint8_t size = 0;     // bytes
  uint16_t refund = 0;  // instructions of this block's `count` not completed when this one faults (itself included)
};

// How a guest access is made; packed into the imm of load and store.
struct MemInfo {
  uint8_t mode = 0;        // MMU mode: index of the soft TLB (privilege; the front end defines them)
  bool for_write = false;  // a load that is half of a read-modify-write: fails unless writable too
  uint8_t align = 0;       // 0, or the alignment in bytes that the guest requires (else Mmu::misaligned)
  bool strict = false;     // it is the instruction that requires it (else Mmu::misaligned_operand)

  [[nodiscard]] constexpr uint64_t pack() const {
    return uint64_t{mode} | uint64_t{for_write} << 8 | uint64_t{align} << 16 | uint64_t{strict} << 24;
  }
  [[nodiscard]] static constexpr MemInfo unpack(uint64_t imm) {
    return {static_cast<uint8_t>(imm), (imm >> 8 & 1) != 0, static_cast<uint8_t>(imm >> 16), (imm >> 24 & 1) != 0};
  }
};

// What exit_if holds in its aux.
struct ExitIf {
  static constexpr uint32_t kMaxExit = 0x3fff'ffff;
  uint32_t exit = 0;      // exit number; without meaning where looked_up
  bool if_false = false;  // taken where the condition does not hold
  bool looked_up = false;

  [[nodiscard]] constexpr uint32_t pack() const { return exit << 2 | uint32_t{looked_up} << 1 | uint32_t{if_false}; }
  [[nodiscard]] static constexpr ExitIf unpack(uint32_t aux) { return {aux >> 2, (aux & 1) != 0, (aux & 2) != 0}; }
};

struct Unit {
  std::vector<Inst> insts;
  std::vector<Block> blocks;  // block 0 is the entry
  std::vector<GuestInsn> guest_insns;
  uint32_t pc_offset = 0;  // the pc slot: written by exits that are not chained
  Type pc_type = Type::I64;
  uint32_t f80_control = 0;  // slots of F80 ops: x87 control and status word (I16)
  uint32_t f80_status = 0;
  uint32_t exit_count = 0;  // exit_direct and exit_if numbers used: 0 .. exit_count-1
  bool exact = false;       // a single instruction that may cross the line; ends in exit_dispatch

  [[nodiscard]] std::span<const Inst> body(const Block& b) const { return {insts.data() + b.first, b.count}; }
  void clear() {
    insts.clear();
    blocks.clear();
    guest_insns.clear();
    exit_count = 0;
    exact = false;
  }
};

}  // namespace panda::ir
