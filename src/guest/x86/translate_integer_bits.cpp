// SDM vol. 2: bit tests and scans, POPCNT, BSWAP, CRC32, BMI1, BMI2, ADX.
#include "guest/x86/integer_helpers.h"
#include "guest/x86/translate_integer.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Cond;
using ir::Op;

namespace {

unsigned log2_of(unsigned n) { return n == 16 ? 4u : n == 32 ? 5u : 6u; }

// CF = the bit; ZF is kept, and so are the others, which the manual leaves undefined.
void set_bit_test_flags(InsnContext& x, Value bit) {
  const auto op = x.known.cc_op;
  if (op && *op != kCcFlags && x.known.result.valid()) {
    // ZF, SF and PF come from the result as before; CF from bit 0 of the source.
    const Value result = x.known.result;
    x.set_cc(kCcSar, result, x.b.zext(result.type, bit));
    return;
  }
  const Value kept = x.b.and_(x.get_eflags_arith(), x.b.i32(kArithmeticFlags & ~kCF));
  x.set_cc_flags(x.b.or_(kept, x.b.zext(Type::I32, bit)));
}

InsnEnd bit_scan(InsnContext& x, bool forward) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  const Value none = b.icmp(Cond::Eq, v, b.konst(v.type, 0));
  const Value index =
      forward ? b.unary(Op::ctz, v) : b.sub(b.konst(v.type, ir::size_bits(v.type) - 1), b.unary(Op::clz, v));
  // A source of 0 leaves the destination as it was, its upper half too.
  const unsigned number = static_cast<unsigned>(ZydisRegisterGetId(x.ops[0].reg.value));
  if (v.type == Type::I16) {
    x.set_reg(number, b.select(none, x.reg(number, Type::I16), index));
  } else {
    const Type word = x.layout.word();
    x.set_reg(number, b.select(none, x.reg(number, word), b.zext(word, index)));
  }
  x.set_cc(kCcLogic, v);
  return InsnEnd::Next;
}

InsnEnd zero_count(InsnContext& x, Op op) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  const Value count = b.unary(op, v);
  const Value zero = b.konst(v.type, 0);
  x.set_reg(x.ops[0].reg.value, count);
  const Value cf = b.zext(Type::I32, b.icmp(Cond::Eq, v, zero));
  const Value zf = b.zext(Type::I32, b.icmp(Cond::Eq, count, zero));
  x.set_cc_flags(b.or_(cf, b.shift(Op::shl, zf, b.i8(6))));
  return InsnEnd::Next;
}

// BMI: SF and ZF from the result, OF = 0, CF as given; AF and PF are undefined.
void set_bmi_flags(InsnContext& x, Value result, Value carry) {
  ir::Builder& b = x.b;
  const Value zero = b.konst(result.type, 0);
  const Value zf = b.shift(Op::shl, b.zext(Type::I32, b.icmp(Cond::Eq, result, zero)), b.i8(6));
  const Value sf = b.shift(Op::shl, b.zext(Type::I32, b.icmp(Cond::Slt, result, zero)), b.i8(7));
  x.set_cc_flags(b.or_(b.or_(zf, sf), b.zext(Type::I32, carry)));
}

}  // namespace

