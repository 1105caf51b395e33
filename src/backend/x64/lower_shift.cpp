// Shifts, rotates and bit fields. Counts are taken modulo the width of the type: the host does so
// for 32 and 64 bits, and for rotates of any width.
#include <algorithm>

#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::Type;

void Lowering::emit_shift_imm(Shift kind, const Xbyak::Reg& r, unsigned count) {
  const int n = static_cast<int>(count);
  switch (kind) {
    case Shift::Shl:
      c_.shl(r, n);
      break;
    case Shift::Shr:
      c_.shr(r, n);
      break;
    case Shift::Sar:
      c_.sar(r, n);
      break;
    case Shift::Rol:
      c_.rol(r, n);
      break;
    case Shift::Ror:
      c_.ror(r, n);
      break;
  }
}

void Lowering::shift_by_constant(const Inst& in, Shift kind, unsigned count) {
  const Type t = in.type;
  const unsigned bits = ir::size_bits(t);
  const bool rotate = kind >= Shift::Rol;
  if (count == 0) return ra_.alias(index_, in.args[0]);
  if (rotate && bits >= 32 && c_.features.bmi2) {
    const int r = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    const auto right = static_cast<uint8_t>(kind == Shift::Ror ? count : bits - count);
    bits == 64 ? c_.rorx(reg64(d), reg64(r), right) : c_.rorx(reg32(d), reg32(r), right);
    return ra_.define(index_, d, bits);
  }
  unsigned z = bits == 64 ? 64 : 32;
  int d;
  if (bits < 32 && (kind == Shift::Shr || kind == Shift::Sar) &&
      !(kind == Shift::Shr && ra_.is_zero_extended(in.args[0]))) {
    const int r = ra_.use(in.args[0]);
    d = ra_.result(index_);
    extend(d, r, t, kind == Shift::Sar);
    emit_shift_imm(kind, reg32(d), count);
  } else {
    d = ra_.use_mutable(in.args[0]);
    emit_shift_imm(kind, rotate ? reg(d, t) : reg_op(d, t), count);
    if (rotate && bits < 32) z = 64;
  }
  if (kind == Shift::Shr) z = bits - count;
  ra_.define(index_, d, z);
}

// The count in cl.
void Lowering::shift_by_cl(const Inst& in, Shift kind) {
  const Type t = in.type;
  const unsigned bits = ir::size_bits(t);
  const bool rotate = kind >= Shift::Rol;
  const bool mask = bits < 32 && !rotate;
  if (!mask && ra_.reg_of(in.args[1]) == 1) {
    ra_.use(in.args[1]);
  } else {
    ra_.fixed(1);
    ra_.move(in.args[1], 1);
    if (mask) c_.and_(reg32(1), bits - 1);
  }
  int d;
  if (bits < 32 && (kind == Shift::Shr || kind == Shift::Sar)) {
    const int r = ra_.use(in.args[0]);
    d = ra_.result(index_);
    extend(d, r, t, kind == Shift::Sar);
  } else {
    d = ra_.use_mutable(in.args[0]);
  }
  const Xbyak::Reg r = rotate ? reg(d, t) : reg_op(d, t);
  switch (kind) {
    case Shift::Shl:
      c_.shl(r, c_.cl);
      break;
    case Shift::Shr:
      c_.shr(r, c_.cl);
      break;
    case Shift::Sar:
      c_.sar(r, c_.cl);
      break;
    case Shift::Rol:
      c_.rol(r, c_.cl);
      break;
    case Shift::Ror:
      c_.ror(r, c_.cl);
      break;
  }
  ra_.define(index_, d, bits == 64 || (rotate && bits < 32) ? 64 : kind == Shift::Shr ? bits : 32);
}

void Lowering::shift(const Inst& in, Shift kind) {
  const unsigned bits = ir::size_bits(in.type);
  uint64_t count;
  if (ra_.is_const(in.args[1], &count)) return shift_by_constant(in, kind, static_cast<unsigned>(count) & (bits - 1));
  if (!c_.features.bmi2 || bits < 32 || kind >= Shift::Rol) return shift_by_cl(in, kind);
  const int n = ra_.use(in.args[1]), a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (bits == 64) {
    switch (kind) {
      case Shift::Shl:
        c_.shlx(reg64(d), reg64(a), reg64(n));
        break;
      case Shift::Shr:
        c_.shrx(reg64(d), reg64(a), reg64(n));
        break;
      default:
        c_.sarx(reg64(d), reg64(a), reg64(n));
        break;
    }
  } else {
    switch (kind) {
      case Shift::Shl:
        c_.shlx(reg32(d), reg32(a), reg32(n));
        break;
      case Shift::Shr:
        c_.shrx(reg32(d), reg32(a), reg32(n));
        break;
      default:
        c_.sarx(reg32(d), reg32(a), reg32(n));
        break;
    }
  }
  ra_.define(index_, d, bits);
}

