#include "guest/x86/insn_context.h"

#include "base/check.h"
#include "guest/x86/decoder.h"

namespace panda::x86 {

InsnContext::InsnContext(ir::Builder& builder, const ZydisDecodedInstruction& decoded,
                         const ZydisDecodedOperand* operands, const exec::InsnRequest& req, Layout lay,
                         FlagsKnown& flags_known, uint64_t feature_bits)
    : b(builder), insn(decoded), ops(operands), request(req), layout(lay), known(flags_known), features(feature_bits) {}

uint64_t InsnContext::pc() const {
  const uint64_t pc = request.pc - request.pc_base;
  return is64() ? pc : pc & 0xffff'ffff;
}

uint64_t InsnContext::next_pc() const {
  const uint64_t pc = request.pc - request.pc_base + insn.length;
  return is64() ? pc : pc & 0xffff'ffff;
}

Type InsnContext::stack_type() const {
  if (is64()) return Type::I64;
  return mode(kModeSs32) ? Type::I32 : Type::I16;
}

// ---- registers

Value InsnContext::reg(unsigned number, Type type) { return b.trunc(type, b.get(layout.word(), layout.reg(number))); }

Value InsnContext::reg_high(unsigned number) {
  return b.trunc(Type::I8, b.extract(b.get(layout.word(), layout.reg(number)), 8, 8));
}

void InsnContext::set_reg(unsigned number, Value v) {
  const Type word = layout.word();
  const uint32_t slot = layout.reg(number);
  if (v.type == word) {
    b.set(slot, v);
  } else if (v.type == Type::I32) {
    b.set(slot, b.zext(word, v));
  } else {
    b.set(slot, b.deposit(b.get(word, slot), b.zext(word, v), 0, ir::size_bits(v.type)));
  }
}

void InsnContext::set_reg_high(unsigned number, Value v) {
  const Type word = layout.word();
  const uint32_t slot = layout.reg(number);
  b.set(slot, b.deposit(b.get(word, slot), b.zext(word, v), 8, 8));
}

Value InsnContext::reg(ZydisRegister r) {
  const GeneralRegister g = general_register(r);
  return g.high ? reg_high(g.number) : reg(g.number, ir::int_of_bytes(g.bytes));
}

void InsnContext::set_reg(ZydisRegister r, Value v) {
  const GeneralRegister g = general_register(r);
  PANDA_CHECK(ir::size_bytes(v.type) == g.bytes);
  if (g.high) {
    set_reg_high(g.number, v);
  } else {
    set_reg(g.number, v);
  }
}

// ---- operands

Value InsnContext::read(const ZydisDecodedOperand& op) {
  switch (op.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      return reg(op.reg.value);
    case ZYDIS_OPERAND_TYPE_MEMORY:
      return load(address(op), type_of(op));
    case ZYDIS_OPERAND_TYPE_IMMEDIATE: {
      const Type type = type_of(op);
      return b.konst(type, op.imm.value.u & ir::mask_of(type));
    }
    default:
      break;
  }
  PANDA_CHECK(!"operand kind");
  return {};
}

Value InsnContext::read_as(const ZydisDecodedOperand& op, Type type) {
  if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return b.konst(type, op.imm.value.u & ir::mask_of(type));
  return read(op);
}

void InsnContext::write(const ZydisDecodedOperand& op, Value v) {
  if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    set_reg(op.reg.value, v);
  } else {
    store(address(op, true), v);
  }
}

// ---- the stack

Value InsnContext::stack_pointer() { return reg(R_ESP, stack_type()); }

void InsnContext::push_at(Value sp, Value v) { store(segment_address(R_SS, sp, ir::size_bytes(v.type), true), v); }

Value InsnContext::load_stack(Value sp, Type type) {
  return load(segment_address(R_SS, sp, ir::size_bytes(type), false), type);
}

void InsnContext::push(Value v) {
  const Type type = stack_type();
  const Value sp = b.sub(stack_pointer(), b.konst(type, ir::size_bytes(v.type)));
  push_at(sp, v);
  set_stack_pointer(sp);
}

Value InsnContext::pop(Type type) {
  const Value sp = stack_pointer();
  const Value v = load_stack(sp, type);
  set_stack_pointer(b.add(sp, b.konst(sp.type, ir::size_bytes(type))));
  return v;
}

}  // namespace panda::x86
