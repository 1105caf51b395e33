#include "backend/x64/reg_alloc.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace panda::x64 {

using ir::Type;
using ir::ValueId;

namespace {
uint32_t spill_place(const ValueInfo& v) { return static_cast<uint32_t>(v.spill) | (v.is_xmm ? kVectorSpill : 0); }
}  // namespace

void RegAlloc::begin_unit(const ir::Unit& unit) {
  unit_ = &unit;
  values_.assign(unit.insts.size(), ValueInfo{});
  slot_map_.clear();
  if (listener_ != nullptr) listener_->begin_unit(unit);
}

void RegAlloc::begin_block(const ir::Block& block, const AccessGroups& groups) {
  liveness_.run(*unit_, block, groups, slot_map_, values_);
  slots_.assign(slot_map_.count(), Slot{});
  dirty_.clear();
  touched_.clear();
  free_ = kAllocatableGprs | kAllXmms;
  locked_ = 0;
  pointers_ = 0;
  std::fill(std::begin(value_in_), std::end(value_in_), ir::kNoValue);
  for (auto& f : free_spills_) f.clear();
  next_spill_[0] = next_spill_[1] = 0;
  tell({AllocEvent::Block, -1, 0, static_cast<ValueId>(&block - unit_->blocks.data()), 0});
}

void RegAlloc::end_op() {
  for (uint32_t m = locked_; m != 0; m &= m - 1) {
    const int r = std::countr_zero(m);
    if (value_in_[r] == ir::kNoValue) free_ |= 1u << r;
  }
  free_ &= ~pointers_;
  locked_ = 0;
  for (ValueId root : touched_) {
    if (dead(values_[root])) kill(root);
  }
  touched_.clear();
}

// --- queries

bool RegAlloc::is_const(ValueId v, uint64_t* out) const {
  const ir::Inst& in = unit_->insts[values_[v].root];
  if (in.op != ir::Op::konst || in.type == Type::V128) return false;
  if (out != nullptr) *out = in.imm & ir::mask_of(type(v));
  return true;
}

bool RegAlloc::is_imm32(ValueId v, int32_t* out) const {
  uint64_t value;
  if (!is_const(v, &value)) return false;
  const Type t = type(v);
  if (!ir::is_int(t)) return false;
  const unsigned shift = 64 - ir::size_bytes(t) * 8;
  const int64_t s = static_cast<int64_t>(value << shift) >> shift;
  *out = static_cast<int32_t>(s);
  return *out == s;
}

bool RegAlloc::is_zero_extended(ValueId v) const {
  const ValueId root = values_[v].root;
  const unsigned bits = ir::size_bytes(type(v)) * 8;
  if (is_konst(root)) return static_cast<unsigned>(std::bit_width(unit_->insts[root].imm)) <= bits;
  return values_[root].zero_from <= bits;
}

bool RegAlloc::dies(ValueId v) const {
  const ValueInfo& i = values_[values_[v].root];
  return dead(i) && (i.reg < 0 || (locked_ >> i.reg & 1) == 0);
}

// --- registers

int RegAlloc::allocate(uint32_t allowed, uint32_t preferred) {
  uint32_t candidates = free_ & allowed & ~locked_;
  if (candidates == 0) {
    // Cheapest first: held only for a later get; constants; only needed in its slot; has a copy in
    // memory; must be spilled. Then whatever is needed last.
    int best = -1;
    uint64_t best_key = 0;
    for (uint32_t m = allowed & ~locked_; m != 0; m &= m - 1) {
      const int r = std::countr_zero(m);
      if ((pointers_ >> r & 1) != 0) {  // comes back at the price of another check
        if (best < 0) best = r;
        continue;
      }
      const ValueInfo& v = values_[value_in_[r]];
      uint64_t rank = v.home != kNoSlot || v.spill >= 0 ? 2 : 1;
      if (v.last_use < now_) rank = v.home != kNoSlot ? 5 : 3;
      if (is_konst(value_in_[r])) rank = 4;
      const uint64_t key = rank << 32 | v.last_use;
      if (best < 0 || ((pointers_ >> best & 1) != 0 ? rank >= 2 : key > best_key)) {
        best = r;
        best_key = key;
      }
    }
    PANDA_CHECK(best >= 0);
    if ((pointers_ >> best & 1) != 0) {
      drop_pointer(best);
    } else {
      evict(best);
    }
    candidates = 1u << best;
  } else if ((candidates & preferred) != 0) {
    candidates &= preferred;
  }
  const int r = std::countr_zero(candidates);
  free_ &= ~(1u << r);
  return r;
}

