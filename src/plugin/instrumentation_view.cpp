// The pc and the count that plugins see in the CPU's state: asked, set by C++ code, and set by translated code.
#include <cstring>

#include "plugin/instrumentation.h"

namespace panda::plugin {

uint64_t Instrumentation::field(uint32_t offset) const {
  uint64_t value = 0;
  std::memcpy(&value, static_cast<const uint8_t*>(engine_.cpu().state()) + offset, sizeof(value));
  return value;
}

void Instrumentation::synchronise() {
  set_moment(engine_.frontend().current_key(engine_.cpu()).pc, engine_.count().value);
}

// Whoever calls a plugin has set the fields. Else (a plugin comes or goes between units) the engine knows better.
bool Instrumentation::fields_hold() const {
  return engine_.current_unit() != nullptr || registry_.running() != nullptr;
}

uint64_t Instrumentation::current_pc() const {
  const uint64_t pc = fields_hold() ? field(target_.guest_pc_offset) : engine_.frontend().current_key(engine_.cpu()).pc;
  return pc & target_.address_mask;
}
uint64_t Instrumentation::current_count() const {
  return fields_hold() ? field(target_.instr_count_offset) + count_origin : engine_.count().value;
}

void Instrumentation::emit_pc(ir::Builder& b, uint64_t pc) const {
  if (target_.guest_pc_offset != kNoField) b.set(target_.guest_pc_offset, b.i64(pc & target_.address_mask));
}
void Instrumentation::emit_count(ir::Builder& b, bool after_insn) const {
  if (target_.instr_count_offset == kNoField) return;
  const ir::Value count = b.emit(ir::Op::insn_count, ir::Type::I64, {});
  const uint64_t added = (after_insn ? 1 : 0) - count_origin;
  b.set(target_.instr_count_offset, added != 0 ? b.add(count, b.i64(added)) : count);
}

}  // namespace panda::plugin
