// SDM vol. 2: moves, exchanges, extensions, LEA, SETcc, CMOVcc.
#include "guest/x86/decoder.h"
#include "guest/x86/translate_integer.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Cond;
using ir::Op;

InsnEnd translate_mov(InsnContext& x) {
  x.write(x.ops[0], x.read_as(x.ops[1], x.type_of(x.ops[0])));
  return InsnEnd::Next;
}

InsnEnd translate_movzx(InsnContext& x) {
  x.set_reg(x.ops[0].reg.value, x.b.zext(x.type_of(x.ops[0]), x.read(x.ops[1])));
  return InsnEnd::Next;
}

InsnEnd translate_movsx(InsnContext& x) {
  const Type type = x.type_of(x.ops[0]);
  const Value v = x.read(x.ops[1]);
  // MOVSXD with a 16-bit destination moves as it is.
  x.set_reg(x.ops[0].reg.value, ir::size_bytes(v.type) > ir::size_bytes(type) ? x.b.trunc(type, v) : x.b.sext(type, v));
  return InsnEnd::Next;
}

InsnEnd translate_movbe(InsnContext& x) {
  const Value v = x.read(x.ops[1]);
  x.write(x.ops[0], x.b.unary(Op::bswap, v));
  return InsnEnd::Next;
}

InsnEnd translate_lea(InsnContext& x) {
  const Type type = x.type_of(x.ops[0]);
  const Value v = x.effective_address(x.ops[1]);
  const bool narrower = ir::size_bytes(type) < ir::size_bytes(v.type);
  x.set_reg(x.ops[0].reg.value, narrower ? x.b.trunc(type, v) : x.b.zext(type, v));
  return InsnEnd::Next;
}

InsnEnd translate_xchg(InsnContext& x) {
  const bool first_is_memory = x.ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
  const ZydisDecodedOperand& place = first_is_memory ? x.ops[0] : x.ops[1];
  const ZydisDecodedOperand& other = first_is_memory ? x.ops[1] : x.ops[0];
  Destination d(x, place);
  const Value old = d.read();
  const Value v = x.reg(other.reg.value);
  d.write(v);
  x.set_reg(other.reg.value, old);
  return InsnEnd::Next;
}

InsnEnd translate_xadd(InsnContext& x) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value c = x.reg(x.ops[1].reg.value);
  const Value r = x.b.add(a, c);
  if (d.is_memory()) {
    d.write(r);
    x.set_reg(x.ops[1].reg.value, a);
  } else {  // XADD r, r with one register: the sum remains
    x.set_reg(x.ops[1].reg.value, a);
    d.write(r);
  }
  x.set_cc_add(a, c, r);
  return InsnEnd::Next;
}

// Zydis calls it PAUSE with REX.B too, which makes it XCHG of R8 and leaves REP without a meaning.
InsnEnd translate_pause(InsnContext& x) {
  if (x.insn.raw.rex.B == 0) return InsnEnd::Next;
  const Type type = x.operand_type();
  const Value a = x.reg(R_EAX, type), b = x.reg(R_R8, type);
  x.set_reg(R_EAX, b);
  x.set_reg(R_R8, a);
  return InsnEnd::Next;
}

InsnEnd translate_cmpxchg(InsnContext& x) {
  ir::Builder& b = x.b;
  Destination d(x, x.ops[0]);
  const Value old = d.read();
  const Value accumulator = x.reg(R_EAX, old.type);
  const Value equal = b.icmp(Cond::Eq, accumulator, old);
  const Value v = b.select(equal, x.reg(x.ops[1].reg.value), old);
  if (old.type == Type::I32 && !d.is_memory()) {
    // A register that keeps its value keeps its upper half too.
    const uint32_t slot = x.layout.reg(general_register(x.ops[0].reg.value).number);
    const Type word = x.layout.word();
    b.set(slot, b.select(equal, b.zext(word, v), b.get(word, slot)));
  } else {
    d.write(v);
  }
  // The accumulator changes only where unequal; a 32-bit one then loses its upper half.
  if (old.type == Type::I32) {
    const Type word = x.layout.word();
    x.set_reg(R_EAX, b.select(equal, x.reg(R_EAX, word), b.zext(word, old)));
  } else {
    x.set_reg(R_EAX, b.select(equal, x.reg(R_EAX, old.type), old));
  }
  x.set_cc_sub(accumulator, old, b.sub(accumulator, old));
  return InsnEnd::Next;
}