void Lowering::lower_shl(const Inst& in) { shift(in, Shift::Shl); }
void Lowering::lower_shr(const Inst& in) { shift(in, Shift::Shr); }
void Lowering::lower_sar(const Inst& in) { shift(in, Shift::Sar); }
void Lowering::lower_rol(const Inst& in) { shift(in, Shift::Rol); }
void Lowering::lower_ror(const Inst& in) { shift(in, Shift::Ror); }

// --- bit fields

void Lowering::lower_deposit(const Inst& in) {
  const auto low = static_cast<unsigned>(in.imm & 0xff), width = static_cast<unsigned>(in.imm >> 8 & 0xff);
  const unsigned bits = ir::size_bits(in.type);
  if (width == 0) return ra_.alias(index_, in.args[0]);
  if (width >= bits) return ra_.alias(index_, in.args[1]);
  const unsigned z = std::max(zero_from(in.args[0]), low + width);
  const unsigned result_zero = in.type == Type::I64 ? z : std::min(z, in.type == Type::I32 ? 32u : 64u);
  if (width == 8 || width == 16) {
    // A byte or word move merges; one that is not at the bottom is rotated there and back.
    if (low == 0 || (width == 8 && bits >= 32)) {
      const int b = ra_.use(in.args[1]);
      const int d = ra_.use_mutable(in.args[0]);
      const Xbyak::Reg r = reg_op(d, in.type);
      if (low != 0) c_.ror(r, static_cast<int>(low));
      width == 8 ? c_.mov(reg8(d), reg8(b)) : c_.mov(reg16(d), reg16(b));
      if (low != 0) c_.rol(r, static_cast<int>(low));
      return ra_.define(index_, d, low == 0 ? result_zero : bits == 64 ? 64 : 32);
    }
  }
  const uint64_t field = (~uint64_t{0} >> (64 - width)) << low;
  if (ra_.info(in.args[0]).root == ra_.info(in.args[1]).root) ra_.use(in.args[0]);  // both copy it
  const int t = ra_.use_mutable(in.args[1]);
  const int d = ra_.use_mutable(in.args[0]);
  if (in.type == Type::I64) {
    c_.shl(reg64(t), static_cast<int>(64 - width));
    if (64 - width - low != 0) c_.shr(reg64(t), static_cast<int>(64 - width - low));
    const uint64_t keep = ~field;
    if (static_cast<int64_t>(keep) == static_cast<int32_t>(keep)) {
      c_.and_(reg64(d), static_cast<uint32_t>(keep));
    } else {
      const int k = ra_.scratch();
      c_.mov(reg64(k), keep);
      c_.and_(reg64(d), reg64(k));
    }
    c_.or_(reg64(d), reg64(t));
  } else {
    c_.shl(reg32(t), static_cast<int>(32 - width));
    if (32 - width - low != 0) c_.shr(reg32(t), static_cast<int>(32 - width - low));
    c_.and_(reg32(d), static_cast<uint32_t>(~field));
    c_.or_(reg32(d), reg32(t));
  }
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::lower_extract(const Inst& in) {
  const auto low = static_cast<unsigned>(in.imm & 0xff), width = static_cast<unsigned>(in.imm >> 8 & 0xff);
  const unsigned bits = ir::size_bits(in.type);
  if (low == 0 && width >= bits) return ra_.alias(index_, in.args[0]);
  if (low == 0 && (width == 8 || width == 16 || width == 32)) {
    const int r = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    extend(d, r, ir::int_of_bytes(width / 8), false);
    return ra_.define(index_, d, width);
  }
  if (low == 8 && width == 8 && ra_.reg_of(in.args[0]) >= 0 && ra_.reg_of(in.args[0]) < 4) {
    const int r = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    if (d < 8) {  // ah, ch, dh, bh exclude a REX prefix
      c_.movzx(reg32(d), Xbyak::Reg8(r + 4));
    } else {
      c_.mov(reg32(d), reg32(r));
      c_.shr(reg32(d), 8);
      c_.movzx(reg32(d), reg8(d));
    }
    return ra_.define(index_, d, 8);
  }
  const int d = ra_.use_mutable(in.args[0]);
  const unsigned op_bits = in.type == Type::I64 ? 64 : 32;
  const Xbyak::Reg r = reg_op(d, in.type);
  if (width < 32 && low + width < op_bits) {
    if (low != 0) c_.shr(r, static_cast<int>(low));
    c_.and_(reg32(d), (1u << width) - 1);
  } else {
    if (op_bits - low - width != 0) c_.shl(r, static_cast<int>(op_bits - low - width));
    if (op_bits != width) c_.shr(r, static_cast<int>(op_bits - width));
  }
  ra_.define(index_, d, width);
}

}  // namespace panda::x64