int RegAlloc::allocate_for(ValueId root) {
  const ValueInfo& v = values_[root];
  if (v.is_xmm) return allocate(kAllXmms, kAllXmms);
  return allocate(kAllocatableGprs, v.crosses_call ? kCalleeSavedGprs : kCallerSavedGprs);
}

void RegAlloc::give(int reg, ValueId root) {
  value_in_[reg] = root;
  values_[root].reg = static_cast<int8_t>(reg);
  free_ &= ~(1u << reg);
}

void RegAlloc::release(int reg) {
  values_[value_in_[reg]].reg = -1;
  value_in_[reg] = ir::kNoValue;
  free_ |= 1u << reg;
}

void RegAlloc::evict(int reg) {
  const ValueId root = value_in_[reg];
  ValueInfo& v = values_[root];
  if (v.holds != 0 && !is_konst(root)) {
    for (size_t i = dirty_.size(); i-- > 0;) {
      const uint16_t n = dirty_[i];
      if (slots_[n].value != root) continue;
      store_slot(n);
      make_clean(n);
    }
  }
  if (needed(v) && v.home == kNoSlot && v.spill < 0 && !is_konst(root)) {
    auto& list = free_spills_[v.is_xmm];
    if (list.empty()) {
      PANDA_CHECK(next_spill_[v.is_xmm] < (v.is_xmm ? kXmmSpills : kGprSpills));
      v.spill = static_cast<int16_t>(next_spill_[v.is_xmm]++);
    } else {
      v.spill = list.back();
      list.pop_back();
    }
    tell({AllocEvent::Spill, static_cast<int8_t>(reg), spill_place(v), root, 0});
    if (v.is_xmm) {
      const Xbyak::Address at = c_.ptr[c_.rsp + (kXmmSpillBase + v.spill * 16)];
      c_.features.avx ? c_.vmovups(at, xmm(reg)) : c_.movups(at, xmm(reg));
    } else {
      c_.mov(c_.qword[c_.rsp + v.spill * 8], reg64(reg));
    }
  }
  release(reg);
}

void RegAlloc::kill(ValueId root) {
  ValueInfo& v = values_[root];
  if (v.reg >= 0) release(v.reg);
  if (v.spill >= 0) {
    free_spills_[v.is_xmm].push_back(v.spill);
    v.spill = -1;
  }
  if (v.home != kNoSlot) {
    slots_[v.home].value = ir::kNoValue;
    v.home = kNoSlot;
  }
}

void RegAlloc::copy(int to, int from) {
  if (to == from) return;
  tell({AllocEvent::Copy, static_cast<int8_t>(to), 0, ir::kNoValue, static_cast<uint32_t>(from)});
  if (to < 16) {
    c_.mov(reg64(to), reg64(from));
  } else {
    c_.features.avx ? c_.vmovaps(xmm(to), xmm(from)) : c_.movaps(xmm(to), xmm(from));
  }
}

void RegAlloc::materialize(ValueId root, int reg) {
  const ir::Inst& in = unit_->insts[root];
  const uint64_t value = in.imm;
  if (reg < 16) {
    if (value == 0) {
      c_.xor_(reg32(reg), reg32(reg));
    } else if (value <= 0xffffffff) {
      c_.mov(reg32(reg), static_cast<uint32_t>(value));
    } else {
      c_.mov(reg64(reg), value);
    }
    return;
  }
  const Xbyak::Xmm x = xmm(reg);
  if (value == 0) {
    c_.features.avx ? c_.vpxor(x, x, x) : c_.pxor(x, x);
    return;
  }
  lock(reg);
  const int t = scratch();
  c_.mov(reg64(t), value);
  if (c_.features.avx) {
    c_.vmovq(x, reg64(t));
    if (in.type == Type::V128) c_.vpunpcklqdq(x, x, x);
  } else {
    c_.movq(x, reg64(t));
    if (in.type == Type::V128) c_.punpcklqdq(x, x);
  }
}

