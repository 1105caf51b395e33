// The register allocator's half that binds guest-state slots to values.
//
// A slot is bound to a value where it is dirty (the value is not in memory yet), where it is held
// (clean, but a later get wants the value), or where it is the value's home (clean; memory can stand
// in for the register). Only the first two keep the value alive. A slot bound to a lazy value is dirty
// and set again before anything but a slow path wants it.
#include <algorithm>
#include <bit>

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
  if (v.lazy) {
    touch_operands(root);
  } else {
    touched_.push_back(root);
  }
}

// The operands of a lazy value may be dead now.
void RegAlloc::touch_operands(ValueId lazy) {
  const ir::Inst& in = unit_->insts[lazy];
  for (unsigned i = 0; i < in.nargs; i++) {
    if (values_[in.args[i]].lazy) {
      touch_operands(in.args[i]);
    } else {
      touched_.push_back(values_[in.args[i]].root);
    }
  }
}

void RegAlloc::forget_slot(uint64_t offset) { unbind(slot_map_.number(offset)); }

void RegAlloc::append_tokens(ValueId lazy, std::vector<LazyToken>& out) const {
  const auto one = [&](ValueId value) {
    const ValueInfo& v = values_[value];
    const ir::Inst& in = unit_->insts[value];
    LazyToken t{};
    t.type = in.type;
    if (v.lazy) {
      for (unsigned i = 0; i < in.nargs; i++) append_tokens(in.args[i], out);
      t.nargs = in.nargs;
      t.from = in.nargs != 0 ? unit_->insts[in.args[0]].type : in.type;
      t.op = static_cast<uint16_t>(in.op);
      t.kind = in.op == ir::Op::call ? LazyToken::Call : LazyToken::Compute;
      t.imm = in.op == ir::Op::call
                  ? reinterpret_cast<uint64_t>(reinterpret_cast<const ir::HelperDesc*>(in.imm)->function)
                  : in.imm;
      return t;
    }
    const ValueInfo& root = values_[v.root];
    if (is_konst(v.root)) {
      t.kind = LazyToken::Constant;
      t.imm = unit_->insts[v.root].imm;
    } else if (root.reg >= 0) {
      t.kind = LazyToken::Register;
      t.op = static_cast<uint16_t>(root.reg);
    } else if (root.spill >= 0) {
      t.kind = LazyToken::Spill;
      t.imm = static_cast<uint64_t>(root.spill);
    } else {
      PANDA_CHECK(root.home != kNoSlot);
      t.kind = LazyToken::State;
      t.imm = slot_map_.offset(root.home);
    }
    return t;
  };
  out.push_back(one(lazy));
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
  if (v.reg < 0 && !is_konst(root) && !v.lazy) {
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

void store_slot_code(Assembler& c, uint32_t offset, Type type, int reg, uint64_t constant) {
  const Xbyak::RegExp at = c.rbp + static_cast<int>(offset);
  const bool avx = c.features.avx;
  if (reg >= 16) {
    switch (type) {
      case Type::F32:
        avx ? c.vmovss(c.dword[at], xmm(reg)) : c.movss(c.dword[at], xmm(reg));
        return;
      case Type::F64:
        avx ? c.vmovsd(c.qword[at], xmm(reg)) : c.movsd(c.qword[at], xmm(reg));
        return;
      default:
        avx ? c.vmovups(c.ptr[at], xmm(reg)) : c.movups(c.ptr[at], xmm(reg));
        return;
    }
  }
  if (reg >= 0) {
    switch (ir::size_bytes(type)) {
      case 1:
        c.mov(c.byte[at], reg8(reg));
        return;
      case 2:
        c.mov(c.word[at], reg16(reg));
        return;
      case 4:
        c.mov(c.dword[at], reg32(reg));
        return;
      default:
        c.mov(c.qword[at], reg64(reg));
        return;
    }
  }
  const auto low = static_cast<uint32_t>(constant);
  switch (ir::size_bytes(type)) {
    case 1:
      c.mov(c.byte[at], low & 0xff);
      return;
    case 2:
      c.mov(c.word[at], low & 0xffff);
      return;
    case 4:
      c.mov(c.dword[at], low);
      return;
    default:
      break;
  }
  for (int half = 0; half < (type == Type::V128 ? 2 : 1); half++) {
    const Xbyak::RegExp half_at = at + half * 8;
    if (static_cast<int64_t>(constant) == static_cast<int32_t>(low)) {
      c.mov(c.qword[half_at], constant);
    } else {
      c.mov(c.dword[half_at], low);
      c.mov(c.dword[half_at + 4], static_cast<uint32_t>(constant >> 32));
    }
  }
}

void RegAlloc::store_slot(uint16_t n) {
  const Slot& s = slots_[n];
  const int r = values_[s.value].reg;
  tell({AllocEvent::StoreSlot, static_cast<int8_t>(r), slot_map_.offset(n), s.value, 0});
  PANDA_CHECK(r >= 0 || is_konst(s.value));
  store_slot_code(c_, slot_map_.offset(n), s.type, r, r >= 0 ? 0 : unit_->insts[s.value].imm);
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

void RegAlloc::tell_slow_path() const {
  if (listener_ == nullptr) return;
  std::vector<SlowBinding> bindings;
  for (size_t i = 0; i < dirty_.size(); i++) {
    const Binding b = dirty(i);
    bindings.push_back({b.offset, b.reg, b.constant, b.value});
  }
  listener_->slow_path(bindings);
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
  const uint16_t offset = slot_map_.offset(dirty_[i]);
  if (v.lazy) return {offset, s.type, kLazyReg, 0, s.value};
  return {offset, s.type, v.reg, v.reg < 0 ? unit_->insts[s.value].imm : 0, s.value};
}

// --- loops
//
// Integer slots that the block reads before it sets them are carried in registers: at the loop's head
// each is in its loop_reg, those that the block sets are dirty there. The rest goes through memory.

void RegAlloc::begin_loop(const ir::Block& block) {
  constexpr unsigned kMaxCarried = 8;
  const uint32_t end = block.first + block.count;
  std::vector<uint8_t> set(slots_.size()), seen(slots_.size());
  for (uint32_t i = block.first; i < end; i++) {
    const ir::Inst& in = unit_->insts[i];
    if (in.op == ir::Op::set && !values_[i].dead) set[slot_map_.number(in.imm)] = 1;
  }
  now_ = block.first;
  unsigned carried = 0;
  for (const bool written : {true, false}) {
    std::fill(seen.begin(), seen.end(), uint8_t{0});
    for (uint32_t i = block.first; i < end && carried < kMaxCarried; i++) {
      const ir::Inst& in = unit_->insts[i];
      if ((in.op != ir::Op::get && in.op != ir::Op::set) || values_[i].dead) continue;
      const uint16_t n = slot_map_.number(in.imm);
      if (seen[n] != 0) continue;
      seen[n] = 1;
      if (in.op != ir::Op::get || (set[n] != 0) != written || (in.type != Type::I32 && in.type != Type::I64)) continue;
      carried++;
      ValueInfo& v = values_[i];
      Slot& s = slots_[n];
      v.home = n;
      const int r = allocate_for(i);
      tell({AllocEvent::Carry, static_cast<int8_t>(r), slot_map_.offset(n), i, written ? 1u : 0u});
      load(i, r);
      give(r, i);
      s.value = i;
      s.type = in.type;
      s.holds = s.read_again = true;
      s.loop_reg = static_cast<int8_t>(r);
      s.written = written;
      v.holds = 1;
      if (written) {
        v.home = kNoSlot;
        s.dirty = true;
        s.dirty_position = static_cast<uint16_t>(dirty_.size());
        dirty_.push_back(n);
      } else {
        v.last_use = end;
      }
    }
  }
  tell({AllocEvent::LoopHead, -1, 0, ir::kNoValue, 0});
}

void RegAlloc::flush_not_carried() {
  for (size_t i = dirty_.size(); i-- > 0;) {
    const uint16_t n = dirty_[i];
    if (slots_[n].loop_reg >= 0) continue;
    store_slot(n);
    make_clean(n);
  }
}

void RegAlloc::dirty_slots(std::vector<Binding>& out) const {
  for (size_t i = 0; i < dirty_.size(); i++) out.push_back(dirty(i));
}

void RegAlloc::move_to_loop_head(std::vector<Binding>& written) {
  int from[16];  // by loop_reg: the register to copy, or -1
  std::fill(std::begin(from), std::end(from), -1);
  const auto in_register = [&](const Slot& s) { return s.value != ir::kNoValue && values_[s.value].reg >= 0; };
  unsigned pending = 0;
  for (const Slot& s : slots_) {
    if (s.loop_reg < 0 || !in_register(s)) continue;
    from[s.loop_reg] = values_[s.value].reg;
    if (from[s.loop_reg] != s.loop_reg) pending |= 1u << s.loop_reg;
  }
  while (pending != 0) {
    unsigned sources = 0;
    for (unsigned m = pending; m != 0; m &= m - 1) sources |= 1u << from[std::countr_zero(m)];
    if (const unsigned ready = pending & ~sources; ready != 0) {
      const int to = std::countr_zero(ready);
      c_.mov(reg64(to), reg64(from[to]));
      tell({AllocEvent::Copy, static_cast<int8_t>(to), 0, ir::kNoValue, static_cast<uint32_t>(from[to])});
      pending &= ~(1u << to);
      continue;
    }
    // Only cycles are left, and each register is one's target and one's source.
    const int to = std::countr_zero(pending), other = from[to];
    c_.xchg(reg64(to), reg64(other));
    tell({AllocEvent::Exchange, static_cast<int8_t>(to), 0, ir::kNoValue, static_cast<uint32_t>(other)});
    for (unsigned m = pending; m != 0; m &= m - 1) {
      const int t = std::countr_zero(m);
      if (from[t] == to) {
        from[t] = other;
      } else if (from[t] == other) {
        from[t] = to;
      }
    }
    for (unsigned m = pending; m != 0; m &= m - 1) {
      const int t = std::countr_zero(m);
      if (from[t] == t) pending &= ~(1u << t);
    }
  }
  for (uint16_t n = 0; n < slots_.size(); n++) {
    const Slot& s = slots_[n];
    if (s.loop_reg < 0) continue;
    const bool wide = s.type == Type::I64;
    if (in_register(s)) {
      // The head counts on the upper bits of a 32-bit slot being zero.
      if (!wide) c_.mov(reg32(s.loop_reg), reg32(s.loop_reg));
    } else if (s.dirty) {
      PANDA_CHECK(is_konst(s.value));
      const uint64_t k = unit_->insts[s.value].imm & ir::mask_of(s.type);
      c_.mov(reg64(s.loop_reg), k);
      tell({AllocEvent::LoadConst, s.loop_reg, 0, s.value, 0});
    } else {
      if (wide)
        c_.mov(reg64(s.loop_reg), c_.qword[c_.rbp + slot_map_.offset(n)]);
      else
        c_.mov(reg32(s.loop_reg), c_.dword[c_.rbp + slot_map_.offset(n)]);
      tell({AllocEvent::LoadCarried, s.loop_reg, slot_map_.offset(n), ir::kNoValue, 0});
    }
    if (s.written) written.push_back({slot_map_.offset(n), s.type, s.loop_reg, 0, ir::kNoValue});
  }
  tell({AllocEvent::LoopBack, -1, 0, ir::kNoValue, 0});
}

}  // namespace panda::x64
