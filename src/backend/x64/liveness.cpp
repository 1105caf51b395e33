#include "backend/x64/liveness.h"

#include <algorithm>

#include "base/check.h"

namespace panda::x64 {

using ir::Inst;
using ir::Op;
using ir::Type;

uint16_t SlotMap::number(uint64_t offset) {
  if (offset >= number_of_.size()) {
    PANDA_CHECK(offset < kNoSlot);
    number_of_.resize(std::max<size_t>(offset + 1, 8192), kNoSlot);
  }
  uint16_t& n = number_of_[offset];
  if (n == kNoSlot) {
    n = static_cast<uint16_t>(offsets_.size());
    offsets_.push_back(static_cast<uint16_t>(offset));
  }
  return n;
}

void SlotMap::clear() {
  for (uint16_t o : offsets_) number_of_[o] = kNoSlot;
  offsets_.clear();
}

namespace {

bool is_zero(const ir::Unit& unit, ir::ValueId v) { return unit.insts[v].op == Op::konst && unit.insts[v].imm == 0; }

// May this op, which has one use, be left to its user? Returns the position where its operands are
// then needed, or 0.
uint32_t deferred_until(const ir::Unit& unit, const Inst& in, uint32_t index, const std::vector<ValueInfo>& values) {
  const ValueInfo& v = values[index];
  if (v.uses != 1) return 0;
  const Inst& user = unit.insts[v.user];
  const bool conditional = (user.op == Op::brc || user.op == Op::select) && user.args[0] == index;
  if (in.op == Op::icmp || (in.op == Op::trunc && in.type == Type::I1)) return conditional ? v.last_use : 0;
  // x & y compared with zero: TEST.
  if (in.op == Op::and_ && in.type != Type::I1 && user.op == Op::icmp && user.args[0] == index &&
      is_zero(unit, user.args[1]) && user.imm <= static_cast<uint64_t>(ir::Cond::Ne)) {
    return v.last_use;
  }
  return 0;
}

}  // namespace

void Liveness::run(const ir::Unit& unit, const ir::Block& block, SlotMap& slots, std::vector<ValueInfo>& values) {
  std::fill(next_is_get_.begin(), next_is_get_.end(), uint8_t{0});
  uint32_t next_call = ~uint32_t{0};
  for (uint32_t i = block.first + block.count; i-- > block.first;) {
    const Inst& in = unit.insts[i];
    ValueInfo& v = values[i];
    v.root = i;
    v.is_xmm = ir::is_float(in.type) || ir::is_vector(in.type);
    v.crosses_call = next_call < v.last_use;
    uint32_t position = i;
    const ir::Effects effects = ir::info(in.op).effects;
    if (v.uses == 0) {
      const bool pure_call = in.op == Op::call && reinterpret_cast<const ir::HelperDesc*>(in.imm)->pure;
      if (effects == ir::Effects::Pure || in.op == Op::get || in.op == Op::insn_count || pure_call) {
        v.dead = true;
        continue;
      }
    }
    if (in.op == Op::konst) continue;
    if (in.op == Op::get || in.op == Op::set) {
      const uint16_t slot = slots.number(in.imm);
      if (slot >= next_is_get_.size()) next_is_get_.resize(slot + 64u, 0);
      v.read_again = next_is_get_[slot] != 0;
      next_is_get_[slot] = in.op == Op::get;
      if (in.op == Op::get) continue;
    } else if (in.op == Op::call) {
      next_call = i;
    } else if (const uint32_t until = deferred_until(unit, in, i, values); until != 0) {
      v.deferred = true;
      position = until;
    }
    for (unsigned a = 0; a < in.nargs; a++) {
      ValueInfo& arg = values[in.args[a]];
      arg.uses++;
      arg.user = i;
      arg.last_use = std::max(arg.last_use, position);
    }
  }
}

}  // namespace panda::x64