InsnEnd translate_bt(InsnContext& x) {
  ir::Builder& b = x.b;
  const ZydisDecodedOperand& base = x.ops[0];
  const ZydisDecodedOperand& offset = x.ops[1];
  const Type type = x.type_of(base);
  const unsigned width = ir::size_bits(type);
  const bool test_only = x.insn.mnemonic == ZYDIS_MNEMONIC_BT;
  const bool memory = base.type == ZYDIS_OPERAND_TYPE_MEMORY;
  const bool by_register = offset.type == ZYDIS_OPERAND_TYPE_REGISTER;

  const Value position = by_register ? x.reg(offset.reg.value) : b.konst(type, offset.imm.value.u & (width - 1));
  Memory m;
  if (memory) {
    Value effective = x.effective_address(base);
    if (by_register) {  // the offset is signed and reaches beyond the operand
      const Type address = x.address_type();
      Value index = b.shift(Op::sar, position, b.i8(log2_of(width)));
      index = ir::size_bits(address) > width ? b.sext(address, index) : b.trunc(address, index);
      effective = b.add(effective, b.shift(Op::shl, index, b.i8(log2_of(width) - 3)));
    }
    const unsigned seg = base.mem.segment == ZYDIS_REGISTER_NONE
                             ? unsigned{R_DS}
                             : static_cast<unsigned>(base.mem.segment - ZYDIS_REGISTER_ES);
    m = x.segment_address(seg, effective, width / 8, !test_only);
  }
  const Value a = memory ? x.load(m, type, !test_only) : x.reg(base.reg.value);
  const Value count = b.trunc(Type::I8, position);  // shifts take it modulo the width
  const Value bit = b.trunc(Type::I1, b.shift(Op::shr, a, count));
  if (!test_only) {
    const Value mask = b.shift(Op::shl, b.konst(type, 1), count);
    Value r;
    switch (x.insn.mnemonic) {
      case ZYDIS_MNEMONIC_BTS:
        r = b.or_(a, mask);
        break;
      case ZYDIS_MNEMONIC_BTR:
        r = b.and_(a, b.not_(mask));
        break;
      default:
        r = b.xor_(a, mask);
        break;
    }
    if (memory) {
      x.store(m, r);
    } else {
      x.set_reg(base.reg.value, r);
    }
  }
  set_bit_test_flags(x, bit);
  return InsnEnd::Next;
}

InsnEnd translate_bsf(InsnContext& x) { return bit_scan(x, true); }
InsnEnd translate_bsr(InsnContext& x) { return bit_scan(x, false); }
InsnEnd translate_tzcnt(InsnContext& x) { return x.has(Feature::Bmi1) ? zero_count(x, Op::ctz) : bit_scan(x, true); }
InsnEnd translate_lzcnt(InsnContext& x) { return x.has(Feature::Abm) ? zero_count(x, Op::clz) : bit_scan(x, false); }

InsnEnd translate_popcnt(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  x.set_reg(x.ops[0].reg.value, b.unary(Op::popcnt, v));
  const Value zf = b.zext(Type::I32, b.icmp(Cond::Eq, v, b.konst(v.type, 0)));
  x.set_cc_flags(b.shift(Op::shl, zf, b.i8(6)));
  return InsnEnd::Next;
}

InsnEnd translate_bswap(InsnContext& x) {
  const Value v = x.reg(x.ops[0].reg.value);
  // 16 bits: undefined; hardware gives 0.
  x.set_reg(x.ops[0].reg.value, v.type == Type::I16 ? x.b.konst(Type::I16, 0) : x.b.unary(Op::bswap, v));
  return InsnEnd::Next;
}

InsnEnd translate_crc32(InsnContext& x) {
  const Value data = x.read(x.ops[1]);
  const ZydisRegister destination = x.ops[0].reg.value;
  const Value crc = x.b.trunc(Type::I32, x.reg(destination));
  const Value r = x.b.emit(Op::crc32c, Type::I32, {crc, data});
  x.set_reg(destination, x.b.zext(x.type_of(x.ops[0]), r));
  return InsnEnd::Next;
}

InsnEnd translate_andn(InsnContext& x) {
  const Value r = x.b.and_(x.b.not_(x.reg(x.ops[1].reg.value)), x.read(x.ops[2]));
  x.set_reg(x.ops[0].reg.value, r);
  x.set_cc(kCcLogic, r);
  return InsnEnd::Next;
}

InsnEnd translate_bls(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  const Value zero = b.konst(v.type, 0);
  const Value less_one = b.sub(v, b.konst(v.type, 1));
  Value r;
  Value carry = b.icmp(Cond::Eq, v, zero);
  switch (x.insn.mnemonic) {
    case ZYDIS_MNEMONIC_BLSR:
      r = b.and_(v, less_one);
      break;
    case ZYDIS_MNEMONIC_BLSMSK:
      r = b.xor_(v, less_one);
      break;
    default:
      r = b.and_(v, b.neg(v));
      carry = b.icmp(Cond::Ne, v, zero);
      break;
  }
  x.set_reg(x.ops[0].reg.value, r);
  set_bmi_flags(x, r, carry);
  return InsnEnd::Next;
}

