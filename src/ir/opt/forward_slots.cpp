// Forward in each block: what each slot holds. Memory accesses leave the slots alone where they go
// on (a fault's changes are seen only after the unit was left), helpers write what they declare.
#include <numeric>

#include "ir/opt/passes.h"

namespace panda::ir::opt {
namespace {

void forget(Scratch& scratch, const StateRange& written) {
  for (const uint32_t offset : scratch.slot_list) {
    Scratch::Slot& slot = scratch.slots[offset];
    if (written.touches(offset, size_bytes(slot.type))) slot.value = kNoValue;
  }
}

}  // namespace

void forward_slots(Unit& unit, Scratch& scratch) {
  auto& replacement = scratch.replacement;
  replacement.resize(unit.insts.size());
  std::iota(replacement.begin(), replacement.end(), ValueId{0});
  scratch.flags.assign(unit.insts.size(), 0);
  bool any = false;
  for (const Block& block : unit.blocks) {
    scratch.begin_block();
    for (uint32_t i = block.first; i < block.first + block.count; i++) {
      Inst& in = unit.insts[i];
      for (unsigned k = 0; k < in.nargs; k++) in.args[k] = replacement[in.args[k]];
      if (in.op == Op::get) {
        Scratch::Slot& slot = scratch.slot(in.imm);
        const bool known = slot.value != kNoValue && slot.type == in.type;
        if (known) replacement[i] = slot.value;
        scratch.flags[i] = known;
        any = any || known;
        slot.type = in.type;
        if (!known) slot.value = i;
      } else if (in.op == Op::set) {
        Scratch::Slot& slot = scratch.slot(in.imm);
        const bool redundant = slot.value == in.args[0] && slot.type == in.type;
        scratch.flags[i] = redundant;
        any = any || redundant;
        slot.type = in.type;
        slot.value = in.args[0];
      } else if (in.op == Op::call) {
        forget(scratch, reinterpret_cast<const HelperDesc*>(in.imm)->writes);
      }
    }
  }
  if (any) remove_flagged(unit, scratch);
}

}  // namespace panda::ir::opt
