// Integer arithmetic and logic. I8 and I16 are computed in 32 bits; bits above a value's type are
// undefined unless ValueInfo::zero_from says more.
#include <algorithm>
#include <bit>

#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::Type;

Xbyak::Reg Lowering::reg(int r, Type t) const {
  switch (ir::size_bytes(t)) {
    case 1:
      return reg8(r);
    case 2:
      return reg16(r);
    case 4:
      return reg32(r);
    default:
      return reg64(r);
  }
}

Xbyak::Reg Lowering::reg_op(int r, Type t) const {
  return t == Type::I64 ? static_cast<Xbyak::Reg>(reg64(r)) : static_cast<Xbyak::Reg>(reg32(r));
}

unsigned Lowering::zero_from(ir::ValueId v) const {
  uint64_t k;
  if (ra_.is_const(v, &k)) return static_cast<unsigned>(std::bit_width(k));
  return ra_.info(ra_.info(v).root).zero_from;
}

void Lowering::extend(int to, int from, Type t, bool sign) {
  switch (t) {
    case Type::I1:
      c_.movzx(reg32(to), reg8(from));
      if (sign) c_.neg(reg64(to));
      return;
    case Type::I8:
      sign ? c_.movsx(reg64(to), reg8(from)) : c_.movzx(reg32(to), reg8(from));
      return;
    case Type::I16:
      sign ? c_.movsx(reg64(to), reg16(from)) : c_.movzx(reg32(to), reg16(from));
      return;
    case Type::I32:
      sign ? c_.movsxd(reg64(to), reg32(from)) : c_.mov(reg32(to), reg32(from));
      return;
    default:
      if (to != from) c_.mov(reg64(to), reg64(from));
  }
}

// A register that holds v zero-extended to 64 bits: v's own, or a scratch.
int Lowering::use_zero_extended(ir::ValueId v) {
  const int r = ra_.use(v);
  if (ra_.is_zero_extended(v)) return r;
  const int t = ra_.scratch();
  extend(t, r, ra_.type(v), false);
  return t;
}

// --- two operands

void Lowering::alu(const Inst& in, bool commutative, AluOp op, AluImm op_imm, unsigned result_zero_from) {
  ir::ValueId a = in.args[0], b = in.args[1];
  if (commutative && (ra_.is_const(a) || (ra_.dies(b) && !ra_.dies(a) && !ra_.is_const(b)))) std::swap(a, b);
  int d;
  int32_t imm;
  Xbyak::Address m = c_.ptr[c_.rbp];
  if (ra_.is_imm32(b, &imm)) {
    d = ra_.use_mutable(a);
    op_imm(c_, reg_op(d, in.type), static_cast<uint32_t>(imm));
  } else if (ra_.in_memory(b, &m)) {
    d = ra_.use_mutable(a);
    op(c_, reg_op(d, in.type), m);
  } else {
    const int r = ra_.use(b);
    d = ra_.use_mutable(a);
    op(c_, reg_op(d, in.type), reg_op(r, in.type));
  }
  ra_.define(index_, d, in.type == Type::I64 ? result_zero_from : std::min(result_zero_from, 32u));
}

#define ALU(insn)                                                         \
  [](Assembler& c, const Operand& d, const Operand& s) { c.insn(d, s); }, \
      [](Assembler& c, const Operand& d, uint32_t value) { c.insn(d, value); }

