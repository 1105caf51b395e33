// SDM vol. 2: PUSH, POP, PUSHA, POPA, ENTER, LEAVE. Segment register forms are in the system chapter.
#include "guest/x86/decoder.h"
#include "guest/x86/translate_control.h"

namespace panda::x86 {

using exec::InsnEnd;

InsnEnd translate_push(InsnContext& x) {
  x.push(x.read_as(x.ops[0], x.operand_type()));
  return InsnEnd::Next;
}

InsnEnd translate_pop(InsnContext& x) {
  const Type type = x.operand_type();
  if (x.ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const Value v = x.pop(type);
    x.set_reg(x.ops[0].reg.value, v);  // after SP, so that POP ESP gets the value
    return InsnEnd::Next;
  }
  // The address is computed with SP already past the value.
  const Value sp = x.stack_pointer();
  const Value v = x.load_stack(sp, type);
  x.stack_adjust = ir::size_bytes(type);
  x.store(x.address(x.ops[0], true), v);
  x.set_stack_pointer(x.b.add(sp, x.b.konst(sp.type, ir::size_bytes(type))));
  return InsnEnd::Next;
}

InsnEnd translate_pusha(InsnContext& x) {
  const Type type = x.operand_type();
  const unsigned bytes = ir::size_bytes(type);
  const Value sp = x.stack_pointer();
  for (unsigned i = 0; i < 8; ++i) {
    const uint64_t below = uint64_t{bytes} * (i + 1);
    x.push_at(x.b.sub(sp, x.b.konst(sp.type, below)), x.reg(i, type));
  }
  x.set_stack_pointer(x.b.sub(sp, x.b.konst(sp.type, uint64_t{bytes} * 8)));
  return InsnEnd::Next;
}

InsnEnd translate_popa(InsnContext& x) {
  const Type type = x.operand_type();
  const unsigned bytes = ir::size_bytes(type);
  const Value sp = x.stack_pointer();
  Value v[8];
  for (unsigned i = 0; i < 8; ++i) {  // EDI lies lowest
    if (7 - i == R_ESP) continue;
    v[7 - i] = x.load_stack(x.b.add(sp, x.b.konst(sp.type, uint64_t{bytes} * i)), type);
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (i != R_ESP) x.set_reg(i, v[i]);
  }
  x.set_stack_pointer(x.b.add(sp, x.b.konst(sp.type, uint64_t{bytes} * 8)));
  return InsnEnd::Next;
}

InsnEnd translate_enter(InsnContext& x) {
  ir::Builder& b = x.b;
  const Type type = x.operand_type();
  const Type stack = x.stack_type();
  const unsigned bytes = ir::size_bytes(type);
  const uint64_t allocated = x.ops[0].imm.value.u & 0xffff;
  const unsigned level = x.ops[1].imm.value.u & 31;

  const Value sp = x.stack_pointer();
  unsigned pushed = 1;
  const auto below = [&](Value from, uint64_t n) { return b.sub(from, b.konst(stack, n & ir::mask_of(stack))); };
  const Value frame_sp = below(sp, bytes);
  x.push_at(frame_sp, x.reg(R_EBP, type));
  if (level > 0) {
    const Value bp = x.reg(R_EBP, stack);
    for (unsigned i = 1; i < level; ++i) {
      const Value outer = x.load_stack(below(bp, uint64_t{bytes} * i), type);
      x.push_at(below(sp, uint64_t{bytes} * ++pushed), outer);
    }
    const Value frame = ir::size_bytes(type) > ir::size_bytes(stack) ? b.zext(type, frame_sp) : b.trunc(type, frame_sp);
    x.push_at(below(sp, uint64_t{bytes} * ++pushed), frame);
  }
  // The stack must be writable where it will begin (SDM vol. 2, ENTER).
  const Value final_sp = below(sp, uint64_t{bytes} * pushed + allocated);
  const ir::MemInfo probe = x.mem_info(type, true, 0);  // no access of the instruction: not reported
  (void)b.emit(ir::Op::load, type, {x.segment_address(R_SS, final_sp, bytes, true).linear}, probe.pack());
  // BP takes the frame pointer at the operand size, or the stack's where that is narrower.
  x.set_reg(R_EBP, !x.is64() && ir::size_bytes(type) < ir::size_bytes(stack) ? b.trunc(type, frame_sp) : frame_sp);
  x.set_stack_pointer(final_sp);
  return InsnEnd::Next;
}

InsnEnd translate_leave(InsnContext& x) {
  const Type type = x.operand_type();
  const Value frame = x.reg(R_EBP, x.stack_type());
  const Value outer = x.load_stack(frame, type);
  x.set_stack_pointer(x.b.add(frame, x.b.konst(frame.type, ir::size_bytes(type))));
  x.set_reg(R_EBP, outer);
  return InsnEnd::Next;
}

}  // namespace panda::x86
