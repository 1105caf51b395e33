// SDM vol. 2: the instructions that move or set EFLAGS bits.
#include "guest/x86/integer_helpers.h"
#include "guest/x86/translate_control.h"
#include "guest/x86/virtual_interrupts.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Op;

namespace {

constexpr uint32_t kEflags = offsetof(State, eflags);

// PUSHF and POPF in virtual-8086 mode below IOPL 3: the virtual interrupt flag, or #GP.
bool below_iopl_in_vm86(const InsnContext& x) { return x.mode(kModeVm) && x.mode(kModeIoplSens); }
bool has_virtual_flags(const InsnContext& x) { return x.mode(kModeVirtualIf) && x.operand_type() == Type::I16; }

bool lahf_missing(const InsnContext& x) { return x.is64() && !x.has(Feature::Lahf); }

}  // namespace

InsnEnd translate_pushf(InsnContext& x) {
  const bool virtual_flags = below_iopl_in_vm86(x);
  if (virtual_flags && !has_virtual_flags(x)) {
    x.raise(kGP, uint16_t{0});
    return InsnEnd::Closed;
  }
  ir::Builder& b = x.b;
  const Value system = b.and_(b.trunc(Type::I32, x.word(kEflags)), b.i32(~(kRF | kVM | kArithmeticFlags | kDF_)));
  const Value direction = b.and_(b.get(Type::I32, offsetof(State, df)), b.i32(kDF_));  // 1 or -1
  Value image = b.or_(b.or_(system, b.i32(2)), b.or_(direction, x.get_eflags_arith()));
  if (virtual_flags) {  // IOPL 3, and VIF as IF
    const Value vif = b.and_(b.shift(Op::shr, image, b.i8(10)), b.i32(kIF));
    image = b.or_(b.or_(b.and_(image, b.i32(~kIF)), b.i32(kIOPL)), vif);
  }
  const Type type = x.operand_type();
  x.push(type == Type::I16 ? b.trunc(type, image) : b.zext(type, image));
  return InsnEnd::Next;
}

InsnEnd translate_popf(InsnContext& x) {
  const Type type = x.operand_type();
  if (below_iopl_in_vm86(x)) {
    if (!has_virtual_flags(x)) {
      x.raise(kGP, uint16_t{0});
      return InsnEnd::Closed;
    }
    const Value sp = x.stack_pointer();
    const Value popped = x.b.zext(Type::I32, x.load_stack(sp, type));
    const Value new_sp = x.b.zext(Type::I64, x.b.add(sp, x.b.konst(sp.type, 2)));
    x.call(kHelperVirtualPopf, {popped, new_sp, x.b.i64(x.next_pc())});
    x.known = {};
    return InsnEnd::Next;
  }
  const Value v = x.b.zext(Type::I64, x.pop(type));
  x.call(kHelperPopf, {v, x.b.i32(ir::size_bytes(type)), x.b.i64(x.next_pc())});
  x.known = {};
  return InsnEnd::Next;
}

InsnEnd translate_lahf(InsnContext& x) {
  if (lahf_missing(x)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  const Value flags = x.b.or_(x.b.and_(x.get_eflags_arith(), x.b.i32(0xd5)), x.b.i32(2));
  x.set_reg(ZYDIS_REGISTER_AH, x.b.trunc(Type::I8, flags));
  return InsnEnd::Next;
}

InsnEnd translate_sahf(InsnContext& x) {
  if (lahf_missing(x)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  ir::Builder& b = x.b;
  const Value given = b.and_(b.zext(Type::I32, x.reg(ZYDIS_REGISTER_AH)), b.i32(0xd5));
  x.set_cc_flags(b.or_(b.and_(x.get_eflags_arith(), b.i32(kOF_)), given));
  return InsnEnd::Next;
}

InsnEnd translate_carry_flag(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value old = x.get_eflags_arith();
  switch (x.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLC:
      x.set_cc_flags(b.and_(old, b.i32(kArithmeticFlags & ~kCF)));
      break;
    case ZYDIS_MNEMONIC_STC:
      x.set_cc_flags(b.or_(old, b.i32(kCF)));
      break;
    default:
      x.set_cc_flags(b.xor_(old, b.i32(kCF)));
      break;
  }
  return InsnEnd::Next;
}

InsnEnd translate_direction_flag(InsnContext& x) {
  const bool up = x.insn.mnemonic == ZYDIS_MNEMONIC_CLD;
  x.b.set(offsetof(State, df), x.b.i32(up ? 1 : 0xffff'ffff));
  return InsnEnd::Next;
}

InsnEnd translate_cli(InsnContext& x) {
  if (x.mode(kModeVirtualIf)) {
    const Value flags = x.word(kEflags);
    x.b.set(kEflags, x.b.and_(flags, x.b.konst(flags.type, ~uint64_t{kVIF} & ir::mask_of(flags.type))));
    return InsnEnd::Next;
  }
  if (x.mode(kModeIoplSens)) {
    x.raise(kGP, uint16_t{0});
    return InsnEnd::Closed;
  }
  const Value old = x.word(kEflags);
  x.b.set(kEflags, x.b.and_(old, x.b.konst(old.type, ~uint64_t{kIF} & ir::mask_of(old.type))));
  return InsnEnd::Next;
}

InsnEnd translate_sti(InsnContext& x) {
  if (x.mode(kModeVirtualIf)) {
    x.call(kHelperVirtualSti);
    return InsnEnd::Next;
  }
  if (x.mode(kModeIoplSens)) {
    x.raise(kGP, uint16_t{0});
    return InsnEnd::Closed;
  }
  // The helper leaves the unit where interrupts were off: the shadow lasts for one instruction.
  x.call(kHelperSti, {x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

}  // namespace panda::x86
