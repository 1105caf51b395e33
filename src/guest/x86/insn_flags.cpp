// InsnContext: the lazy flags. While the flag-setting instruction is in the same block, its SSA
// values are at hand (FlagsKnown) and a condition becomes one compare on them; otherwise a pure
// helper works from the slots.
#include "base/check.h"
#include "guest/x86/insn_context.h"
#include "guest/x86/integer_helpers.h"

namespace panda::x86 {

using ir::Cond;
using ir::Op;

namespace {

uint32_t width_index(Type t) {
  switch (t) {
    case Type::I8:
      return 0;
    case Type::I16:
      return 1;
    case Type::I32:
      return 2;
    default:
      return 3;
  }
}

bool uses_src(uint32_t base) { return base != kCcLogic; }
bool uses_src2(uint32_t base) { return base == kCcAdc || base == kCcSbb; }

class Conditions {
 public:
  Conditions(ir::Builder& builder, const FlagsKnown& known) : b_(builder), k_(known), base_(*known.cc_op & ~3u) {}

  // pair: condition code >> 1. The result may be inverted by the caller.
  Value get(unsigned pair) {
    switch (pair) {
      case 0:
        return overflow();
      case 1:
        return carry();
      case 2:
        return zero();
      case 3:
        return below_or_equal();
      case 4:
        return sign();
      case 5:
        return parity();
      case 6:
        return less();
      default:
        return less_or_equal();
    }
  }

  Value carry() {
    switch (base_) {
      case kCcFlags:
        return bit(0);
      case kCcAdd:
        return b_.icmp(Cond::Ult, r(), k_.src);
      case kCcAdc:
        return b_.select(carry_in(), b_.icmp(Cond::Ule, r(), k_.src), b_.icmp(Cond::Ult, r(), k_.src));
      case kCcSub:
        return b_.icmp(Cond::Ult, first(), k_.src);
      case kCcSbb:
        return b_.select(carry_in(), b_.icmp(Cond::Ule, first(), k_.src), b_.icmp(Cond::Ult, first(), k_.src));
      case kCcLogic:
        return b_.konst(Type::I1, 0);
      case kCcInc:
      case kCcDec:
      case kCcSar:
        return b_.trunc(Type::I1, k_.src);
      case kCcShl:
        return negative(k_.src);
      default:
        return b_.icmp(Cond::Ne, k_.src, zero_of(k_.src));
    }
  }

 private:
  Value r() const { return k_.result; }
  Value zero_of(Value v) { return b_.konst(v.type, 0); }
  Value negative(Value v) { return b_.icmp(Cond::Slt, v, zero_of(v)); }
  Value bit(unsigned n) { return b_.trunc(Type::I1, n == 0 ? k_.src : b_.shift(Op::shr, k_.src, b_.i8(n))); }
  Value carry_in() { return b_.trunc(Type::I1, k_.src2); }
  Value top_bit() { return b_.konst(r().type, uint64_t{1} << (ir::size_bits(r().type) - 1)); }
  // The left operand of the subtraction.
  Value first() {
    if (k_.a.valid()) return k_.a;
    Value sum = b_.add(r(), k_.src);
    if (base_ == kCcSbb) sum = b_.add(sum, k_.src2);
    return sum;
  }

  Value zero() { return base_ == kCcFlags ? bit(6) : equal_zero(); }
  Value equal_zero() {
    if (base_ == kCcSub) return b_.icmp(Cond::Eq, first(), k_.src);
    return b_.icmp(Cond::Eq, r(), zero_of(r()));
  }
  Value sign() { return base_ == kCcFlags ? bit(7) : negative(r()); }
  Value parity() {
    if (base_ == kCcFlags) return bit(2);
    const Value ones = b_.unary(Op::popcnt, b_.zext(Type::I32, b_.trunc(Type::I8, r())));
    return b_.xor_(b_.trunc(Type::I1, ones), b_.konst(Type::I1, 1));
  }
  Value overflow() {
    switch (base_) {
      case kCcFlags:
        return bit(11);
      case kCcLogic:
        return b_.konst(Type::I1, 0);
      case kCcAdd:
      case kCcAdc: {
        Value a = b_.sub(r(), k_.src);
        if (base_ == kCcAdc) a = b_.sub(a, k_.src2);
        return negative(b_.and_(b_.xor_(a, r()), b_.xor_(k_.src, r())));
      }
      case kCcSub:
      case kCcSbb: {
        const Value a = first();
        return negative(b_.and_(b_.xor_(a, k_.src), b_.xor_(a, r())));
      }
      case kCcInc:
        return b_.icmp(Cond::Eq, r(), top_bit());
      case kCcDec:
        return b_.icmp(Cond::Eq, r(), b_.sub(top_bit(), b_.konst(r().type, 1)));
      case kCcShl:
      case kCcSar:
        return negative(b_.xor_(k_.src, r()));
      default:
        return b_.icmp(Cond::Ne, k_.src, zero_of(k_.src));
    }
  }
  Value below_or_equal() {
    if (base_ == kCcFlags) return b_.icmp(Cond::Ne, b_.and_(k_.src, b_.i32(kCF | kZF)), b_.i32(0));
    if (base_ == kCcSub) return b_.icmp(Cond::Ule, first(), k_.src);
    if (base_ == kCcLogic) return equal_zero();
    return b_.or_(carry(), zero());
  }
  Value less() {
    if (base_ == kCcSub) return b_.icmp(Cond::Slt, first(), k_.src);
    if (base_ == kCcLogic) return sign();
    return b_.xor_(sign(), overflow());
  }
  Value less_or_equal() {
    if (base_ == kCcSub) return b_.icmp(Cond::Sle, first(), k_.src);
    if (base_ == kCcLogic) return b_.icmp(Cond::Sle, r(), zero_of(r()));
    return b_.or_(less(), zero());
  }

