// What a translator function is given: one decoded instruction and typed ways to read and write
// its operands. One function per instruction or family, listed in a table by mnemonic (rows.h).
//
// Order that keeps faults exact: compute addresses and do every access that may fault, then set
// registers and flags. modify()-style instructions: `auto m = x.address(op); auto v = x.load(m, T,
// true); ...; x.store(m, v); x.set_reg(...)`.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <optional>
#include <span>

#include "exec/frontend.h"
#include "guest/x86/state.h"
#include "ir/builder.h"

namespace panda::x86 {

using ir::Type;
using ir::Value;

enum class Feature : uint8_t;  // rows.h
struct X87Known;               // x87_inline.h

// What is known at translation time about the lazy flags, between the instructions of one unit.
// Reset at the start of each unit and block.
struct FlagsKnown {
  std::optional<uint32_t> cc_op;  // the constant in the cc_op slot
  Value a, b;                     // operands of the compare or subtraction that set them, if still valid SSA values
  Value result;
  Value src, src2;  // what set_cc was given, at its width (kCcFlags: src are the bits)
};

// A memory operand's place: linear address (I64), already truncated to the address size, with the
// segment's base added and its limit checked where the mode demands it.
struct Memory {
  Value linear;
};

class InsnContext {
 public:
  InsnContext(ir::Builder& builder, const ZydisDecodedInstruction& decoded, const ZydisDecodedOperand* operands,
              const exec::InsnRequest& request, Layout layout, FlagsKnown& known, uint64_t features = ~uint64_t{0});

  ir::Builder& b;
  const ZydisDecodedInstruction& insn;
  const ZydisDecodedOperand* ops;
  const exec::InsnRequest& request;
  const Layout layout;
  FlagsKnown& known;
  const uint64_t features;    // bit per Feature
  X87Known* x87 = nullptr;    // null: x87 instructions are helper calls
  unsigned stack_adjust = 0;  // added to ESP as a base register (POP to memory)

  // --- where and how
  [[nodiscard]] bool has(Feature f) const { return (features >> static_cast<unsigned>(f) & 1) != 0; }
  [[nodiscard]] ir::MemInfo mem_info(Type type, bool for_write, unsigned align) const;
  [[nodiscard]] uint64_t flags() const { return request.flags; }  // ModeBits
  [[nodiscard]] bool mode(uint64_t bits) const { return (request.flags & bits) != 0; }
  [[nodiscard]] bool is64() const { return mode(kModeCs64); }
  [[nodiscard]] unsigned cpl() const { return static_cast<unsigned>(request.flags & kModeCplMask); }
  [[nodiscard]] uint64_t pc() const;       // EIP/RIP value of this instruction
  [[nodiscard]] uint64_t next_pc() const;  // of the next, truncated to the code size
  [[nodiscard]] Type operand_type() const { return ir::int_of_bytes(insn.operand_width / 8u); }
  [[nodiscard]] Type address_type() const { return ir::int_of_bytes(insn.address_width / 8u); }
  [[nodiscard]] Type stack_type() const;  // I16, I32 or I64: width of SP as used by push and pop
  [[nodiscard]] Type type_of(const ZydisDecodedOperand& op) const { return ir::int_of_bytes(op.size / 8u); }

  // --- registers. A 32-bit write zero-extends in 64-bit mode; 8- and 16-bit writes keep the rest.
  Value reg(unsigned number, Type type);  // R_EAX .. R_R15, low `type` part
  Value reg_high(unsigned number);        // AH, CH, DH, BH: bits 8-15 of 0..3
  void set_reg(unsigned number, Value v);
  void set_reg_high(unsigned number, Value v);
  Value reg(ZydisRegister r);
  void set_reg(ZydisRegister r, Value v);
  Value word(uint32_t offset) { return b.get(layout.word(), offset); }  // a PANDA_WORD field

