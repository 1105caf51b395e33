#include "backend/x64/x87_stack.h"

#include <algorithm>
#include <utility>

#include "backend/x64/frame.h"
#include "base/check.h"

namespace panda::x64 {

using ir::kNoValue;
using ir::ValueId;

namespace {
constexpr int kFrameBase = 4;  // rsp
}

void X87Stack::begin_unit(const ir::Unit& unit) {
  unit_ = &unit;
  records_.resize(std::max(records_.size(), unit.insts.size()));
}

void X87Stack::begin_block() {
  slots_.clear();
  depth_ = 0;
  spills_ = 0;
  entered_ = false;
  synchronised();
}

void X87Stack::begin_op(uint32_t index) {
  now_ = index;
  operands_.fill(kNoValue);
  const ir::Inst& in = unit_->insts[index];
  for (unsigned k = 0; k < in.nargs && k < operands_.size(); k++) {
    if (ra_.type(in.args[k]) == ir::Type::F80) operands_[k] = root(in.args[k]);
  }
}

// --- what is needed

int X87Stack::index_of(ValueId root) const {
  for (int i = 0; i < depth_; i++) {
    if (entries_[static_cast<size_t>(depth_ - 1 - i)] == root) return i;
  }
  return -1;
}

bool X87Stack::dirty_bound(ValueId root) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.value == root && s.dirty; });
}
bool X87Stack::clean_bound(ValueId root) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.value == root && !s.dirty; });
}
bool X87Stack::wanted_clean(ValueId root) const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [&](const Slot& s) { return s.value == root && !s.dirty && s.read_again; });
}
// Is the place on the stack free to be overwritten by this op?
bool X87Stack::dies(ValueId root) const {
  return records_[root].last_use <= now_ && !dirty_bound(root) && !wanted_clean(root);
}
bool X87Stack::needed_later(ValueId v) const { return !dies(root(v)); }
bool X87Stack::garbage(ValueId root) const {
  return root == kNoValue || (records_[root].last_use < now_ && !dirty_bound(root) && !wanted_clean(root));
}

void X87Stack::record(ValueId v) { records_[v] = {v, ra_.info(v).last_use, -1}; }

// --- moving things about

// FLD and FSTP of ten bytes at [rbp or rsp + displacement]: DB /5 and /7.
void X87Stack::memory_m80(int digit, int base, int displacement) {
  c_.db(0xdb);
  c_.db(0x80 | digit << 3 | base);
  if (base == kFrameBase) c_.db(0x24);
  c_.dd(static_cast<uint32_t>(displacement));
}
void X87Stack::load_m80(int base, int displacement) { memory_m80(5, base, displacement); }
void X87Stack::store_m80(int base, int displacement) { memory_m80(7, base, displacement); }

void X87Stack::exchange(int st) {
  if (st == 0) return;
  c_.fxch(Xbyak::Fpu(st));
  std::swap(entry(0), entry(st));
}

void X87Stack::copy(int st) {
  c_.fld(Xbyak::Fpu(st));
  push(kNoValue);
}

void X87Stack::store_top(uint32_t offset) { store_m80(kState, static_cast<int>(offset)); }

void X87Stack::pop_top(bool keep) {
  const ValueId v = entry(0);
  int stores = 0;
  bool on_host = true;
  if (keep && v != kNoValue) {
    for (Slot& s : slots_) {
      if (s.value != v || !s.dirty) continue;
      if (!on_host) load_m80(kState, static_cast<int>(slots_[static_cast<size_t>(stores)].offset));
      store_top(s.offset);
      on_host = false;
      s.dirty = false;
      stores = static_cast<int>(&s - slots_.data());
    }
    if (records_[v].last_use >= now_ && !clean_bound(v) && records_[v].spill < 0) {
      PANDA_CHECK(spills_ < kF80Spills);
      records_[v].spill = static_cast<int16_t>(spills_++);
      store_m80(kFrameBase, kF80SpillBase + records_[v].spill * 16);
      on_host = false;
    }
  }
  if (on_host) c_.fstp(Xbyak::Fpu(0));
  depth_--;
}

