#include "backend/x64/loop_chains.h"

#include <algorithm>

namespace panda::x64 {

using ir::Inst;
using ir::Op;

namespace {

constexpr unsigned kMaxLoads = 32;  // looked at in one loop

}  // namespace

// Once through the loop. What depends on the load `source` (kNoValue: on any of sources_), and on the slots that held
// such values at the head, is marked in depends_. True: the source's own address does.
bool LoopChains::pass(const ir::Unit& unit, const ir::Block& loop, uint32_t source) {
  bool comes_back = false;
  for (uint32_t i = loop.first; i < loop.first + loop.count; i++) {
    const Inst& in = unit.insts[i];
    const auto slot = std::ranges::find(slots_, in.imm);
    bool depends = source == ir::kNoValue ? sources_[i] != 0 : i == source;
    if (in.op == Op::get) {
      depends = slot != slots_.end();
    } else if (in.op == Op::set) {
      const bool tainted = depends_[in.args[0]] != 0;
      if (tainted && slot == slots_.end()) slots_.push_back(in.imm);
      if (!tainted && slot != slots_.end()) slots_.erase(slot);
      continue;
    } else if (ir::is_memory(in.op)) {
      const bool address = depends_[in.args[0]] != 0;
      comes_back |= address && i == source;
      if (source == ir::kNoValue) on_chain_[i] = address;
    } else {
      for (unsigned a = 0; a < in.nargs; a++) depends |= depends_[in.args[a]] != 0;
    }
    depends_[i] = depends;
  }
  return comes_back;
}

void LoopChains::run(const ir::Unit& unit, const ir::Block* loop) {
  on_chain_.clear();
  if (loop == nullptr) return;
  sources_.assign(unit.insts.size(), 0);
  unsigned loads = 0;
  bool any = false;
  for (uint32_t i = loop->first; i < loop->first + loop->count && loads < kMaxLoads; i++) {
    if (unit.insts[i].op != Op::load) continue;
    loads++;
    depends_.assign(unit.insts.size(), 0);
    slots_.clear();
    pass(unit, *loop, i);
    if (!pass(unit, *loop, i)) continue;
    sources_[i] = 1;
    any = true;
  }
  if (!any) return;
  on_chain_.assign(unit.insts.size(), 0);
  depends_.assign(unit.insts.size(), 0);
  slots_.clear();
  for (int i = 0; i < 2; i++) pass(unit, *loop, ir::kNoValue);
}

}  // namespace panda::x64
