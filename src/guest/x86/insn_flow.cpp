// InsnContext: faults, jumps and the ways out of a unit. (In an exact unit the builder makes every
// exit a dispatch.)
#include "base/check.h"
#include "guest/x86/insn_context.h"
#include "guest/x86/integer_helpers.h"

namespace panda::x86 {

void InsnContext::raise(Vector vector, std::optional<uint16_t> error_code) {
  call(kHelperRaise, {b.i32(pack_fault(vector, error_code.has_value(), error_code.value_or(0)))});
  b.exit_dispatch();  // not reached: the helper leaves the unit
}

void InsnContext::raise_if(Value condition, Vector vector, std::optional<uint16_t> error_code) {
  uint64_t constant = 0;
  if (b.is_const(condition, &constant) && constant == 0) return;
  call(kHelperRaiseIf, {condition, b.i32(pack_fault(vector, error_code.has_value(), error_code.value_or(0)))});
}

void InsnContext::set_pc(uint64_t pc) {
  const Type word = layout.word();
  b.set(offsetof(State, eip), b.konst(word, pc & ir::mask_of(word)));
}

exec::InsnEnd InsnContext::end_dispatch() {
  set_pc(next_pc());
  b.exit_dispatch();
  return exec::InsnEnd::Closed;
}

void InsnContext::check_target(Value pc) {
  if (mode(kModeCsLimit)) call(kHelperCheckTarget, {b.zext(Type::I64, pc)});
}

void InsnContext::check_target(uint64_t pc, Value condition) {
  if (!mode(kModeCsLimit)) return;
  Value target = b.i64(pc);
  // A branch not taken must not fault: check 0 instead, which is in every limit.
  if (condition.valid()) target = b.select(condition, target, b.i64(0));
  call(kHelperCheckTarget, {target});
}

exec::InsnEnd InsnContext::jump_checked(uint64_t pc) {
  b.exit_direct(pc);
  return exec::InsnEnd::Closed;
}

exec::InsnEnd InsnContext::jump_checked(Value pc) {
  b.exit_indirect(b.zext(Type::I64, pc));
  return exec::InsnEnd::Closed;
}

exec::InsnEnd InsnContext::jump(uint64_t pc) {
  check_target(pc);
  return jump_checked(pc);
}

exec::InsnEnd InsnContext::jump(Value pc) {
  check_target(pc);
  return jump_checked(pc);
}

exec::InsnEnd InsnContext::branch(Value condition, uint64_t pc) {
  const uint32_t taken = b.new_block();
  const uint32_t not_taken = b.new_block();
  b.brc(condition, taken, not_taken);
  b.begin_block(not_taken);
  jump_checked(next_pc());
  b.begin_block(taken);
  return jump_checked(pc);
}

exec::InsnEnd InsnContext::branch_unless(Value condition, uint64_t pc) {
  const uint32_t not_taken = b.new_block();
  const uint32_t taken = b.new_block();
  b.brc(condition, not_taken, taken);
  b.begin_block(not_taken);
  jump_checked(next_pc());
  b.begin_block(taken);
  return jump_checked(pc);
}

uint64_t InsnContext::relative_target(const ZydisDecodedOperand& op) const {
  const uint64_t target = request.pc - request.pc_base + insn.length + static_cast<uint64_t>(op.imm.value.s);
  if (is64()) return target;
  return target & (insn.operand_width == 16 ? 0xffff : 0xffff'ffff);
}

}  // namespace panda::x86