void X87Stack::make_room() {
  if (depth_ < kHostStack) return;
  int best = -1, rank = -1;
  for (int i = 0; i < depth_; i++) {
    const ValueId v = entry(i);
    int r = 0;
    if (std::find(operands_.begin(), operands_.end(), v) != operands_.end() && v != kNoValue)
      r = -1;
    else if (garbage(v))
      r = 3;
    else if (records_[v].last_use < now_)
      r = 2;
    else if (clean_bound(v))
      r = 1;
    if (r > rank) best = i, rank = r;
  }
  PANDA_CHECK(best >= 0);
  exchange(best);
  pop_top(true);
}

void X87Stack::prepare(bool room) {
  while (depth_ > 0 && garbage(entry(0))) pop_top(false);
  if (room) make_room();
}

void X87Stack::ensure(ValueId v) {
  const ValueId r = root(v);
  if (index_of(r) >= 0) return;
  enter();
  make_room();
  if (records_[r].spill >= 0) {
    load_m80(kFrameBase, kF80SpillBase + records_[r].spill * 16);
  } else {
    const auto home =
        std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.value == r && !s.dirty; });
    PANDA_CHECK(home != slots_.end());
    load_m80(kState, static_cast<int>(home->offset));
  }
  push(r);
}

void X87Stack::bring_top(ValueId v) { exchange(index_of(root(v))); }

void X87Stack::take_top(ValueId v) {
  const ValueId r = root(v);
  if (!dies(r)) {
    make_room();
    return copy(index_of(r));
  }
  exchange(index_of(r));
  entry(0) = kNoValue;
}

void X87Stack::define_top(ValueId result) {
  record(result);
  entry(0) = result;
}

void X87Stack::define_push(ValueId result) {
  record(result);
  push(result);
}

void X87Stack::popped() { depth_--; }

void X87Stack::binary(ValueId result, ValueId va, ValueId vb, const X87Arith& arith) {
  const ValueId a = root(va), b = root(vb);
  const auto emit = [&](int opcode, int base, int st) { c_.db(opcode), c_.db(base + st); };
  if (a == b) {
    take_top(va);
    emit(0xd8, arith.d8, 0);
    return define_top(result);
  }
  const bool a_dies = dies(a), b_dies = dies(b);
  if (a_dies && b_dies) {
    if (index_of(a) != 0 && index_of(b) != 0) exchange(index_of(a));
    const bool a_top = index_of(a) == 0;
    const int other = index_of(a_top ? b : a);
    emit(0xde, a_top ? arith.dc_reverse : arith.dc, other);
    record(result);
    entry(other) = result;
    depth_--;
    return;
  }
  if (!a_dies && !b_dies) {
    make_room();
    copy(index_of(a));
    emit(0xd8, arith.d8, index_of(b));
    return define_top(result);
  }
  const ValueId dying = a_dies ? a : b, other = a_dies ? b : a;
  if (index_of(other) == 0) {
    const int at = index_of(dying);
    emit(0xdc, a_dies ? arith.dc : arith.dc_reverse, at);
    record(result);
    entry(at) = result;
    return;
  }
  exchange(index_of(dying));
  emit(0xd8, a_dies ? arith.d8 : arith.d8_reverse, index_of(other));
  define_top(result);
}

// --- slots

X87Stack::Slot& X87Stack::slot(uint64_t offset) {
  for (Slot& s : slots_) {
    if (s.offset == offset) return s;
  }
  slots_.push_back({static_cast<uint32_t>(offset)});
  return slots_.back();
}