  // --- memory
  // access_bytes: how much will be touched (limit checks); write: checked for a write.
  Memory address(const ZydisDecodedOperand& op, unsigned access_bytes, bool write);
  Memory address(const ZydisDecodedOperand& op, bool write = false) { return address(op, op.size / 8u, write); }
  // Effective address without segment base (LEA), of address_type().
  Value effective_address(const ZydisDecodedOperand& op);
  // seg: R_ES.. R_GS; offset of any integer type, zero-extended.
  Memory segment_address(unsigned seg, Value offset, unsigned access_bytes, bool write);
  // align: required alignment in bytes (16 for MOVAPS); 0: the AC rules apply.
  Value load(const Memory& m, Type type, bool for_write = false, unsigned align = 0);
  void store(const Memory& m, Value v, unsigned align = 0);
  // One access in two ops, `high` being the rest behind `low`. align: as above, of the whole.
  std::array<Value, 2> load(const Memory& low, Type low_type, const Memory& high, Type high_type,
                            bool for_write = false, unsigned align = 0);
  void store(const Memory& low, Value low_data, const Memory& high, Value high_data, unsigned align = 0);

  // --- operands: a general register, memory or an immediate, at the operand's own size
  Value read(const ZydisDecodedOperand& op);
  Value read_as(const ZydisDecodedOperand& op, Type type);  // sign-extends immediates, else as is
  void write(const ZydisDecodedOperand& op, Value v);       // a register, or memory (stores at once)

  // --- the stack: address checks, then the new SP is returned for the caller to commit last
  void push(Value v);    // stores, then sets SP
  Value pop(Type type);  // loads, then sets SP
  Value stack_pointer();
  void push_at(Value sp, Value v);        // store only, at SS:sp (of stack_type()); no register changes
  Value load_stack(Value sp, Type type);  // load only
  void set_stack_pointer(Value sp) { set_reg(R_ESP, sp); }

  // --- flags
  void set_cc(uint32_t op_base, Value dst, Value src = {}, Value src2 = {});  // width from dst's type
  void set_cc_flags(Value eflags_bits);                                       // kCcFlags with an I32 of the six flags
  void set_cc_sub(Value a, Value b, Value result);  // a - b; keeps the operands for fused compares
  void set_cc_add(Value a, Value b, Value result);
  Value get_eflags_arith();      // I32: the six flags
  Value condition(unsigned cc);  // I1; cc: the low nibble of Jcc/SETcc/CMOVcc
  Value carry();                 // I1

  // --- flow and faults
  void raise(Vector vector, std::optional<uint16_t> error_code = {});  // closes the block
  // A helper call: stays in the block, so that values remain valid.
  void raise_if(Value condition, Vector vector, std::optional<uint16_t> error_code = {});
  void set_pc(uint64_t pc);  // writes the pc slot
  Value call(const ir::HelperDesc& helper, std::initializer_list<Value> args = {}) { return b.call(helper, args); }
  // After an instruction that changed the mode or what interrupts see: pc slot = next, back to the engine.
  exec::InsnEnd end_dispatch();
  // Jump to a constant or computed EIP/RIP (checks CS limit / canonical where the mode demands it).
  exec::InsnEnd jump(uint64_t pc);
  exec::InsnEnd jump(Value pc);
  // #GP(0) where the target lies beyond the CS limit; emitted before an instruction's first set.
  // Nothing unless kModeCsLimit. condition: I1, only where the branch is taken.
  void check_target(Value pc);
  void check_target(uint64_t pc, Value condition = {});
  exec::InsnEnd jump_checked(uint64_t pc);  // after check_target
  exec::InsnEnd jump_checked(Value pc);
  // Two-way branch: taken to `pc`, else to the next instruction. Ends the unit.
  exec::InsnEnd branch(Value condition, uint64_t pc);
  exec::InsnEnd branch_unless(Value condition, uint64_t pc);
  // EIP/RIP of a relative branch operand, truncated to the operand size.
  [[nodiscard]] uint64_t relative_target(const ZydisDecodedOperand& op) const;
};

}  // namespace panda::x86
