// Backward in each block. Float ops stay even where unused: they add to the sticky flags.
#include "ir/opt/passes.h"

namespace panda::ir::opt {
namespace {

bool removable(const Inst& in) {
  switch (info(in.op).effects) {
    case Effects::Pure:
    case Effects::ReadState:
      return true;
    case Effects::Call: {
      const auto& helper = *reinterpret_cast<const HelperDesc*>(in.imm);
      return helper.pure && !helper.may_exit;
    }
    default:
      return false;
  }
}

}  // namespace

void remove_dead_values(Unit& unit, Scratch& scratch) {
  auto& dead = scratch.flags;
  dead.assign(unit.insts.size(), 1);
  bool any = false;
  for (const Block& block : unit.blocks) {
    for (uint32_t i = block.first + block.count; i-- > block.first;) {
      const Inst& in = unit.insts[i];
      if (dead[i] != 0 && removable(in)) {
        any = true;
        continue;
      }
      dead[i] = 0;
      for (unsigned k = 0; k < in.nargs; k++) dead[in.args[k]] = 0;
    }
  }
  if (any) remove_flagged(unit, scratch);
}

}  // namespace panda::ir::opt
