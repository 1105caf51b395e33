// What the files of the integer chapter share: destination operands that are read, changed and
// written back, and the translator functions listed by integer_rows().
#pragma once

#include "guest/x86/insn_context.h"
#include "guest/x86/rows.h"

namespace panda::x86 {

// A register or memory destination of a read-modify-write instruction. The address is computed
// once; write() stores at once, so it comes before the instruction's register and flag changes.
class Destination {
 public:
  Destination(InsnContext& x, const ZydisDecodedOperand& op) : x_(x), op_(op), type_(x.type_of(op)) {
    if (is_memory()) memory_ = x.address(op, true);
  }
  [[nodiscard]] bool is_memory() const { return op_.type == ZYDIS_OPERAND_TYPE_MEMORY; }
  [[nodiscard]] Type type() const { return type_; }
  Value read() { return is_memory() ? x_.load(memory_, type_, true) : x_.reg(op_.reg.value); }
  void write(Value v) {
    if (is_memory()) {
      x_.store(memory_, v);
    } else {
      x_.set_reg(op_.reg.value, v);
    }
  }

 private:
  InsnContext& x_;
  const ZydisDecodedOperand& op_;
  Type type_;
  Memory memory_;
};

// translate_integer.cpp: arithmetic and logic
exec::InsnEnd translate_nop(InsnContext& x);
// translate_integer_shift.cpp
exec::InsnEnd translate_shl(InsnContext& x);
exec::InsnEnd translate_shr(InsnContext& x);
exec::InsnEnd translate_sar(InsnContext& x);
exec::InsnEnd translate_rol(InsnContext& x);
exec::InsnEnd translate_ror(InsnContext& x);
exec::InsnEnd translate_rcl(InsnContext& x);
exec::InsnEnd translate_rcr(InsnContext& x);
exec::InsnEnd translate_shld(InsnContext& x);
exec::InsnEnd translate_shrd(InsnContext& x);
// translate_integer_muldiv.cpp
exec::InsnEnd translate_mul(InsnContext& x);
exec::InsnEnd translate_imul(InsnContext& x);
exec::InsnEnd translate_div(InsnContext& x);
exec::InsnEnd translate_idiv(InsnContext& x);
exec::InsnEnd translate_decimal(InsnContext& x);
exec::InsnEnd translate_aam(InsnContext& x);
exec::InsnEnd translate_aad(InsnContext& x);
// translate_integer_bits.cpp
exec::InsnEnd translate_bt(InsnContext& x);
exec::InsnEnd translate_bsf(InsnContext& x);
exec::InsnEnd translate_bsr(InsnContext& x);
exec::InsnEnd translate_tzcnt(InsnContext& x);
exec::InsnEnd translate_lzcnt(InsnContext& x);
exec::InsnEnd translate_popcnt(InsnContext& x);
exec::InsnEnd translate_bswap(InsnContext& x);
exec::InsnEnd translate_crc32(InsnContext& x);
exec::InsnEnd translate_andn(InsnContext& x);
exec::InsnEnd translate_bls(InsnContext& x);
exec::InsnEnd translate_bextr(InsnContext& x);
exec::InsnEnd translate_bzhi(InsnContext& x);
exec::InsnEnd translate_shift_x(InsnContext& x);
exec::InsnEnd translate_rorx(InsnContext& x);
exec::InsnEnd translate_mulx(InsnContext& x);
exec::InsnEnd translate_pdep_pext(InsnContext& x);
exec::InsnEnd translate_adx(InsnContext& x);
// translate_integer_move.cpp
exec::InsnEnd translate_mov(InsnContext& x);
exec::InsnEnd translate_movzx(InsnContext& x);
exec::InsnEnd translate_movsx(InsnContext& x);
exec::InsnEnd translate_movbe(InsnContext& x);
exec::InsnEnd translate_lea(InsnContext& x);
exec::InsnEnd translate_xchg(InsnContext& x);
exec::InsnEnd translate_pause(InsnContext& x);
exec::InsnEnd translate_xadd(InsnContext& x);
exec::InsnEnd translate_cmpxchg(InsnContext& x);
exec::InsnEnd translate_cmpxchg8b(InsnContext& x);
exec::InsnEnd translate_cmpxchg16b(InsnContext& x);
exec::InsnEnd translate_xlat(InsnContext& x);
exec::InsnEnd translate_sign_extend_accumulator(InsnContext& x);
exec::InsnEnd translate_sign_fill_dx(InsnContext& x);
exec::InsnEnd translate_salc(InsnContext& x);
exec::InsnEnd translate_setcc(InsnContext& x);
exec::InsnEnd translate_cmovcc(InsnContext& x);

// The condition code (low opcode nibble) of a Jcc, SETcc or CMOVcc.
[[nodiscard]] inline unsigned condition_code(const InsnContext& x) { return x.insn.opcode & 15u; }

}  // namespace panda::x86
