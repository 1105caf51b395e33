// Backward in each block: the slots that are surely overwritten before anything can see them. What
// may leave the unit sees them all: a fault's exact state is the slots as of that op.
#include "ir/opt/passes.h"

namespace panda::ir::opt {
namespace {

void seen(Scratch& scratch, const StateRange& read) {
  for (const uint32_t offset : scratch.slot_list) {
    Scratch::Slot& slot = scratch.slots[offset];
    if (read.touches(offset, size_bytes(slot.type))) slot.type = Type::Void;
  }
}

// The slot's type is Void unless it will be overwritten.
bool visit(const Inst& in, Scratch& scratch) {
  switch (info(in.op).effects) {
    case Effects::WriteState: {
      Scratch::Slot& slot = scratch.slot(in.imm);
      if (slot.type == in.type) return true;
      slot.type = in.type;
      return false;
    }
    case Effects::ReadState:
      if (in.op == Op::get && scratch.has_slot(in.imm)) scratch.slot(in.imm).type = Type::Void;
      return false;
    case Effects::Load:
    case Effects::Store:
      scratch.begin_block();
      return false;
    case Effects::Call: {
      const auto& helper = *reinterpret_cast<const HelperDesc*>(in.imm);
      if (helper.may_exit)
        scratch.begin_block();
      else
        seen(scratch, helper.reads);
      return false;
    }
    case Effects::Mark:
      if (in.op == Op::count) scratch.begin_block();
      return false;
    case Effects::SideExit:
    case Effects::End:
      scratch.begin_block();
      return false;
    case Effects::Pure:
    case Effects::FpState:
      return false;
  }
  return false;
}

}  // namespace

void remove_dead_sets(Unit& unit, Scratch& scratch) {
  scratch.flags.assign(unit.insts.size(), 0);
  bool any = false;
  for (const Block& block : unit.blocks) {
    scratch.begin_block();
    for (uint32_t i = block.first + block.count; i-- > block.first;) {
      if (!visit(unit.insts[i], scratch)) continue;
      scratch.flags[i] = 1;
      any = true;
    }
  }
  if (any) remove_flagged(unit, scratch);
}

}  // namespace panda::ir::opt
