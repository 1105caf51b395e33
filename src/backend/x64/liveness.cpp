#include "backend/x64/liveness.h"

#include <algorithm>

#include "base/check.h"
#include "ir/report_call.h"

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

bool is_scaled_index(const ir::Unit& unit, ir::ValueId v) {
  const Inst& in = unit.insts[v];
  if (in.op != Op::shl || ir::size_bytes(in.type) < 4) return false;
  const Inst& count = unit.insts[in.args[1]];
  return count.op == Op::konst && count.imm >= 1 && count.imm <= 3;
}

namespace {

bool is_zero(const ir::Unit& unit, ir::ValueId v) { return unit.insts[v].op == Op::konst && unit.insts[v].imm == 0; }

// May this op, which has one use, be left to its user? Returns the position where its operands are
// then needed, or 0.
uint32_t deferred_until(const ir::Unit& unit, const Inst& in, uint32_t index, const std::vector<ValueInfo>& values) {
  const ValueInfo& v = values[index];
  if (v.uses != 1 || v.lazy_until != 0) return 0;
  const Inst& user = unit.insts[v.user];
  const bool conditional =
      (user.op == Op::brc || user.op == Op::exit_if || user.op == Op::select) && user.args[0] == index;
  if (in.op == Op::icmp || (in.op == Op::trunc && in.type == Type::I1)) return conditional ? v.last_use : 0;
  // A scaled index added to something: LEA.
  if (is_scaled_index(unit, index) && user.op == Op::add &&
      (user.args[1] == index || !is_scaled_index(unit, user.args[1]))) {
    return v.last_use;
  }
  // x & y compared with zero: TEST.
  if (in.op == Op::and_ && in.type != Type::I1 && user.op == Op::icmp && user.args[0] == index &&
      is_zero(unit, user.args[1]) && user.imm <= static_cast<uint64_t>(ir::Cond::Ne)) {
    return v.last_use;
  }
  return 0;
}

constexpr uint8_t kMaxLazyDepth = 12;

void use_lazily(ValueInfo& v, uint32_t until, uint8_t depth) {
  v.lazy_until = std::max(v.lazy_until, until);
  v.last_use = std::max(v.last_use, until + 1);
  v.lazy_depth = std::max(v.lazy_depth, depth);
}

// Can the slow path compute this op from its operands?
bool can_be_lazy(const ir::Unit& unit, const Inst& in) {
  if (!ir::is_int(in.type)) return false;
  if (in.op == Op::call) {
    if (!reinterpret_cast<const ir::HelperDesc*>(in.imm)->pure) return false;
  } else if (in.op == Op::konst || in.op == Op::mulhu || in.op == Op::mulhs || in.op == Op::crc32c ||
             ir::info(in.op).effects != ir::Effects::Pure) {
    return false;
  }
  for (unsigned a = 0; a < in.nargs; a++) {
    if (!ir::is_int(unit.insts[in.args[a]].type)) return false;
  }
  return true;
}

}  // namespace

// The position of the last faulting op before the slot's next set; 0: none.
uint32_t Liveness::last_fault_before(const NextAccess& next) const {
  return faults_.size() > next.faults ? faults_[next.faults] : 0;
}

// A helper sees in memory what it may look at (RegAlloc::sync_for_call()).
void Liveness::forget_touched(const ir::HelperDesc& desc, const SlotMap& slots) {
  for (uint16_t n = 0; n < slots.count() && n < next_.size(); n++) {
    constexpr uint32_t kWidest = 16;
    const uint32_t offset = slots.offset(n);
    if (desc.may_exit || desc.reads.touches(offset, kWidest) || desc.writes.touches(offset, kWidest)) {
      next_[n].is_set = false;
    }
  }
}

void Liveness::run(const ir::Unit& unit, const ir::Block& block, const AccessGroups& groups, SlotMap& slots,
                   std::vector<ValueInfo>& values) {
  std::fill(next_.begin(), next_.end(), NextAccess{});
  faults_.clear();
  uint32_t next_call = ~uint32_t{0};
  uint32_t ways_out = 0;  // exit_if seen, backwards
  for (uint32_t i = block.first + block.count; i-- > block.first;) {
    const Inst& in = unit.insts[i];
    ValueInfo& v = values[i];
    v.root = i;
    v.is_xmm = ir::is_float(in.type) || ir::is_vector(in.type);
    v.crosses_call = next_call < v.last_use;
    uint32_t position = i;
    const ir::Effects effects = ir::info(in.op).effects;
    if (v.uses == 0 && v.lazy_until == 0) {
      const bool pure_call = in.op == Op::call && reinterpret_cast<const ir::HelperDesc*>(in.imm)->pure;
      if (effects == ir::Effects::Pure || in.op == Op::get || in.op == Op::insn_count || pure_call) {
        v.dead = true;
        continue;
      }
    }
    if (in.op == Op::konst) continue;
    if (in.op == Op::get || in.op == Op::set) {
      const uint16_t slot = slots.number(in.imm);
      if (slot >= next_.size()) next_.resize(slot + 64u);
      NextAccess& next = next_[slot];
      v.read_again = next.is_get;
      if (in.op == Op::get) {
        next = {true, false, 0, 0};
        continue;
      }
      // A way out stores what it finds, as the end of the block does: the value must be there.
      const bool overwritten = next.is_set && next.ways_out == ways_out;
      const uint32_t until = overwritten ? last_fault_before(next) : 0;
      next = {false, true, static_cast<uint32_t>(faults_.size()), ways_out};
      if (overwritten) {
        if (until == 0) {
          v.dead = true;
          continue;
        }
        use_lazily(values[in.args[0]], until, 0);
        continue;
      }
    } else if (v.uses == 0 && v.lazy_depth < kMaxLazyDepth && can_be_lazy(unit, in)) {
      v.lazy = true;
      for (unsigned a = 0; a < in.nargs; a++) {
        use_lazily(values[in.args[a]], v.lazy_until, static_cast<uint8_t>(v.lazy_depth + 1));
      }
      continue;
    } else if (ir::is_memory(in.op)) {
      faults_.push_back(i);
    } else if (in.op == Op::exit_if) {
      ways_out++;
    } else if (in.op == Op::call) {
      const auto& helper = *reinterpret_cast<const ir::HelperDesc*>(in.imm);
      if (helper.keeps == 0) next_call = i;
      forget_touched(helper, slots);
      const ir::ReportCall* const report = ir::as_report(helper);
      if (report != nullptr && report->then != nullptr) faults_.push_back(i);
    } else if (const uint32_t until = deferred_until(unit, in, i, values); until != 0) {
      v.deferred = true;
      position = until;
    }
    const AccessGroup* group = groups.of(i);
    for (unsigned a = 0; a < in.nargs; a++) {
      ValueInfo& arg = values[a == 0 && group != nullptr ? group->root : in.args[a]];
      arg.uses++;
      arg.user = i;
      arg.last_use = std::max(arg.last_use, position);
    }
  }
}

}  // namespace panda::x64
