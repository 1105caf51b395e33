// SDM vol. 2: MUL, IMUL, DIV, IDIV, and the decimal adjustments.
#include "guest/x86/integer_helpers.h"
#include "guest/x86/translate_integer.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Cond;
using ir::Op;

namespace {

struct Product {
  Value low, high;
};

// The double-width product. Up to 32 bits it is one multiplication at twice the width.
Product multiply(ir::Builder& b, Value a, Value c, bool is_signed) {
  const Type type = a.type;
  if (type == Type::I64) return {b.mul(a, c), b.binary(is_signed ? Op::mulhs : Op::mulhu, a, c)};
  const Type wide = type == Type::I32 ? Type::I64 : Type::I32;
  const Value p = is_signed ? b.mul(b.sext(wide, a), b.sext(wide, c)) : b.mul(b.zext(wide, a), b.zext(wide, c));
  return {b.trunc(type, p), b.trunc(type, b.shift(Op::shr, p, b.i8(ir::size_bits(type))))};
}

// Non-zero where the product does not fit its low half.
Value overflow(ir::Builder& b, const Product& p, bool is_signed) {
  if (!is_signed) return p.high;
  return b.sub(p.high, b.shift(Op::sar, p.low, b.i8(ir::size_bits(p.low.type) - 1)));
}

InsnEnd widening(InsnContext& x, bool is_signed) {
  const Value m = x.read(x.ops[0]);
  const Value a = x.reg(R_EAX, m.type);
  const Product p = multiply(x.b, a, m, is_signed);
  if (m.type == Type::I8) {
    const Value high = x.b.shift(Op::shl, x.b.zext(Type::I16, p.high), x.b.i8(8));
    x.set_reg(R_EAX, x.b.or_(x.b.zext(Type::I16, p.low), high));
  } else {
    x.set_reg(R_EAX, p.low);
    x.set_reg(R_EDX, p.high);
  }
  x.set_cc(kCcMul, p.low, overflow(x.b, p, is_signed));
  return InsnEnd::Next;
}

InsnEnd divide(InsnContext& x, bool is_signed) {
  const Value divisor = x.read(x.ops[0]);
  switch (divisor.type) {
    case Type::I8:
      x.call(is_signed ? kHelperIdiv8 : kHelperDiv8, {divisor});
      break;
    case Type::I16:
      x.call(is_signed ? kHelperIdiv16 : kHelperDiv16, {divisor});
      break;
    case Type::I32:
      x.call(is_signed ? kHelperIdiv32 : kHelperDiv32, {divisor});
      break;
    default:
      x.call(is_signed ? kHelperIdiv64 : kHelperDiv64, {divisor});
      break;
  }
  return InsnEnd::Next;  // the flags are undefined: left as they are
}

}  // namespace

InsnEnd translate_mul(InsnContext& x) { return widening(x, false); }

InsnEnd translate_imul(InsnContext& x) {
  if (x.insn.operand_count_visible == 1) return widening(x, true);
  const Type type = x.type_of(x.ops[0]);
  const bool three = x.insn.operand_count_visible == 3;
  const Value a = three ? x.read(x.ops[1]) : x.reg(x.ops[0].reg.value);
  const Value c = three ? x.read_as(x.ops[2], type) : x.read(x.ops[1]);
  const Product p = multiply(x.b, a, c, true);
  x.set_reg(x.ops[0].reg.value, p.low);
  x.set_cc(kCcMul, p.low, overflow(x.b, p, true));
  return InsnEnd::Next;
}

InsnEnd translate_div(InsnContext& x) { return divide(x, false); }
InsnEnd translate_idiv(InsnContext& x) { return divide(x, true); }

InsnEnd translate_decimal(InsnContext& x) {
  const ir::HelperDesc* helper = &kHelperAas;
  switch (x.insn.mnemonic) {
    case ZYDIS_MNEMONIC_DAA:
      helper = &kHelperDaa;
      break;
    case ZYDIS_MNEMONIC_DAS:
      helper = &kHelperDas;
      break;
    case ZYDIS_MNEMONIC_AAA:
      helper = &kHelperAaa;
      break;
    default:
      break;
  }
  const Value packed = x.call(*helper, {x.reg(R_EAX, Type::I16), x.get_eflags_arith()});
  x.set_reg(R_EAX, x.b.trunc(Type::I16, packed));
  x.set_cc_flags(x.b.shift(Op::shr, packed, x.b.i8(16)));
  return InsnEnd::Next;
}

InsnEnd translate_aam(InsnContext& x) {
  ir::Builder& b = x.b;
  const uint64_t base = x.ops[0].imm.value.u & 0xff;
  if (base == 0) {
    x.raise(kDE);
    return InsnEnd::Closed;
  }
  // al / base by a multiplication: exact for al < 256 and base < 256.
  const Value al = b.zext(Type::I32, x.reg(R_EAX, Type::I8));
  const Value quotient = b.shift(Op::shr, b.mul(al, b.i32((0x10000 + base - 1) / base)), b.i8(16));
  const Value remainder = b.sub(al, b.mul(quotient, b.i32(base)));
  x.set_reg(R_EAX, b.trunc(Type::I16, b.or_(b.shift(Op::shl, quotient, b.i8(8)), remainder)));
  x.set_cc(kCcLogic, b.trunc(Type::I8, remainder));
  return InsnEnd::Next;
}

InsnEnd translate_aad(InsnContext& x) {
  ir::Builder& b = x.b;
  const uint64_t base = x.ops[0].imm.value.u & 0xff;
  const Value al = b.add(x.reg(R_EAX, Type::I8), b.mul(x.reg_high(R_EAX), b.konst(Type::I8, base)));
  x.set_reg(R_EAX, b.zext(Type::I16, al));
  x.set_cc(kCcLogic, al);
  return InsnEnd::Next;
}

}  // namespace panda::x86