  ir::Builder& b_;
  const FlagsKnown& k_;
  uint32_t base_;
};

}  // namespace

void InsnContext::set_cc(uint32_t op_base, Value dst, Value src, Value src2) {
  PANDA_CHECK(op_base != kCcFlags);
  const Type word = layout.word();
  const uint32_t op = op_base + width_index(dst.type);
  b.set(offsetof(State, cc_op), b.i32(op));
  b.set(offsetof(State, cc_dst), b.zext(word, dst));
  // What nobody will look at is overwritten all the same: it may be a rotate's, computed by a helper.
  b.set(offsetof(State, cc_src), uses_src(op_base) ? b.zext(word, src) : b.konst(word, 0));
  if (uses_src2(op_base)) b.set(offsetof(State, cc_src2), b.zext(word, src2));
  known = {};
  known.cc_op = op;
  known.result = dst;
  known.src = src;
  known.src2 = src2;
}

void InsnContext::set_cc_sub(Value a, Value bb, Value result) {
  set_cc(kCcSub, result, bb);
  known.a = a;
  known.b = bb;
}

void InsnContext::set_cc_add(Value a, Value bb, Value result) {
  set_cc(kCcAdd, result, bb);
  known.a = a;
  known.b = bb;
}

void InsnContext::set_cc_flags(Value eflags_bits) {
  b.set(offsetof(State, cc_op), b.i32(kCcFlags));
  b.set(offsetof(State, cc_src), b.zext(layout.word(), eflags_bits));
  known = {};
  known.cc_op = kCcFlags;
  known.src = eflags_bits;
}

namespace {
Value cc_slot(InsnContext& x, size_t offset) {
  return x.b.zext(Type::I64, x.b.get(x.layout.word(), static_cast<uint32_t>(offset)));
}
Value from_slots(InsnContext& x, const ir::HelperDesc& helper, Value op) {
  return x.call(helper, {op, cc_slot(x, offsetof(State, cc_dst)), cc_slot(x, offsetof(State, cc_src)),
                         cc_slot(x, offsetof(State, cc_src2))});
}
}  // namespace

Value InsnContext::get_eflags_arith() {
  if (known.cc_op == kCcFlags) return known.src;
  if (known.cc_op && (*known.cc_op & ~3u) == kCcLogic) {
    // CF, OF and AF are clear; the rest comes without a call.
    Conditions c(b, known);
    const auto flag = [&](unsigned pair, unsigned bit) {
      return b.shift(Op::shl, b.zext(Type::I32, c.get(pair)), b.i8(bit));
    };
    return b.or_(b.or_(flag(2, 6), flag(4, 7)), flag(5, 2));
  }
  if (known.cc_op) {
    const auto as64 = [&](Value v) { return v.valid() ? b.zext(Type::I64, v) : b.i64(0); };
    return call(kHelperFlags, {b.i32(*known.cc_op), as64(known.result), as64(known.src), as64(known.src2)});
  }
  return from_slots(*this, kHelperFlags, b.get(Type::I32, offsetof(State, cc_op)));
}

Value InsnContext::condition(unsigned cc) {
  if (known.cc_op) {
    const Value v = Conditions(b, known).get(cc >> 1 & 7);
    return (cc & 1) != 0 ? b.xor_(v, b.konst(Type::I1, 1)) : v;
  }
  const Value op = b.or_(b.get(Type::I32, offsetof(State, cc_op)), b.i32((cc & 15) << 16));
  return from_slots(*this, kHelperCondition, op);
}

Value InsnContext::carry() {
  if (known.cc_op) return Conditions(b, known).carry();
  return from_slots(*this, kHelperCarry, b.get(Type::I32, offsetof(State, cc_op)));
}

}  // namespace panda::x86
