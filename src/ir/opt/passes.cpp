#include "ir/opt/passes.h"

#include <cstdio>

#include "base/check.h"
#include "ir/verifier.h"

namespace panda::ir::opt {
namespace {

constexpr Pass kPasses[] = {
    {"forward-slots", forward_slots},           {"fold-constants", fold_constants},
    {"simplify-branches", simplify_branches},   {"remove-dead-sets", remove_dead_sets},
    {"remove-dead-values", remove_dead_values},
};

}  // namespace

void Scratch::begin_block() {
  stamp++;
  slot_list.clear();
}

Scratch::Slot& Scratch::slot(uint64_t offset) {
  if (offset >= slots.size()) slots.resize(offset + 1);
  Slot& s = slots[offset];
  if (s.stamp != stamp) {
    s = {stamp, Type::Void, kNoValue};
    slot_list.push_back(static_cast<uint32_t>(offset));
  }
  return s;
}

void remove_flagged(Unit& unit, Scratch& scratch) {
  const size_t n = unit.insts.size();
  auto& position = scratch.position;
  position.resize(n + 1);
  uint32_t kept = 0;
  for (size_t i = 0; i < n; i++) {
    position[i] = kept;
    if (scratch.flags[i] != 0) continue;
    Inst inst = unit.insts[i];
    for (unsigned k = 0; k < inst.nargs; k++) inst.args[k] = position[inst.args[k]];
    unit.insts[kept++] = inst;
  }
  position[n] = kept;
  unit.insts.resize(kept);
  for (Block& block : unit.blocks) {
    const uint32_t end = position[block.first + block.count];
    block.first = position[block.first];
    block.count = end - block.first;
  }
}

std::span<const Pass> passes() { return kPasses; }

void Optimizer::run(Unit& unit) {
  for (const Pass& pass : kPasses) {
    pass.run(unit, scratch_);
    if (!verify_) continue;
    if (const Status status = verify(unit); !status) {
      std::fprintf(stderr, "panda: after %s: %s\n", pass.name.data(), status.error().message.c_str());
      PANDA_CHECK(status.has_value());
    }
  }
}

}  // namespace panda::ir::opt
