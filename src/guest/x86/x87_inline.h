// x87 instructions as IR on F80 values, which takes knowing at translation time where the top of the
// stack is and which registers are empty. A unit is made for the state that the guest is in when it is
// translated: its first x87 instruction has a guard that this is still so, and from there on both are
// constants, stack faults included. Where a guard fails, the unit is made anew for the state found;
// where it does so time and again, and wherever a stack fault or an unmasked exception is possible, the
// instruction is a helper call as before (x87_helpers.h).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "guest/x86/insn_context.h"

namespace panda::x86 {

// What is known of the x87 stack between the instructions of a unit.
struct X87Known {
  bool guess = false;  // top and empty: as they should be
  bool valid = false;  // and as they surely are
  uint8_t top = 0;
  uint8_t empty = 0xff;   // a bit for each register, by physical number
  bool uses_f80 = false;  // the unit has F80 slots, which lie where MMX slots do:
  bool uses_mmx = false;  // never both in one unit
  size_t scanned = 0;     // ops up to here were looked at for what may change the stack
  size_t blocks = 0;
  class X87Misses* misses = nullptr;

  void assume(unsigned new_top, unsigned new_empty) {
    top = static_cast<uint8_t>(new_top & 7);
    empty = static_cast<uint8_t>(new_empty);
    valid = false;
  }
  // What a helper is expected to have done: pushed (negative) or popped.
  void moved(int registers);
};

// Where guards failed. A matter of speed alone: what is forgotten here is found out again.
class X87Misses {
 public:
  void note(uint64_t pc);
  // Another program's code at the same place gets its chance: the answer changes after some askings.
  [[nodiscard]] bool hopeless(uint64_t pc);

 private:
  static constexpr unsigned kEnough = 4, kAskings = 16;
  struct Entry {
    uint64_t pc = 0;
    unsigned count = 0;
  };
  [[nodiscard]] static size_t index(uint64_t pc) { return static_cast<size_t>(pc ^ pc >> 9) % 512; }
  std::array<Entry, 512> entries_{};
};

// What the guards call.
void x87_guard_failed(void* state, uint64_t pc) noexcept;

// One instruction. ready() first; if it says no, nothing was emitted and a helper does it.
class InlineX87 {
 public:
  explicit InlineX87(InsnContext& x) : x_(x) {}

  // May the instruction be inline, with these ST(i) in use, and ST(7) empty where it pushes?
  [[nodiscard]] bool ready(std::initializer_list<unsigned> used, bool pushes = false);

  Value st(unsigned i);
  void set_st(unsigned i, Value v);  // the register is valid then
  void push(Value v);
  void pop();
  void free(unsigned i);
  void rotate(int by);
  void clear_c1() { emit(ir::Op::f80_clear_c1, Type::Void, {}); }
  Value emit(ir::Op op, Type type, std::initializer_list<Value> args, uint64_t imm = 0, uint32_t aux = 0) {
    return x_.b.emit(op, type, args, imm, aux);
  }
  // Memory forms; the address is checked for the format's size.
  Value load(ir::Op op, const ZydisDecodedOperand& at, ir::F80Format format, Value a = {});
  void store(const ZydisDecodedOperand& at, ir::F80Format format);  // of ST(0)
  exec::InsnEnd done();                                             // the tags and the top, where they changed

 private:
  [[nodiscard]] unsigned phys(unsigned i) const { return (x_.x87->top + i) & 7; }
  [[nodiscard]] uint64_t mem_info(ir::F80Format format) const;

  InsnContext& x_;
  uint8_t top_ = 0, empty_ = 0;  // before
};

// For instructions on the control and status words: F80 ops may stand in this unit.
void name_f80_slots(InsnContext& x);
// A guard of this instruction is worth its while.
[[nodiscard]] bool may_guard(const InsnContext& x);

}  // namespace panda::x86