void X87Stack::get(ValueId v, uint64_t offset) {
  Slot& s = slot(offset);
  const bool again = ra_.info(v).read_again;
  s.read_again = again;
  record(v);
  if (s.value == kNoValue) {
    s.value = v;
    s.dirty = false;
    return;
  }
  records_[v].root = s.value;
  Record& r = records_[s.value];
  r.last_use = std::max(r.last_use, records_[v].last_use);
}

// Before the slot's memory means something else: who has it as only home is fetched.
void X87Stack::release(Slot& s) {
  const ValueId old = s.value;
  if (old == kNoValue) return;
  s.value = kNoValue;
  const bool was_dirty = s.dirty;
  s.dirty = false;
  if (was_dirty || index_of(old) >= 0 || records_[old].spill >= 0 || clean_bound(old)) return;
  if (records_[old].last_use <= now_ && !dirty_bound(old)) return;
  s.value = old;
  ensure(old);
  s.value = kNoValue;
}

bool X87Stack::set_moves(ValueId v, uint64_t offset) const {
  if (index_of(root(v)) < 0) return true;
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& s) {
    return s.offset == offset && s.value != kNoValue && s.value != root(v) && index_of(s.value) < 0;
  });
}

void X87Stack::set(ValueId at, uint64_t offset, ValueId v) {
  const ValueId r = root(v);
  const bool again = ra_.info(at).read_again;
  if (Slot& s = slot(offset); s.value == r) {
    s.read_again = again;
    return;
  }
  ensure(v);
  Slot& s = slot(offset);
  release(s);
  s.value = r;
  s.dirty = true;
  s.read_again = again;
}

void X87Stack::release_slot_of_result(ValueId result) {
  if (result + 1 >= unit_->insts.size()) return;
  const ir::Inst& next = unit_->insts[result + 1];
  if (next.op != ir::Op::set || next.type != ir::Type::F80 || next.args[0] != result) return;
  release(slot(next.imm));
}

// --- regions

void X87Stack::enter() {
  if (entered_) return;
  entered_ = true;
  // The low byte is all masks; the high one precision and rounding.
  c_.cmp(c_.byte[c_.rbp + static_cast<int>(unit_->f80_control + 1)], kHostControlHigh);
  const Assembler::Offset usual = c_.jcc_short(Cc::E);
  c_.fldcw(c_.word[c_.rbp + static_cast<int>(unit_->f80_control)]);
  c_.patch_short(usual, c_.here());
}

void X87Stack::flush() {
  const auto spill = [&](ValueId v) {
    PANDA_CHECK(spills_ < kF80Spills);
    records_[v].spill = static_cast<int16_t>(spills_++);
    return kF80SpillBase + records_[v].spill * 16;
  };
  const auto goes_on = [&](ValueId v) { return v != kNoValue && records_[v].last_use > now_ && records_[v].spill < 0; };
  while (depth_ > 0) {
    const ValueId v = entry(0);
    if (goes_on(v)) {
      const int at = spill(v);
      store_m80(kFrameBase, at);
      load_m80(kFrameBase, at);
    }
    pop_top(true);
  }
  // What only lives in a slot, which may now change.
  for (const Slot& s : slots_) {
    if (!goes_on(s.value)) continue;
    enter();
    load_m80(kState, static_cast<int>(s.offset));
    store_m80(kFrameBase, spill(s.value));
  }
  slots_.clear();
  if (!entered_) return;
  entered_ = false;
  c_.cmp(c_.byte[c_.rbp + static_cast<int>(unit_->f80_control + 1)], kHostControlHigh);
  const Assembler::Offset usual = c_.jcc_short(Cc::E);
  c_.fldcw(c_.word[c_.rbp + PANDA_CONTEXT(host_fpcw)]);
  c_.patch_short(usual, c_.here());
}

std::vector<X87Stack::Dirty> X87Stack::dirty() const {
  std::vector<Dirty> out;
  for (const Slot& s : slots_) {
    if (s.value != kNoValue && s.dirty) out.push_back({s.offset, index_of(s.value)});
  }
  return out;
}

}  // namespace panda::x64
