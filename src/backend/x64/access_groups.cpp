#include "backend/x64/access_groups.h"

#include <algorithm>

namespace panda::x64 {

using ir::Inst;
using ir::Op;
using ir::Type;
using ir::ValueId;

namespace {

// A wide range straddles pages more often, and then every member pays.
constexpr int64_t kMaxSpan = 1024;
constexpr size_t kMaxOpen = 8;

int64_t sign_extend(uint64_t value, Type t) {
  return t == Type::I32 ? static_cast<int32_t>(static_cast<uint32_t>(value)) : static_cast<int64_t>(value);
}

}  // namespace

// Do the two come to the same? Only the arithmetic of scaled indices is looked through.
bool AccessGroups::same_value(const ir::Unit& unit, ValueId a, ValueId b, unsigned depth) const {
  a = canonical_[a];
  b = canonical_[b];
  if (a == b) return true;
  const Inst& x = unit.insts[a];
  const Inst& y = unit.insts[b];
  if (depth == 0 || x.op != y.op || x.type != y.type || x.imm != y.imm) return false;
  if (x.op == Op::konst) return true;
  if (x.op != Op::add && x.op != Op::shl) return false;
  return same_value(unit, x.args[0], y.args[0], depth - 1) && same_value(unit, x.args[1], y.args[1], depth - 1);
}

AccessGroups::Address AccessGroups::split(const ir::Unit& unit, ValueId address) const {
  Address a{canonical_[address], 0, false};
  const Inst* in = &unit.insts[a.root];
  if (in->op == Op::zext && unit.insts[in->args[0]].type == Type::I32) {
    a.narrow = true;
    a.root = canonical_[in->args[0]];
    in = &unit.insts[a.root];
  }
  uint64_t sum = 0;
  while (in->op == Op::add || in->op == Op::sub) {
    const Inst& second = unit.insts[in->args[1]];
    if (second.op != Op::konst) break;
    sum = in->op == Op::add ? sum + second.imm : sum - second.imm;
    a.root = canonical_[in->args[0]];
    in = &unit.insts[a.root];
  }
  a.displacement = sign_extend(sum, in->type);
  return a;
}

void AccessGroups::begin_unit(const ir::Unit& unit) {
  members_.assign(unit.insts.size(), Member{});
  canonical_.resize(unit.insts.size());
}

AccessGroups::Slot& AccessGroups::slot(uint64_t offset) {
  if (offset >= slots_.size()) slots_.resize(std::max<size_t>(offset + 1, 8192));
  Slot& s = slots_[offset];
  if (s.stamp != block_) {
    s = {block_, ir::kNoValue};
    touched_.push_back(static_cast<uint16_t>(offset));
  }
  return s;
}

void AccessGroups::forget(const ir::StateRange& written) {
  if (written.end <= written.begin) return;
  constexpr uint32_t kWidest = 16;
  for (const uint16_t offset : touched_) {
    if (written.touches(offset, kWidest)) slots_[offset].value = ir::kNoValue;
  }
}

void AccessGroups::add(const ir::Unit& unit, uint32_t index) {
  const Inst& in = unit.insts[index];
  const ir::MemInfo info = ir::MemInfo::unpack(in.imm);
  if (info.align > 1) return;
  const Address address = split(unit, in.args[0]);
  if (unit.insts[address.root].op == Op::konst) return;
  constexpr int64_t kFar = int64_t{1} << 30;
  if (address.displacement > kFar || address.displacement < -kFar) return;
  const int64_t end = address.displacement + static_cast<int64_t>(ir::size_bytes(in.type));
  const bool write = in.op == Op::store || info.for_write;
  for (size_t i = 0; i < open_.size(); i++) {
    AccessGroup& g = groups_[open_[i]];
    if (g.mode != info.mode || g.narrow != address.narrow || !same_value(unit, g.root, address.root, 4)) continue;
    const int64_t first = std::min(g.first, address.displacement);
    const int64_t last = std::max(g.first + g.span, end);
    if (last - first > kMaxSpan) {
      open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
    g.first = first;
    g.span = static_cast<uint32_t>(last - first);
    g.last = index;
    g.write = g.write || write;
    g.members++;
    members_[index] = {address.displacement, open_[i]};
    return;
  }
  if (groups_.size() >= kNone) return;
  if (open_.size() == kMaxOpen) open_.erase(open_.begin());
  const auto number = static_cast<uint16_t>(groups_.size());
  groups_.push_back({address.root, address.displacement, static_cast<uint32_t>(end - address.displacement), index, 1,
                     info.mode, address.narrow, write});
  open_.push_back(number);
  members_[index] = {address.displacement, number};
}

void AccessGroups::run(const ir::Unit& unit, const ir::Block& block) {
  groups_.clear();
  open_.clear();
  touched_.clear();
  block_++;
  // A device register that an exact unit writes may change what is mapped where.
  if (unit.exact) return;
  const uint32_t end = block.first + block.count;
  for (uint32_t i = block.first; i < end; i++) {
    const Inst& in = unit.insts[i];
    canonical_[i] = i;
    if (in.op == Op::load || in.op == Op::store) {
      add(unit, i);
    } else if (in.op == Op::get) {
      Slot& s = slot(in.imm);
      if (s.value == ir::kNoValue) s.value = i;
      canonical_[i] = s.value;
    } else if (in.op == Op::set) {
      slot(in.imm).value = canonical_[in.args[0]];
    } else if (in.op == Op::call) {
      const auto& helper = *reinterpret_cast<const ir::HelperDesc*>(in.imm);
      forget(helper.writes);
      if (!helper.pure && (helper.keeps == 0 || helper.writes.end != 0)) open_.clear();
    }
  }
  for (uint32_t i = block.first; i < end; i++) {
    Member& m = members_[i];
    if (m.group != kNone && groups_[m.group].members < 2) m.group = kNone;
  }
}

}  // namespace panda::x64