void Lowering::add_scaled(const Inst& in, ir::ValueId base, ir::ValueId scaled) {
  const Inst& shift = unit_->insts[scaled];
  const int factor = 1 << unit_->insts[shift.args[1]].imm;
  const int index = ra_.use(shift.args[0]);
  int32_t imm = 0;
  const bool is_imm = ra_.is_imm32(base, &imm);
  const int r = is_imm ? -1 : ra_.use(base);
  const int d = ra_.result(index_);
  if (is_imm) {
    c_.lea(reg_op(d, in.type), c_.ptr[reg64(index) * factor + imm]);
  } else {
    c_.lea(reg_op(d, in.type), c_.ptr[reg64(r) + reg64(index) * factor]);
  }
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::lower_add(const Inst& in) {
  ir::ValueId a = in.args[0], b = in.args[1];
  for (const auto& [other, scaled] : {std::pair{a, b}, std::pair{b, a}}) {
    if (ra_.info(scaled).deferred) return add_scaled(in, other, scaled);
  }
  if (ra_.is_const(a)) std::swap(a, b);
  int32_t imm;
  if (!ra_.dies(a) && !ra_.is_const(a)) {
    if (ra_.is_imm32(b, &imm)) {
      const int r = ra_.use(a);
      const int d = ra_.result(index_);
      c_.lea(reg_op(d, in.type), c_.ptr[reg64(r) + imm]);
      return ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
    }
    if (ra_.reg_of(b) >= 0 && !ra_.dies(b)) {
      const int r = ra_.use(a), s = ra_.use(b);
      const int d = ra_.result(index_);
      c_.lea(reg_op(d, in.type), c_.ptr[reg64(r) + reg64(s)]);
      return ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
    }
  }
  alu(in, true, ALU(add), 64);
}

void Lowering::lower_sub(const Inst& in) {
  int32_t imm;
  if (ra_.is_imm32(in.args[1], &imm) && imm != INT32_MIN && !ra_.dies(in.args[0]) && !ra_.is_const(in.args[0])) {
    const int r = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    c_.lea(reg_op(d, in.type), c_.ptr[reg64(r) - imm]);
    return ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
  }
  alu(in, false, ALU(sub), 64);
}

void Lowering::lower_and_(const Inst& in) {
  uint64_t k;
  if (ra_.is_const(in.args[1], &k) && in.type >= Type::I32 && (k == 0xff || k == 0xffff || (k == 0xffffffff))) {
    const int r = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    extend(d, r, k == 0xff ? Type::I8 : k == 0xffff ? Type::I16 : Type::I32, false);
    return ra_.define(index_, d, static_cast<unsigned>(std::bit_width(k)));
  }
  unsigned z = std::min(zero_from(in.args[0]), zero_from(in.args[1]));
  // A negative immediate keeps the other operand's upper bits.
  for (const ir::ValueId v : {in.args[0], in.args[1]}) {
    if (ra_.is_const(v, &k) && (k >> (ir::size_bits(in.type) - 1) & 1) != 0) {
      z = zero_from(v == in.args[0] ? in.args[1] : in.args[0]);
    }
  }
  alu(in, true, ALU(and_), z);
}

void Lowering::lower_or_(const Inst& in) {
  unsigned z = std::max(zero_from(in.args[0]), zero_from(in.args[1]));
  for (const ir::ValueId v : {in.args[0], in.args[1]}) {
    if (ra_.is_const(v) && z >= ir::size_bits(in.type)) z = 64;  // the immediate is sign-extended
  }
  alu(in, true, ALU(or_), z);
}

void Lowering::lower_xor_(const Inst& in) {
  unsigned z = std::max(zero_from(in.args[0]), zero_from(in.args[1]));
  for (const ir::ValueId v : {in.args[0], in.args[1]}) {
    if (ra_.is_const(v) && z >= ir::size_bits(in.type)) z = 64;
  }
  alu(in, true, ALU(xor_), z);
}
#undef ALU

void Lowering::lower_mul(const Inst& in) {
  ir::ValueId a = in.args[0], b = in.args[1];
  if (ra_.is_const(a)) std::swap(a, b);
  int32_t imm;
  int d;
  if (ra_.is_imm32(b, &imm)) {
    const int r = ra_.use(a);
    d = ra_.result(index_);
    in.type == Type::I64 ? c_.imul(reg64(d), reg64(r), imm) : c_.imul(reg32(d), reg32(r), imm);
  } else {
    if (ra_.dies(b) && !ra_.dies(a)) std::swap(a, b);
    const int r = ra_.use(b);
    d = ra_.use_mutable(a);
    in.type == Type::I64 ? c_.imul(reg64(d), reg64(r)) : c_.imul(reg32(d), reg32(r));
  }
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

// 64 x 64 bits: the one-operand forms, rdx:rax.
void Lowering::multiply_high(const Inst& in, bool sign) {
  ra_.fixed(0);
  ra_.fixed(2);
  const int r = ra_.use(in.args[1]);
  ra_.move(in.args[0], 0);
  sign ? c_.imul(reg64(r)) : c_.mul(reg64(r));
  ra_.define(index_, 2);
}

void Lowering::high_of_product(const Inst& in, bool sign) {
  if (in.type == Type::I64) return multiply_high(in, sign);
  const int a = ra_.use(in.args[0]), b = ra_.use(in.args[1]);
  const int d = ra_.result(index_), t = ra_.scratch();
  extend(d, a, Type::I32, sign);
  extend(t, b, Type::I32, sign);
  c_.imul(reg64(d), reg64(t));
  c_.shr(reg64(d), 32);
  ra_.define(index_, d, 32);
}
void Lowering::lower_mulhu(const Inst& in) { high_of_product(in, false); }
void Lowering::lower_mulhs(const Inst& in) { high_of_product(in, true); }

// --- one operand

void Lowering::lower_not_(const Inst& in) {
  const unsigned z = zero_from(in.args[0]);
  const int d = ra_.use_mutable(in.args[0]);
  if (in.type == Type::I1) {
    c_.xor_(reg32(d), 1);
    return ra_.define(index_, d, std::min(z, 32u));
  }
  c_.not_(reg_op(d, in.type));
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::lower_neg(const Inst& in) {
  const int d = ra_.use_mutable(in.args[0]);
  c_.neg(reg_op(d, in.type));
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::lower_clz(const Inst& in) {
  const unsigned bits = ir::size_bits(in.type);
  const int a = bits < 32 ? use_zero_extended(in.args[0]) : ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (c_.features.lzcnt) {
    bits == 64 ? c_.lzcnt(reg64(d), reg64(a)) : c_.lzcnt(reg32(d), reg32(a));
    if (bits < 32) c_.sub(reg32(d), 32 - bits);
  } else {
    // BSR leaves its result undefined for 0: 2 * bits - 1 then gives bits below.
    const int t = ra_.scratch();
    c_.mov(reg32(t), 2 * bits - 1);
    bits == 64 ? c_.bsr(reg64(d), reg64(a)) : c_.bsr(reg32(d), reg32(a));
    c_.cmovcc(Cc::E, d, t, false);
    c_.xor_(reg32(d), bits - 1);
  }
  ra_.define(index_, d, 8);
}

void Lowering::lower_ctz(const Inst& in) {
  const unsigned bits = ir::size_bits(in.type);
  int a;
  if (bits < 32) {  // a bit above the type stops the count
    a = ra_.use_mutable(in.args[0]);
    c_.or_(reg32(a), 1u << bits);
  } else {
    a = ra_.use(in.args[0]);
  }
  const int d = ra_.result(index_);
  if (c_.features.tzcnt) {
    bits == 64 ? c_.tzcnt(reg64(d), reg64(a)) : c_.tzcnt(reg32(d), reg32(a));
  } else {
    const int t = ra_.scratch();
    c_.mov(reg32(t), bits);
    bits == 64 ? c_.bsf(reg64(d), reg64(a)) : c_.bsf(reg32(d), reg32(a));
    c_.cmovcc(Cc::E, d, t, false);
  }
  ra_.define(index_, d, 8);
}

void Lowering::lower_popcnt(const Inst& in) {
  const bool narrow = ir::size_bits(in.type) < 32;
  const int a = narrow ? use_zero_extended(in.args[0]) : ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  in.type == Type::I64 ? c_.popcnt(reg64(d), reg64(a)) : c_.popcnt(reg32(d), reg32(a));
  ra_.define(index_, d, 8);
}

void Lowering::lower_bswap(const Inst& in) {
  const int d = ra_.use_mutable(in.args[0]);
  if (in.type == Type::I16) {
    c_.rol(reg16(d), 8);
    return ra_.define(index_, d, 64);
  }
  in.type == Type::I64 ? c_.bswap(reg64(d)) : c_.bswap(reg32(d));
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::lower_crc32c(const Inst& in) {
  const Type t = ra_.type(in.args[1]);
  const int b = ra_.use(in.args[1]);
  const int d = ra_.use_mutable(in.args[0]);
  t == Type::I64 ? c_.crc32(reg64(d), reg64(b)) : c_.crc32(reg32(d), reg(b, t));
  ra_.define(index_, d, 32);
}

// --- widths

void Lowering::lower_zext(const Inst& in) {
  const ir::ValueId a = in.args[0];
  if (ra_.is_zero_extended(a)) return ra_.alias(index_, a);
  const int r = ra_.use(a);
  const int d = ra_.result(index_);
  extend(d, r, ra_.type(a), false);
  ra_.define(index_, d, ir::size_bytes(ra_.type(a)) * 8);
}

void Lowering::lower_sext(const Inst& in) {
  const ir::ValueId a = in.args[0];
  const Type from = ra_.type(a);
  if (ir::size_bits(from) == ir::size_bits(in.type)) return ra_.alias(index_, a);
  const int r = ra_.use(a);
  const int d = ra_.result(index_);
  if (in.type == Type::I64) {
    extend(d, r, from, true);
    return ra_.define(index_, d);
  }
  switch (from) {
    case Type::I1:
      c_.movzx(reg32(d), reg8(r));
      c_.neg(reg32(d));
      break;
    case Type::I8:
      c_.movsx(reg32(d), reg8(r));
      break;
    default:
      c_.movsx(reg32(d), reg16(r));
      break;
  }
  ra_.define(index_, d, 32);
}

void Lowering::lower_trunc(const Inst& in) {
  const ir::ValueId a = in.args[0];
  if (in.type != Type::I1 || ra_.type(a) == Type::I1) return ra_.alias(index_, a);
  const int d = ra_.use_mutable(a);
  c_.and_(reg32(d), 1);
  ra_.define(index_, d, 1);
}

}  // namespace panda::x64
