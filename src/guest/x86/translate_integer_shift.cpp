// SDM vol. 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.
//
// The count is masked to 5 bits (6 for 64-bit operands); a masked count of 0 leaves all flags as
// they were. Operands of 8 and 16 bits are shifted as 32-bit values, since a count may exceed
// their width. AF and, for counts other than 1, OF are undefined; ours is what the lazy form gives.
#include "guest/x86/integer_helpers.h"
#include "guest/x86/translate_integer.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Cond;
using ir::Op;

namespace {

// A shift count operand, masked: a constant, or an I8.
struct Count {
  bool constant = false;
  uint64_t n = 0;
  Value v;
};

Count shift_count(InsnContext& x, const ZydisDecodedOperand& op, Type type) {
  const uint64_t mask = type == Type::I64 ? 63 : 31;
  if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return {true, op.imm.value.u & mask, x.b.i8(op.imm.value.u & mask)};
  return {false, 0, x.b.and_(x.reg(op.reg.value), x.b.i8(mask))};
}

// Sets the flags of a shift, or keeps the old ones where a count that is not known turns out 0.
void set_shift_flags(InsnContext& x, uint32_t cc, const Count& count, Value result, Value before_last) {
  if (count.constant) {
    if (count.n != 0) x.set_cc(cc, result, before_last);
    return;
  }
  ir::Builder& b = x.b;
  const Type word = x.layout.word();
  const Value none = b.icmp(Cond::Eq, count.v, b.i8(0));
  const Value old_op = b.get(Type::I32, offsetof(State, cc_op));
  const Value old_dst = b.get(word, offsetof(State, cc_dst));
  const Value old_src = b.get(word, offsetof(State, cc_src));
  x.set_cc(cc, result, before_last);
  const Value new_op = b.i32(*x.known.cc_op);
  b.set(offsetof(State, cc_op), b.select(none, old_op, new_op));
  b.set(offsetof(State, cc_dst), b.select(none, old_dst, b.zext(word, result)));
  b.set(offsetof(State, cc_src), b.select(none, old_src, b.zext(word, before_last)));
  x.known = {};
}

InsnEnd shift(InsnContext& x, Op op, uint32_t cc) {
  ir::Builder& b = x.b;
  Destination d(x, x.ops[0]);
  const Type type = d.type();
  const Count count = shift_count(x, x.ops[1], type);
  const Value a = d.read();
  const Type wide = type == Type::I64 ? Type::I64 : Type::I32;
  const Value v = op == Op::sar ? b.sext(wide, a) : b.zext(wide, a);
  const Value result = b.trunc(type, b.shift(op, v, count.v));
  d.write(result);
  if (count.constant && count.n == 0) return InsnEnd::Next;
  const Value less = count.constant ? b.i8(count.n - 1) : b.sub(count.v, b.i8(1));
  const Value before_last = count.constant && count.n == 1 ? a : b.trunc(type, b.shift(op, v, less));
  set_shift_flags(x, cc, count, result, before_last);
  return InsnEnd::Next;
}

// CF and OF replaced in the other flags; kept where the count is 0.
void set_rotate_flags(InsnContext& x, const Count& count, Value carry, Value overflow) {
  ir::Builder& b = x.b;
  const Value old = x.get_eflags_arith();
  Value now = b.and_(old, b.i32(kArithmeticFlags & ~(kCF | kOF_)));
  now = b.or_(now, b.zext(Type::I32, carry));
  now = b.or_(now, b.shift(Op::shl, b.zext(Type::I32, overflow), b.i8(11)));
  if (!count.constant) now = b.select(b.icmp(Cond::Eq, count.v, b.i8(0)), old, now);
  x.set_cc_flags(now);
}

Value bit_of(ir::Builder& b, Value v, unsigned n) {
  return b.trunc(Type::I1, n == 0 ? v : b.shift(Op::shr, v, b.i8(n)));
}

InsnEnd rotate(InsnContext& x, Op op) {
  ir::Builder& b = x.b;
  Destination d(x, x.ops[0]);
  const Count count = shift_count(x, x.ops[1], d.type());
  const unsigned width = ir::size_bits(d.type());
  const Value a = d.read();
  const Value result = count.constant ? b.shift(op, a, b.i8(count.n % width)) : b.shift(op, a, count.v);
  d.write(result);
  if (count.constant && count.n == 0) return InsnEnd::Next;
  const Value top = bit_of(b, result, width - 1);
  if (op == Op::rol) {
    const Value carry = bit_of(b, result, 0);
    set_rotate_flags(x, count, carry, b.xor_(top, carry));
  } else {
    set_rotate_flags(x, count, top, b.xor_(top, bit_of(b, result, width - 2)));
  }
  return InsnEnd::Next;
}

InsnEnd rotate_through_carry(InsnContext& x, bool left) {
  ir::Builder& b = x.b;
  Destination d(x, x.ops[0]);
  const Type type = d.type();
  const unsigned width = ir::size_bits(type);
  const Count count = shift_count(x, x.ops[1], type);
  const Value a = d.read();
  if (count.constant && count.n == 0) {
    d.write(a);
    return InsnEnd::Next;
  }
  if (count.constant && count.n == 1) {
    const Value carry = b.zext(type, x.carry());
    const Value result = left ? b.or_(b.shift(Op::shl, a, b.i8(1)), carry)
                              : b.or_(b.shift(Op::shr, a, b.i8(1)), b.shift(Op::shl, carry, b.i8(width - 1)));
    const Value out = bit_of(b, a, left ? width - 1 : 0);
    const Value top = bit_of(b, result, width - 1);
    const Value overflow = b.xor_(top, left ? out : bit_of(b, result, width - 2));
    d.write(result);
    set_rotate_flags(x, count, out, overflow);
    return InsnEnd::Next;
  }
  const Value value = b.zext(Type::I64, a);
  const Value packed = b.or_(b.zext(Type::I32, count.v), b.i32(width << 8));
  const Value flags = x.get_eflags_arith();
  const Value result = x.call(left ? kHelperRclValue : kHelperRcrValue, {value, packed, flags});
  const Value new_flags = x.call(left ? kHelperRclFlags : kHelperRcrFlags, {value, packed, flags});
  d.write(b.trunc(type, result));
  x.set_cc_flags(new_flags);
  return InsnEnd::Next;
}

InsnEnd double_shift(InsnContext& x, bool left) {
  ir::Builder& b = x.b;
  Destination d(x, x.ops[0]);
  const Type type = d.type();
  const unsigned width = ir::size_bits(type);
  const Count count = shift_count(x, x.ops[2], type);
  const Value a = d.read();
  const Value fill = x.reg(x.ops[1].reg.value);
  // Shifts by n, where 0 <= n < width unless type is I16.
  const auto shifted = [&](Value n) {
    if (type == Type::I16) {  // counts above 16 are undefined: the destination comes round again, as in hardware
      const Value wide = b.zext(Type::I64, a);
      const Value all =
          b.or_(b.or_(b.shift(Op::shl, wide, b.i8(32)), wide), b.shift(Op::shl, b.zext(Type::I64, fill), b.i8(16)));
      if (left) return b.trunc(type, b.shift(Op::shr, b.shift(Op::shl, all, n), b.i8(32)));
      return b.trunc(type, b.shift(Op::shr, all, n));
    }
    const Value back = b.sub(b.i8(width), n);  // n = 0: a shift by `width` would be one by 0
    const Value main = b.shift(left ? Op::shl : Op::shr, a, n);
    const Value other = b.shift(left ? Op::shr : Op::shl, fill, back);
    const Value joined = b.or_(main, other);
    uint64_t constant = 0;
    if (b.is_const(n, &constant)) return constant == 0 ? a : joined;
    return b.select(b.icmp(Cond::Eq, n, b.i8(0)), a, joined);
  };
  const Value result = shifted(count.v);
  d.write(result);
  if (count.constant && count.n == 0) return InsnEnd::Next;
  const Value before_last = shifted(count.constant ? b.i8(count.n - 1) : b.sub(count.v, b.i8(1)));
  set_shift_flags(x, left ? kCcShl : kCcSar, count, result, before_last);
  return InsnEnd::Next;
}

}  // namespace

InsnEnd translate_shl(InsnContext& x) { return shift(x, Op::shl, kCcShl); }
InsnEnd translate_shr(InsnContext& x) { return shift(x, Op::shr, kCcSar); }
InsnEnd translate_sar(InsnContext& x) { return shift(x, Op::sar, kCcSar); }
InsnEnd translate_rol(InsnContext& x) { return rotate(x, Op::rol); }
InsnEnd translate_ror(InsnContext& x) { return rotate(x, Op::ror); }
InsnEnd translate_rcl(InsnContext& x) { return rotate_through_carry(x, true); }
InsnEnd translate_rcr(InsnContext& x) { return rotate_through_carry(x, false); }
InsnEnd translate_shld(InsnContext& x) { return double_shift(x, true); }
InsnEnd translate_shrd(InsnContext& x) { return double_shift(x, false); }

}  // namespace panda::x86
