// The register allocator's half that binds guest-state slots to values.
//
// A slot is bound to a value where it is dirty (the value is not in memory yet), where it is held
// (clean, but a later get wants the value), or where it is the value's home (clean; memory can stand
// in for the register). Only the first two keep the value alive.
#include "backend/x64/reg_alloc.h"
#include "base/check.h"

namespace panda::x64 {

using ir::Type;
using ir::ValueId;

void RegAlloc::get(ValueId v, uint64_t offset) {
  const uint16_t n = slot_map_.number(offset);
  Slot& s = slots_[n];
  s.read_again = values_[v].read_again;
  if (s.value != ir::kNoValue) {
    const ValueId root = s.value;
    alias(v, root);
    if (!s.dirty && s.holds && !s.read_again) {
      s.holds = false;
      values_[root].holds--;
      if (values_[root].home != n) s.value = ir::kNoValue;
    } else if (!s.dirty && !s.holds && s.read_again) {
      s.holds = true;
      values_[root].holds++;
    }
    return;
  }
  ValueInfo& i = values_[v];
  const Type t = type(v);
  s.value = v;
  s.type = t;
  s.dirty = false;
  s.holds = s.read_again;
  i.home = n;
  i.holds = s.holds;
  i.zero_from = static_cast<uint8_t>(ir::size_bytes(t) >= 8 ? 64 : ir::size_bytes(t) * 8);
}

void RegAlloc::unbind(uint16_t n) {
  Slot& s = slots_[n];
  const ValueId root = s.value;
  if (root == ir::kNoValue) return;
  ValueInfo& v = values_[root];
  if (s.dirty) {
    dirty_[s.dirty_position] = dirty_.back();
    slots_[dirty_.back()].dirty_position = s.dirty_position;
    dirty_.pop_back();
    s.dirty = false;
  }
  if (s.holds) {
    s.holds = false;
    v.holds--;
  }
  // What lives in this slot's memory only must be fetched before that changes.
  if (v.home == n) {
    if (needed(v) && v.reg < 0 && v.spill < 0 && !is_konst(root)) {
      const int r = allocate_for(root);
      load(root, r);
      give(r, root);
    }
    v.home = kNoSlot;
  }
  s.value = ir::kNoValue;
  touched_.push_back(root);
}

void RegAlloc::set(ValueId at, uint64_t offset, ValueId value) {
  const uint16_t n = slot_map_.number(offset);
  const ValueId root = values_[value].root;
  const bool read_again = values_[at].read_again;
  touched_.push_back(root);
  Slot& s = slots_[n];
  ValueInfo& v = values_[root];
  if (s.value == root) {
    s.read_again = read_again;
    if (!s.dirty && s.holds != read_again) {
      s.holds = read_again;
      v.holds = static_cast<uint16_t>(read_again ? v.holds + 1 : v.holds - 1);
      if (!s.holds && v.home != n) s.value = ir::kNoValue;
    }
    return;
  }
  v.holds++;  // before anything is evicted on its behalf
  unbind(n);
  if (v.reg < 0 && !is_konst(root)) {
    const int r = allocate_for(root);
    load(root, r);
    give(r, root);
  }
  s.value = root;
  s.type = type(value);
  s.dirty = true;
  s.holds = true;
  s.read_again = read_again;
  s.dirty_position = static_cast<uint16_t>(dirty_.size());
  dirty_.push_back(n);
}

void RegAlloc::store_slot(uint16_t n) {
  const Slot& s = slots_[n];
  const ValueInfo& v = values_[s.value];
  const Xbyak::RegExp at = c_.rbp + slot_map_.offset(n);
  const bool avx = c_.features.avx;
  const int r = v.reg;
  if (r >= 16) {
    switch (s.type) {
      case Type::F32: avx ? c_.vmovss(c_.dword[at], xmm(r)) : c_.movss(c_.dword[at], xmm(r)); return;
      case Type::F64: avx ? c_.vmovsd(c_.qword[at], xmm(r)) : c_.movsd(c_.qword[at], xmm(r)); return;
      default: avx ? c_.vmovups(c_.ptr[at], xmm(r)) : c_.movups(c_.ptr[at], xmm(r)); return;
    }
  }
  if (r >= 0) {
    switch (ir::size_bytes(s.type)) {
      case 1: c_.mov(c_.byte[at], reg8(r)); return;
      case 2: c_.mov(c_.word[at], reg16(r)); return;
      case 4: c_.mov(c_.dword[at], reg32(r)); return;
      default: c_.mov(c_.qword[at], reg64(r)); return;
    }
  }
  PANDA_CHECK(is_konst(s.value));
  const uint64_t k = unit_->insts[s.value].imm;
  const auto low = static_cast<uint32_t>(k);
  switch (ir::size_bytes(s.type)) {
    case 1: c_.mov(c_.byte[at], low & 0xff); return;
    case 2: c_.mov(c_.word[at], low & 0xffff); return;
    case 4: c_.mov(c_.dword[at], low); return;
    default: break;
  }
  for (int half = 0; half < (s.type == Type::V128 ? 2 : 1); half++) {
    const Xbyak::RegExp half_at = at + half * 8;
    if (static_cast<int64_t>(k) == static_cast<int32_t>(low)) {
      c_.mov(c_.qword[half_at], k);
    } else {
      c_.mov(c_.dword[half_at], low);
      c_.mov(c_.dword[half_at + 4], static_cast<uint32_t>(k >> 32));
    }
  }
}

void RegAlloc::make_clean(uint16_t n) {
  Slot& s = slots_[n];
  const ValueId root = s.value;
  ValueInfo& v = values_[root];
  dirty_[s.dirty_position] = dirty_.back();
  slots_[dirty_.back()].dirty_position = s.dirty_position;
  dirty_.pop_back();
  s.dirty = false;
  if (v.home == kNoSlot && ir::size_bytes(s.type) == ir::size_bytes(type(root)) && !is_konst(root)) v.home = n;
  if (!s.read_again) {
    s.holds = false;
    v.holds--;
    if (v.home != n) s.value = ir::kNoValue;
    touched_.push_back(root);
  }
}

void RegAlloc::flush() {
  while (!dirty_.empty()) {
    const uint16_t n = dirty_.back();
    store_slot(n);
    make_clean(n);
  }
}

void RegAlloc::sync_for_call(const ir::HelperDesc& desc) {
  for (size_t i = dirty_.size(); i-- > 0;) {
    const uint16_t n = dirty_[i];
    const uint32_t offset = slot_map_.offset(n);
    const uint32_t size = ir::size_bytes(slots_[n].type);
    if (!desc.may_exit && !desc.reads.touches(offset, size) && !desc.writes.touches(offset, size)) continue;
    store_slot(n);
    make_clean(n);
  }
}

void RegAlloc::forget_written(const ir::HelperDesc& desc) {
  if (desc.writes.end <= desc.writes.begin) return;
  for (uint16_t n = 0; n < slots_.size(); n++) {
    if (slots_[n].value == ir::kNoValue) continue;
    if (desc.writes.touches(slot_map_.offset(n), ir::size_bytes(slots_[n].type))) unbind(n);
  }
}

RegAlloc::Binding RegAlloc::dirty(size_t i) const {
  const Slot& s = slots_[dirty_[i]];
  const ValueInfo& v = values_[s.value];
  return {slot_map_.offset(dirty_[i]), s.type, v.reg, v.reg < 0 ? unit_->insts[s.value].imm : 0};
}

}  // namespace panda::x64
