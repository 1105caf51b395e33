#include "backend/x64/alloc_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "backend/x64/call_clobbers.h"
#include "ir/printer.h"

namespace panda::x64 {

using ir::Op;

void AllocChecker::begin_unit(const ir::Unit& unit) {
  unit_ = &unit;
  names_.resize(unit.insts.size());
  for (uint32_t v = 0; v < names_.size(); v++) names_[v] = v;
  next_ = static_cast<Symbol>(names_.size());
  problem_.clear();
  blind_ = true;
}

void AllocChecker::fail(std::string text) {
  if (!problem_.empty()) return;
  problem_ = fmt::format("at op {} ({}): {}", op_, ir::op_name(unit_->insts[op_].op), text);
}

AllocChecker::Slot& AllocChecker::slot(uint32_t offset) {
  Slot& s = slots_[offset];
  if (s.means == kNothing) s.means = s.memory = next_++;
  return s;
}

AllocChecker::Symbol& AllocChecker::spill(uint32_t place) { return spills_.try_emplace(place, kNothing).first->second; }

void AllocChecker::expect(Symbol found, ir::ValueId value, const char* where, uint32_t number) {
  if (found == name(value)) return;
  const std::string what = found == kNothing ? "nothing" : fmt::format("value {}", found);
  fail(fmt::format("{} {} should hold value {} (known as {}) and holds {}", where, number, value, name(value), what));
}

// The guest-state slots in [begin, end) are about to be looked at.
void AllocChecker::expect_in_memory(uint32_t begin, uint32_t end) {
  for (const auto& [offset, s] : slots_) {
    if (offset >= end || offset + 1 <= begin) continue;
    if (s.memory != s.means) fail(fmt::format("guest state [{}] is not in memory", offset));
  }
}

void AllocChecker::begin_op(uint32_t index) {
  op_ = index;
  const ir::Inst& in = unit_->insts[index];
  if (in.type == ir::Type::F80) return;  // lives on the host's x87 stack, of which X87Stack keeps account
  switch (in.op) {
    case Op::get:
      names_[index] = slot(static_cast<uint32_t>(in.imm)).means;
      break;
    case Op::set:
      slot(static_cast<uint32_t>(in.imm)).means = name(in.args[0]);
      break;
    default:
      break;
  }
}

void AllocChecker::call() {
  const auto& helper = *reinterpret_cast<const ir::HelperDesc*>(unit_->insts[op_].imm);
  if (helper.may_exit) {
    expect_in_memory(0, ~uint32_t{0});
  } else if (helper.reads.begin < helper.reads.end) {
    expect_in_memory(helper.reads.begin, helper.reads.end);
  }
  for (unsigned r = 0; r < 32; r++) {
    if ((call_clobbers(helper) >> r & 1) != 0) regs_[r] = kNothing;
  }
  if (helper.writes.begin >= helper.writes.end) return;
  for (auto& [offset, s] : slots_) {
    if (helper.writes.touches(offset, 1)) s.means = s.memory = next_++;
  }
}

void AllocChecker::slow_path(std::span<const SlowBinding> bindings) {
  if (blind_) return;
  std::map<uint32_t, const SlowBinding*> told;
  for (const SlowBinding& b : bindings) told[b.offset] = &b;
  for (const auto& [offset, s] : slots_) {
    const auto found = told.find(offset);
    if (found == told.end()) {
      if (s.memory != s.means) fail(fmt::format("the slow path is not told of guest state [{}]", offset));
      continue;
    }
    const SlowBinding& b = *found->second;
    if (s.means != name(b.value)) {
      fail(fmt::format("the slow path writes value {} to guest state [{}], which is {}", b.value, offset, s.means));
    } else if (b.reg == kLazyReg) {
      continue;  // computed from its operands
    } else if (b.reg >= 0) {
      expect(regs_[b.reg], b.value, "for the slow path, register", static_cast<uint32_t>(b.reg));
    } else if (const ir::Inst& in = unit_->insts[b.value]; in.op != Op::konst || in.imm != b.constant) {
      fail(fmt::format("the slow path writes the constant {:#x} to guest state [{}]", b.constant, offset));
    }
  }
}

// From the second round on, memory is behind with what the loop sets.
void AllocChecker::loop_head() {
  for (auto& [offset, s] : slots_) {
    if (s.set_in_loop) s.memory = next_++;
  }
}

void AllocChecker::loop_back() {
  for (const auto& [offset, s] : slots_) {
    if (s.carried_in >= 0 && regs_[s.carried_in] != s.means) {
      fail(fmt::format("the loop takes guest state [{}] from register {}, which does not hold it", offset,
                       s.carried_in));
    }
    if (!s.set_in_loop && s.memory != s.means) fail(fmt::format("guest state [{}] is not in memory", offset));
  }
  blind_ = true;  // until the next block
}

// Nothing crosses the end of a block in a register.
void AllocChecker::finish() {
  if (!blind_) expect_in_memory(0, ~uint32_t{0});
  blind_ = true;
}

void AllocChecker::event(const AllocEvent& e) {
  events_++;
  if (e.kind == AllocEvent::Block) {
    finish();
    std::fill(std::begin(regs_), std::end(regs_), kNothing);
    spills_.clear();
    slots_.clear();
    blind_ = false;
    op_ = unit_->blocks[e.value].first;
    return;
  }
  if (blind_) return;
  Symbol* const reg = e.reg >= 0 ? &regs_[e.reg] : nullptr;
  const auto number = static_cast<uint32_t>(e.reg);
  switch (e.kind) {
    case AllocEvent::Block:
      break;
    case AllocEvent::Op:
      begin_op(e.value);
      break;
    case AllocEvent::LoadConst:
      if (unit_->insts[e.value].op != Op::konst) fail(fmt::format("value {} is no constant", e.value));
      *reg = name(e.value);
      break;
    case AllocEvent::LoadSpill:
      expect(spill(e.place), e.value, "spill slot", e.place);
      *reg = name(e.value);
      break;
    case AllocEvent::LoadSlot:
      expect(slot(e.place).memory, e.value, "guest state", e.place);
      *reg = name(e.value);
      break;
    case AllocEvent::Copy:
      *reg = regs_[e.from];
      break;
    case AllocEvent::Spill:
      spill(e.place) = *reg;
      break;
    case AllocEvent::StoreSlot:
      if (reg != nullptr) expect(*reg, e.value, "register", number);
      slot(e.place).memory = reg != nullptr ? *reg : name(e.value);
      break;
    case AllocEvent::Use:
      expect(*reg, e.value, "register", number);
      break;
    case AllocEvent::Take:
      expect(*reg, e.value, "register", number);
      *reg = kNothing;
      break;
    case AllocEvent::Clobber:
      *reg = kNothing;
      break;
    case AllocEvent::Define:
      *reg = name(e.value);
      break;
    case AllocEvent::UseSpill:
      expect(spill(e.place), e.value, "spill slot", e.place);
      break;
    case AllocEvent::UseSlot:
      expect(slot(e.place).memory, e.value, "guest state", e.place);
      break;
    case AllocEvent::Alias:
      // What a get is known as follows from the sets before it; other aliases are the emitters' word.
      if (unit_->insts[e.value].op == Op::get) {
        if (name(e.value) != name(e.from)) fail(fmt::format("value {} is not value {}", e.value, e.from));
      } else {
        names_[e.value] = name(e.from);
      }
      break;
    case AllocEvent::Call:
      call();
      break;
    case AllocEvent::Carry: {
      Slot& s = slot(e.place);
      names_[e.value] = s.means;
      s.carried_in = e.reg;
      s.set_in_loop = e.from != 0;
      break;
    }
    case AllocEvent::LoopHead:
      loop_head();
      break;
    case AllocEvent::LoadCarried:
      *reg = slot(e.place).memory;
      break;
    case AllocEvent::Exchange:
      std::swap(*reg, regs_[e.from]);
      break;
    case AllocEvent::LoopBack:
      loop_back();
      break;
  }
}

}  // namespace panda::x64