namespace {
// ZF = equal, the other flags as they were.
void set_zf_only(InsnContext& x, Value equal) {
  ir::Builder& b = x.b;
  const Value kept = b.and_(x.get_eflags_arith(), b.i32(kArithmeticFlags & ~kZF));
  x.set_cc_flags(b.or_(kept, b.shift(Op::shl, b.zext(Type::I32, equal), b.i8(6))));
}
}  // namespace

InsnEnd translate_cmpxchg8b(InsnContext& x) {
  ir::Builder& b = x.b;
  const auto pair = [&](unsigned high, unsigned low) {
    const Value h = b.shift(Op::shl, b.zext(Type::I64, x.reg(high, Type::I32)), b.i8(32));
    return b.or_(h, b.zext(Type::I64, x.reg(low, Type::I32)));
  };
  const Memory m = x.address(x.ops[0], 8, true);
  const Value old = x.load(m, Type::I64, true);
  const Value equal = b.icmp(Cond::Eq, old, pair(R_EDX, R_EAX));
  x.store(m, b.select(equal, pair(R_ECX, R_EBX), old));
  const Type word = x.layout.word();
  const Value low = b.zext(word, b.trunc(Type::I32, old));
  const Value high = b.zext(word, b.trunc(Type::I32, b.shift(Op::shr, old, b.i8(32))));
  x.set_reg(R_EAX, b.select(equal, x.reg(R_EAX, word), low));
  x.set_reg(R_EDX, b.select(equal, x.reg(R_EDX, word), high));
  set_zf_only(x, equal);
  return InsnEnd::Next;
}

InsnEnd translate_cmpxchg16b(InsnContext& x) {
  ir::Builder& b = x.b;
  const Memory low_at = x.address(x.ops[0], 16, true);
  // The alignment check makes the 16 bytes lie in one page: the second half faults like the first.
  const Memory high_at{b.add(low_at.linear, b.i64(8))};
  const auto [low, high] = x.load(low_at, Type::I64, high_at, Type::I64, true, 16);
  const Value equal =
      b.and_(b.icmp(Cond::Eq, low, x.reg(R_EAX, Type::I64)), b.icmp(Cond::Eq, high, x.reg(R_EDX, Type::I64)));
  x.store(low_at, b.select(equal, x.reg(R_EBX, Type::I64), low), high_at,
          b.select(equal, x.reg(R_ECX, Type::I64), high));
  x.set_reg(R_EAX, b.select(equal, x.reg(R_EAX, Type::I64), low));
  x.set_reg(R_EDX, b.select(equal, x.reg(R_EDX, Type::I64), high));
  set_zf_only(x, equal);
  return InsnEnd::Next;
}

InsnEnd translate_xlat(InsnContext& x) {
  const Type type = x.address_type();
  const Value offset = x.b.add(x.reg(R_EBX, type), x.b.zext(type, x.reg(R_EAX, Type::I8)));
  const unsigned seg = segment_register(x.ops[0].mem.segment);
  x.set_reg(ZYDIS_REGISTER_AL, x.load(x.segment_address(seg, offset, 1, false), Type::I8));
  return InsnEnd::Next;
}

// CBW, CWDE, CDQE: the accumulator's lower half, sign-extended.
InsnEnd translate_sign_extend_accumulator(InsnContext& x) {
  const Type type = x.type_of(x.ops[0]);
  x.set_reg(R_EAX, x.b.sext(type, x.reg(R_EAX, ir::int_of_bytes(ir::size_bytes(type) / 2))));
  return InsnEnd::Next;
}

// CWD, CDQ, CQO.
InsnEnd translate_sign_fill_dx(InsnContext& x) {
  const Type type = x.type_of(x.ops[0]);
  x.set_reg(R_EDX, x.b.shift(Op::sar, x.reg(R_EAX, type), x.b.i8(ir::size_bits(type) - 1)));
  return InsnEnd::Next;
}

InsnEnd translate_salc(InsnContext& x) {
  x.set_reg(ZYDIS_REGISTER_AL, x.b.neg(x.b.zext(Type::I8, x.carry())));
  return InsnEnd::Next;
}

InsnEnd translate_setcc(InsnContext& x) {
  x.write(x.ops[0], x.b.zext(Type::I8, x.condition(condition_code(x))));
  return InsnEnd::Next;
}

InsnEnd translate_cmovcc(InsnContext& x) {
  const unsigned cc = condition_code(x);
  const Value v = x.read(x.ops[1]);  // read, and a 32-bit destination's upper half cleared, in either case
  const Value old = x.reg(x.ops[0].reg.value);
  const Value c = x.condition(cc & ~1u);
  x.set_reg(x.ops[0].reg.value, (cc & 1) != 0 ? x.b.select(c, old, v) : x.b.select(c, v, old));
  return InsnEnd::Next;
}

}  // namespace panda::x86
