// Forward in each block, so that a folded operand is seen by its users. Instructions are rewritten
// where they stand; what becomes unused is left to remove_dead_values.
#include <numeric>

#include "ir/fold.h"
#include "ir/opt/passes.h"

namespace panda::ir::opt {
namespace {

bool is_integer_op(Op op) {
  return (op >= Op::add && op <= Op::bswap && op != Op::mulhu && op != Op::mulhs) ||
         (op >= Op::zext && op <= Op::select);
}

void make_constant(Inst& in, uint64_t value) {
  Inst constant{};
  constant.op = Op::konst;
  constant.type = in.type;
  constant.imm = value & mask_of(in.type);
  in = constant;
}

// A conversion of a conversion: the value that the outer one comes to, or kNoValue.
ValueId undone(const Unit& unit, const Inst& in) {
  const Inst& inner = unit.insts[in.args[0]];
  if (in.op == Op::trunc && (inner.op == Op::zext || inner.op == Op::sext)) {
    const ValueId source = inner.args[0];
    if (unit.insts[source].type == in.type) return source;
  }
  // The low bits of a deposit at bit 0 are what was deposited.
  if (in.op == Op::trunc && inner.op == Op::deposit && (inner.imm & 0xff) == 0 &&
      inner.imm >> 8 >= size_bits(in.type)) {
    const Inst& low = unit.insts[inner.args[1]];
    if ((low.op == Op::zext || low.op == Op::sext) && unit.insts[low.args[0]].type == in.type) return low.args[0];
  }
  return kNoValue;
}

// What instruction i's value may be replaced by; rewrites it into a constant where it is one.
ValueId folded(Unit& unit, uint32_t i) {
  Inst& in = unit.insts[i];
  if (!is_integer_op(in.op) || in.nargs == 0) return i;
  uint64_t v[4] = {};
  bool known[4] = {};
  bool all = true;
  for (unsigned k = 0; k < in.nargs; k++) {
    const Inst& operand = unit.insts[in.args[k]];
    known[k] = operand.op == Op::konst && is_int(operand.type);
    v[k] = operand.imm;
    all = all && known[k];
  }
  const Type from = unit.insts[in.args[0]].type;
  if (all) {
    if (const auto value = fold_int(in.op, in.type, from, v[0], v[1], v[2], in.imm)) {
      make_constant(in, *value);
      return i;
    }
  }
  const bool same = in.nargs >= 2 && in.args[0] == in.args[1];
  const Simplified s = simplify(in.op, in.type, from, in.imm, known, v, same);
  if (s.kind == Simplified::Operand) return in.args[s.operand];
  if (s.kind == Simplified::Constant) {
    make_constant(in, s.value);
    return i;
  }
  const ValueId source = undone(unit, in);
  return source != kNoValue ? source : i;
}

}  // namespace

void fold_constants(Unit& unit, Scratch& scratch) {
  auto& replacement = scratch.replacement;
  replacement.resize(unit.insts.size());
  std::iota(replacement.begin(), replacement.end(), ValueId{0});
  for (const Block& block : unit.blocks) {
    for (uint32_t i = block.first; i < block.first + block.count; i++) {
      Inst& in = unit.insts[i];
      for (unsigned k = 0; k < in.nargs; k++) in.args[k] = replacement[in.args[k]];
      replacement[i] = folded(unit, i);
    }
  }
}

}  // namespace panda::ir::opt