void RegAlloc::load(ValueId root, int reg) {
  ValueInfo& v = values_[root];
  if (is_konst(root)) {
    materialize(root, reg);
    tell({AllocEvent::LoadConst, static_cast<int8_t>(reg), 0, root, 0});
    return;
  }
  if (v.spill >= 0) {
    tell({AllocEvent::LoadSpill, static_cast<int8_t>(reg), spill_place(v), root, 0});
    if (v.is_xmm) {
      const Xbyak::Address at = c_.ptr[c_.rsp + (kXmmSpillBase + v.spill * 16)];
      c_.features.avx ? c_.vmovups(xmm(reg), at) : c_.movups(xmm(reg), at);
    } else {
      c_.mov(reg64(reg), c_.qword[c_.rsp + v.spill * 8]);
    }
    return;
  }
  PANDA_CHECK(v.home != kNoSlot);
  tell({AllocEvent::LoadSlot, static_cast<int8_t>(reg), slot_map_.offset(v.home), root, 0});
  const Type t = unit_->insts[root].type;
  const Xbyak::RegExp at = c_.rbp + slot_map_.offset(v.home);
  const bool avx = c_.features.avx;
  switch (t) {
    case Type::I1:
    case Type::I8:
      c_.movzx(reg32(reg), c_.byte[at]);
      break;
    case Type::I16:
      c_.movzx(reg32(reg), c_.word[at]);
      break;
    case Type::I32:
      c_.mov(reg32(reg), c_.dword[at]);
      break;
    case Type::I64:
      c_.mov(reg64(reg), c_.qword[at]);
      break;
    case Type::F32:
      avx ? c_.vmovss(xmm(reg), c_.dword[at]) : c_.movss(xmm(reg), c_.dword[at]);
      break;
    case Type::F64:
      avx ? c_.vmovsd(xmm(reg), c_.qword[at]) : c_.movsd(xmm(reg), c_.qword[at]);
      break;
    default:
      avx ? c_.vmovups(xmm(reg), c_.ptr[at]) : c_.movups(xmm(reg), c_.ptr[at]);
      break;
  }
  v.zero_from = std::min(v.zero_from, static_cast<uint8_t>(ir::size_bytes(t) >= 8 ? 64 : ir::size_bytes(t) * 8));
}

// --- the verbs

int RegAlloc::use(ValueId value) {
  const ValueId root = values_[value].root;
  ValueInfo& v = values_[root];
  touched_.push_back(root);
  if (v.reg < 0) {
    const int r = allocate_for(root);
    lock(r);
    load(root, r);
    give(r, root);
  }
  lock(v.reg);
  tell({AllocEvent::Use, v.reg, 0, value, 0});
  return v.reg;
}

int RegAlloc::use_mutable(ValueId value) {
  const ValueId root = values_[value].root;
  ValueInfo& v = values_[root];
  touched_.push_back(root);
  if (v.reg >= 0 && dead(v) && (locked_ >> v.reg & 1) == 0) {
    const int r = v.reg;
    lock(r);
    value_in_[r] = ir::kNoValue;
    v.reg = -1;
    tell({AllocEvent::Take, static_cast<int8_t>(r), 0, value, 0});
    return r;
  }
  if (v.reg < 0 && !dead(v) && !is_konst(root)) use(value);
  if (v.reg >= 0) lock(v.reg);
  const int r = v.is_xmm ? allocate(kAllXmms, kAllXmms)
                         : allocate(kAllocatableGprs, values_[now_].crosses_call ? kCalleeSavedGprs : kCallerSavedGprs);
  lock(r);
  if (v.reg >= 0) {
    if (r < 16 && ir::size_bytes(type(value)) <= 4) {
      tell({AllocEvent::Copy, static_cast<int8_t>(r), 0, ir::kNoValue, static_cast<uint32_t>(v.reg)});
      c_.mov(reg32(r), reg32(v.reg));
    } else {
      copy(r, v.reg);
    }
  } else {
    load(root, r);
  }
  tell({AllocEvent::Take, static_cast<int8_t>(r), 0, value, 0});
  return r;
}

int RegAlloc::scratch() {
  const int r = allocate(kAllocatableGprs, kCallerSavedGprs);
  lock(r);
  tell({AllocEvent::Clobber, static_cast<int8_t>(r), 0, ir::kNoValue, 0});
  return r;
}

int RegAlloc::scratch_xmm() {
  const int r = allocate(kAllXmms, kAllXmms);
  lock(r);
  tell({AllocEvent::Clobber, static_cast<int8_t>(r), 0, ir::kNoValue, 0});
  return r;
}

int RegAlloc::result(ValueId v) {
  const int r = allocate_for(v);
  lock(r);
  tell({AllocEvent::Clobber, static_cast<int8_t>(r), 0, ir::kNoValue, 0});
  return r;
}

void RegAlloc::define(ValueId v, int reg, unsigned zero_from) {
  ValueInfo& i = values_[v];
  i.root = v;
  i.zero_from = static_cast<uint8_t>(zero_from);
  give(reg, v);
  lock(reg);
  touched_.push_back(v);
  tell({AllocEvent::Define, static_cast<int8_t>(reg), 0, v, 0});
}