InsnEnd translate_bextr(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  const Value control = x.reg(x.ops[2].reg.value);
  const uint64_t width = ir::size_bits(v.type);
  const Value start = b.trunc(Type::I8, control);
  const Value length = b.trunc(Type::I8, b.shift(Op::shr, control, b.i8(8)));
  const Value zero = b.konst(v.type, 0);
  const Value shifted = b.select(b.icmp(Cond::Ult, start, b.i8(width)), b.shift(Op::shr, v, start), zero);
  const Value mask = b.sub(b.shift(Op::shl, b.konst(v.type, 1), length), b.konst(v.type, 1));
  const Value r = b.select(b.icmp(Cond::Ult, length, b.i8(width)), b.and_(shifted, mask), shifted);
  x.set_reg(x.ops[0].reg.value, r);
  set_bmi_flags(x, r, b.konst(Type::I1, 0));
  return InsnEnd::Next;
}

InsnEnd translate_bzhi(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value v = x.read(x.ops[1]);
  const uint64_t width = ir::size_bits(v.type);
  const Value index = b.trunc(Type::I8, x.reg(x.ops[2].reg.value));
  const Value mask = b.sub(b.shift(Op::shl, b.konst(v.type, 1), index), b.konst(v.type, 1));
  const Value inside = b.icmp(Cond::Ult, index, b.i8(width));
  const Value r = b.select(inside, b.and_(v, mask), v);
  x.set_reg(x.ops[0].reg.value, r);
  set_bmi_flags(x, r, b.xor_(inside, b.konst(Type::I1, 1)));
  return InsnEnd::Next;
}

InsnEnd translate_shift_x(InsnContext& x) {
  const Value v = x.read(x.ops[1]);
  const Value count = x.b.trunc(Type::I8, x.reg(x.ops[2].reg.value));
  const Op op = x.insn.mnemonic == ZYDIS_MNEMONIC_SHLX   ? Op::shl
                : x.insn.mnemonic == ZYDIS_MNEMONIC_SHRX ? Op::shr
                                                         : Op::sar;
  x.set_reg(x.ops[0].reg.value, x.b.shift(op, v, count));
  return InsnEnd::Next;
}

InsnEnd translate_rorx(InsnContext& x) {
  const Value v = x.read(x.ops[1]);
  x.set_reg(x.ops[0].reg.value, x.b.shift(Op::ror, v, x.b.i8(x.ops[2].imm.value.u & (ir::size_bits(v.type) - 1))));
  return InsnEnd::Next;
}

InsnEnd translate_mulx(InsnContext& x) {
  const Value v = x.read(x.ops[2]);
  const Value d = x.reg(R_EDX, v.type);
  const Value low = x.b.mul(v, d);
  const Value high = x.b.binary(Op::mulhu, v, d);
  x.set_reg(x.ops[1].reg.value, low);
  x.set_reg(x.ops[0].reg.value, high);  // the high half wins where both are one register
  return InsnEnd::Next;
}

InsnEnd translate_pdep_pext(InsnContext& x) {
  const Value source = x.b.zext(Type::I64, x.reg(x.ops[1].reg.value));
  const Value mask = x.read(x.ops[2]);
  const bool deposit = x.insn.mnemonic == ZYDIS_MNEMONIC_PDEP;
  const Value r = x.call(deposit ? kHelperPdep : kHelperPext, {source, x.b.zext(Type::I64, mask)});
  x.set_reg(x.ops[0].reg.value, x.b.trunc(mask.type, r));
  return InsnEnd::Next;
}

// ADCX: carry in and out by CF alone; ADOX: by OF alone.
InsnEnd translate_adx(InsnContext& x) {
  ir::Builder& b = x.b;
  const unsigned bit = x.insn.mnemonic == ZYDIS_MNEMONIC_ADCX ? 0 : 11;
  const Value source = x.read(x.ops[1]);
  const Value a = x.reg(x.ops[0].reg.value);
  const Value flags = x.get_eflags_arith();
  const Value in = b.trunc(Type::I1, bit == 0 ? flags : b.shift(Op::shr, flags, b.i8(bit)));
  const Value partial = b.add(a, source);
  const Value r = b.add(partial, b.zext(a.type, in));
  const Value out = b.or_(b.icmp(Cond::Ult, partial, a), b.icmp(Cond::Ult, r, partial));
  x.set_reg(x.ops[0].reg.value, r);
  Value moved = b.zext(Type::I32, out);
  if (bit != 0) moved = b.shift(Op::shl, moved, b.i8(bit));
  x.set_cc_flags(b.or_(b.and_(flags, b.i32(kArithmeticFlags & ~(1u << bit))), moved));
  return InsnEnd::Next;
}

}  // namespace panda::x86
