// SDM vol. 2: near control transfer, and the table of the control chapter (with the stack and
// flag instructions of translate_stack.cpp and translate_flags.cpp).
#include "guest/x86/translate_control.h"

#include "guest/x86/integer_helpers.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Cond;

namespace {

InsnEnd translate_jcc(InsnContext& x) {
  const unsigned cc = condition_code(x);
  const uint64_t target = x.relative_target(x.ops[0]);
  // The positive condition, with the exits swapped for the negative ones: the compare then feeds
  // the branch directly.
  const Value c = x.condition(cc & ~1u);
  const bool inverted = (cc & 1) != 0;
  if (x.mode(kModeCsLimit)) {
    const Value one = x.b.konst(Type::I1, 1);
    x.check_target(target, inverted ? x.b.xor_(c, one) : c);
  }
  return inverted ? x.branch_unless(c, target) : x.branch(c, target);
}

InsnEnd translate_jcxz(InsnContext& x) {
  const Value count = x.reg(R_ECX, x.address_type());
  const Value c = x.b.icmp(Cond::Eq, count, x.b.konst(count.type, 0));
  const uint64_t target = x.relative_target(x.ops[0]);
  x.check_target(target, c);
  return x.branch(c, target);
}

InsnEnd translate_loop(InsnContext& x) {
  ir::Builder& b = x.b;
  const Type type = x.address_type();
  const Value count = b.sub(x.reg(R_ECX, type), b.konst(type, 1));
  Value c = b.icmp(Cond::Ne, count, b.konst(type, 0));
  if (x.insn.mnemonic == ZYDIS_MNEMONIC_LOOPE) c = b.and_(c, x.condition(4));
  if (x.insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE) c = b.and_(c, x.condition(5));
  const uint64_t target = x.relative_target(x.ops[0]);
  x.check_target(target, c);
  x.set_reg(R_ECX, count);
  return x.branch(c, target);
}

// A target read from a register or memory, at the operand size: what EIP becomes.
Value indirect_target(InsnContext& x) { return x.b.zext(Type::I64, x.read(x.ops[0])); }

bool is_relative(const InsnContext& x) { return x.ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }

InsnEnd translate_jmp(InsnContext& x) {
  if (is_relative(x)) return x.jump(x.relative_target(x.ops[0]));
  return x.jump(indirect_target(x));
}

InsnEnd translate_call(InsnContext& x) {
  const Type type = x.operand_type();
  const Value return_pc = x.b.konst(type, x.next_pc() & ir::mask_of(type));
  if (is_relative(x)) {
    const uint64_t target = x.relative_target(x.ops[0]);
    x.check_target(target);
    x.push(return_pc);
    return x.jump_checked(target);
  }
  const Value target = indirect_target(x);
  x.check_target(target);
  x.push(return_pc);
  return x.jump_checked(target);
}

InsnEnd translate_ret(InsnContext& x) {
  ir::Builder& b = x.b;
  const Type type = x.operand_type();
  const Value sp = x.stack_pointer();
  const Value target = b.zext(Type::I64, x.load_stack(sp, type));
  x.check_target(target);
  uint64_t released = ir::size_bytes(type);
  if (x.insn.operand_count_visible != 0) released += x.ops[0].imm.value.u & 0xffff;
  x.set_stack_pointer(b.add(sp, b.konst(sp.type, released & ir::mask_of(sp.type))));
  return x.jump_checked(target);
}

// ---- software interrupts

InsnEnd software_interrupt(InsnContext& x, uint8_t vector) {
  x.call(kHelperSoftwareInt, {x.b.i32(vector), x.b.i64(x.next_pc())});
  x.b.exit_dispatch();  // redirected in virtual-8086 mode: the helper has set the pc
  return InsnEnd::Closed;
}

InsnEnd translate_int(InsnContext& x) { return software_interrupt(x, static_cast<uint8_t>(x.ops[0].imm.value.u)); }
InsnEnd translate_int3(InsnContext& x) {
  x.call(kHelperInt3, {x.b.i64(x.next_pc())});
  x.b.exit_dispatch();  // not reached
  return InsnEnd::Closed;
}
InsnEnd translate_int1(InsnContext& x) {
  x.call(kHelperInt1, {x.b.i64(x.next_pc())});
  x.b.exit_dispatch();  // not reached
  return InsnEnd::Closed;
}

InsnEnd translate_into(InsnContext& x) {
  x.call(kHelperInto, {x.condition(0), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

InsnEnd translate_bound(InsnContext& x) {
  ir::Builder& b = x.b;
  const Value index = x.reg(x.ops[0].reg.value);
  const unsigned bytes = ir::size_bytes(index.type);
  // Both bounds by one checked address; the second follows the first.
  const Memory low_at = x.address(x.ops[1], 2 * bytes, false);
  const Value low = x.load(low_at, index.type);
  const Memory high_at{b.and_(b.add(low_at.linear, b.i64(bytes)), b.i64(0xffff'ffff))};
  const Value high = x.load(high_at, index.type);
  x.raise_if(b.or_(b.icmp(Cond::Slt, index, low), b.icmp(Cond::Sgt, index, high)), kBR);
  return InsnEnd::Next;
}

#define ROW(name, fn) \
  Row { ZYDIS_MNEMONIC_##name, fn }
constexpr Row kRows[] = {
    ROW(JO, translate_jcc),
    ROW(JNO, translate_jcc),
    ROW(JB, translate_jcc),
    ROW(JNB, translate_jcc),
    ROW(JZ, translate_jcc),
    ROW(JNZ, translate_jcc),
    ROW(JBE, translate_jcc),
    ROW(JNBE, translate_jcc),
    ROW(JS, translate_jcc),
    ROW(JNS, translate_jcc),
    ROW(JP, translate_jcc),
    ROW(JNP, translate_jcc),
    ROW(JL, translate_jcc),
    ROW(JNL, translate_jcc),
    ROW(JLE, translate_jcc),
    ROW(JNLE, translate_jcc),
    ROW(JCXZ, translate_jcxz),
    ROW(JECXZ, translate_jcxz),
    ROW(JRCXZ, translate_jcxz),
    ROW(LOOP, translate_loop),
    ROW(LOOPE, translate_loop),
    ROW(LOOPNE, translate_loop),
    ROW(JMP, translate_jmp),
    ROW(CALL, translate_call),
    ROW(RET, translate_ret),
    ROW(INT, translate_int),
    ROW(INT3, translate_int3),
    ROW(INT1, translate_int1),
    ROW(INTO, translate_into),
    ROW(BOUND, translate_bound),
    // the stack
    ROW(PUSH, translate_push),
    ROW(POP, translate_pop),
    ROW(PUSHA, translate_pusha),
    ROW(PUSHAD, translate_pusha),
    ROW(POPA, translate_popa),
    ROW(POPAD, translate_popa),
    ROW(ENTER, translate_enter),
    ROW(LEAVE, translate_leave),
    // flags
    ROW(PUSHF, translate_pushf),
    ROW(PUSHFD, translate_pushf),
    ROW(PUSHFQ, translate_pushf),
    ROW(POPF, translate_popf),
    ROW(POPFD, translate_popf),
    ROW(POPFQ, translate_popf),
    ROW(LAHF, translate_lahf),
    ROW(SAHF, translate_sahf),
    ROW(CLC, translate_carry_flag),
    ROW(STC, translate_carry_flag),
    ROW(CMC, translate_carry_flag),
    ROW(CLD, translate_direction_flag),
    ROW(STD, translate_direction_flag),
    ROW(CLI, translate_cli),
    ROW(STI, translate_sti),
};

}  // namespace

std::span<const Row> control_rows() { return kRows; }

}  // namespace panda::x86