bool RegAlloc::in_memory(ValueId value, Xbyak::Address* out) {
  const ValueId root = values_[value].root;
  const ValueInfo& v = values_[root];
  const Type t = type(value);
  if (v.reg >= 0 || !dead(v) || is_konst(root) || (t != Type::I32 && t != Type::I64)) return false;
  if (v.spill >= 0) {
    tell({AllocEvent::UseSpill, -1, spill_place(v), value, 0});
    *out = t == Type::I32 ? c_.dword[c_.rsp + v.spill * 8] : c_.qword[c_.rsp + v.spill * 8];
  } else {
    if (v.home == kNoSlot || ir::size_bytes(t) > ir::size_bytes(type(root))) return false;
    tell({AllocEvent::UseSlot, -1, slot_map_.offset(v.home), value, 0});
    const Xbyak::RegExp at = c_.rbp + slot_map_.offset(v.home);
    *out = t == Type::I32 ? c_.dword[at] : c_.qword[at];
  }
  touched_.push_back(root);
  return true;
}

void RegAlloc::alias(ValueId value, ValueId of) {
  const ValueId root = values_[of].root;
  values_[value].root = root;
  tell({AllocEvent::Alias, -1, 0, value, of});
  ValueInfo& r = values_[root];
  r.last_use = std::max(r.last_use, values_[value].last_use);
  touched_.push_back(root);
}

void RegAlloc::fixed(int reg) {
  drop_pointer(reg);
  const ValueId root = value_in_[reg];
  if (root != ir::kNoValue) {
    PANDA_CHECK((locked_ >> reg & 1) == 0);
    const uint32_t others = free_ & kAllocatableGprs & ~locked_;
    if (others != 0) {
      const int to = allocate(others, kCalleeSavedGprs);
      copy(to, reg);
      release(reg);
      give(to, root);
    } else {
      evict(reg);
    }
  }
  free_ &= ~(1u << reg);
  lock(reg);
  tell({AllocEvent::Clobber, static_cast<int8_t>(reg), 0, ir::kNoValue, 0});
}

void RegAlloc::move(ValueId value, int to) {
  const ValueId root = values_[value].root;
  touched_.push_back(root);
  if (values_[root].reg >= 0) {
    copy(to, values_[root].reg);
  } else {
    load(root, to);
  }
  tell({AllocEvent::Take, static_cast<int8_t>(to), 0, value, 0});
}

// --- pointers

int RegAlloc::find_pointer(uint16_t group) const {
  for (uint32_t m = pointers_; m != 0; m &= m - 1) {
    const int r = std::countr_zero(m);
    if (pointer_in_[r] == group) return r;
  }
  return -1;
}

int RegAlloc::pointer(uint16_t group) {
  const int r = find_pointer(group);
  if (r >= 0) lock(r);
  return r;
}

int RegAlloc::new_pointer(uint16_t group) {
  const int r = scratch();
  pointers_ |= 1u << r;
  pointer_in_[r] = group;
  return r;
}

RegAlloc::Location RegAlloc::location(ValueId value) const {
  const ValueInfo& v = values_[values_[value].root];
  if (v.reg >= 0) return {v.reg, false, 0};
  if (v.spill >= 0) return {-1, true, v.spill * 8};
  PANDA_CHECK(v.home != kNoSlot);
  return {-1, false, slot_map_.offset(v.home)};
}

int RegAlloc::cold_scratch(uint32_t taken, uint32_t spare, bool* busy) const {
  const uint32_t allowed = kLookupGprs & ~taken;
  const uint32_t idle = allowed & ((free_ & ~locked_) | spare);
  *busy = idle == 0;
  return std::countr_zero(idle != 0 ? idle : allowed);
}

// --- calls

void RegAlloc::save_for_call(uint32_t clobbered) {
  for (uint32_t m = clobbered & ~free_; m != 0; m &= m - 1) {
    const int r = std::countr_zero(m);
    const ValueId root = value_in_[r];
    locked_ &= ~(1u << r);
    if (root == ir::kNoValue) {
      if (r < 16) drop_pointer(r);
      free_ |= 1u << r;
      continue;
    }
    if (dead(values_[root])) {
      release(r);
      continue;
    }
    const uint32_t safe = free_ & kAllocatableGprs & ~clobbered & ~locked_;
    if (r < 16 && safe != 0 && !is_konst(root)) {
      const int to = std::countr_zero(safe);
      copy(to, r);
      release(r);
      give(to, root);
    } else {
      evict(r);
    }
  }
  tell({AllocEvent::Call, -1, 0, ir::kNoValue, 0});
}

}  // namespace panda::x64
