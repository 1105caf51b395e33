// A flag that was made a number only to be tested again: icmp of a zero-extended I1, and branches
// on such, are brought back to the compare that they came from.
#include <utility>

#include "ir/opt/passes.h"

namespace panda::ir::opt {
namespace {

bool is_constant(const Unit& unit, ValueId v, uint64_t value) {
  return unit.insts[v].op == Op::konst && unit.insts[v].imm == value;
}

// The truth that value `v` (an I1) has as `base`, negated or not.
struct Truth {
  ValueId base;
  bool negated;
};

Truth truth_of(const Unit& unit, ValueId v) {
  Truth t{v, false};
  for (;;) {
    const Inst& in = unit.insts[t.base];
    if (in.op == Op::xor_ && in.type == Type::I1 && is_constant(unit, in.args[1], 1)) {
      t = {in.args[0], !t.negated};
      continue;
    }
    const bool equal = in.op == Op::icmp && static_cast<Cond>(in.imm) == Cond::Eq;
    const bool differs = in.op == Op::icmp && static_cast<Cond>(in.imm) == Cond::Ne;
    if ((equal || differs) && is_constant(unit, in.args[1], 0)) {
      const Inst& tested = unit.insts[in.args[0]];
      if (tested.op == Op::zext && unit.insts[tested.args[0]].type == Type::I1) {
        t = {tested.args[0], t.negated != equal};
        continue;
      }
      if (tested.type == Type::I1) {
        t = {in.args[0], t.negated != equal};
        continue;
      }
    }
    return t;
  }
}

void simplify_compare(Unit& unit, uint32_t i) {
  const Truth t = truth_of(unit, i);
  if (t.base == i) return;
  const Inst& base = unit.insts[t.base];
  if (base.op != Op::icmp) return;
  const uint64_t condition = t.negated ? static_cast<uint64_t>(inverse(static_cast<Cond>(base.imm))) : base.imm;
  unit.insts[i] = base;
  unit.insts[i].imm = condition;
}

void simplify_branch(Unit& unit, Inst& in) {
  uint64_t if_true = in.aux;
  uint64_t if_false = in.imm;
  const Truth t = truth_of(unit, in.args[0]);
  if (t.negated) std::swap(if_true, if_false);
  in.args[0] = t.base;
  in.aux = static_cast<uint32_t>(if_true);
  in.imm = if_false;
  const Inst& base = unit.insts[t.base];
  if (base.op != Op::konst && if_true != if_false) return;
  const uint64_t target = base.op == Op::konst && base.imm == 0 ? if_false : if_true;
  Inst jump{};
  jump.op = Op::br;
  jump.type = Type::Void;
  jump.aux = static_cast<uint32_t>(target);
  in = jump;
}

}  // namespace

void simplify_branches(Unit& unit, Scratch&) {
  for (const Block& block : unit.blocks) {
    for (uint32_t i = block.first; i < block.first + block.count; i++) {
      Inst& in = unit.insts[i];
      if (in.op == Op::icmp) simplify_compare(unit, i);
      if (in.op == Op::brc) simplify_branch(unit, in);
    }
  }
}

}  // namespace panda::ir::opt
