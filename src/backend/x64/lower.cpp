#include "backend/x64/lower.h"

namespace panda::x64 {

const Lowering::Emitter Lowering::kEmitters[ir::kOpCount] = {
#define OP(name, result, a, b, c, effects) &Lowering::lower_##name,
#include "ir/opcodes.inc"
#undef OP
};

Assembler::Offset Lowering::run(const ir::Unit& unit, exec::TranslationUnit& handle) {
  unit_ = &unit;
  handle_ = &handle;
  block_at_.assign(unit.blocks.size(), kNotYet);
  block_jumps_.clear();
  slow_stubs_.clear();
  cold_accesses_.clear();
  dirty_.clear();
  dirty_constants_.clear();
  tokens_.clear();
  cold_stubs_.clear();
  tail_jumps_.clear();
  other_addends_.clear();
  exits_.assign(unit.exit_count, ExitJump{});
  current_insn_ = 0;
  const Assembler::Offset entry = c_.here();
  stores_.clear();
  count_references(unit);
  loop_exit_ = find_loop_exit();
  if (loop_exit_ != ir::kNoValue) {
    const ir::Block& way_back = unit.blocks[loop_exit_];
    loop_exit_number_ = unit.insts[way_back.first + way_back.count - 1].aux;
  }
  chains_.run(unit, loop_exit_ != ir::kNoValue && thunks_.addend_count != 0 ? &unit.blocks[0] : nullptr);
  ra_.begin_unit(unit);
  groups_.begin_unit(unit);
  x87_.begin_unit(unit);
  for (block_ = 0; block_ < unit.blocks.size(); block_++) {
    const ir::Block& block = unit.blocks[block_];
    if (block.count == 0 || skipped_[block_] != 0) continue;
    block_at_[block_] = c_.here();
    groups_.run(unit, block);
    ra_.begin_block(block, groups_);
    x87_.begin_block();
    if (loop_exit_ != ir::kNoValue) {
      ra_.begin_loop(block);
      loop_head_ = c_.here();
    }
    for (index_ = block.first; index_ < block.first + block.count; index_++) {
      const ValueInfo& v = ra_.info(index_);
      const Inst& in = unit.insts[index_];
      if (v.deferred || v.lazy || (v.dead && in.op != ir::Op::set)) continue;
      ra_.begin_op(index_);
      x87_.begin_op(index_);
      if (v.dead) {
        ra_.forget_slot(in.imm);
        ra_.end_op();
        continue;
      }
      (this->*kEmitters[static_cast<unsigned>(in.op)])(in);
      ra_.end_op();
    }
  }
  for (const BlockJump& j : block_jumps_) c_.patch(j.after, block_at_[j.block]);
  emit_cold_stubs();
  emit_cold_accesses();
  emit_slow_stubs();
  emit_other_addends();
  emit_tail();
  return entry;
}

// --- what needs no code or hardly any

void Lowering::lower_konst(const Inst&) {}  // materialized by whoever needs it in a register
void Lowering::lower_get(const Inst& in) {
  if (in.type == ir::Type::F80) return x87_.get(index_, in.imm);
  ra_.get(index_, in.imm);
}
void Lowering::lower_set(const Inst& in) {
  if (in.type != ir::Type::F80) return ra_.set(index_, in.imm, in.args[0]);
  if (x87_.c1_in_host() && x87_.set_moves(in.args[0], in.imm)) x87_sync();
  x87_.set(index_, in.imm, in.args[0]);
}
void Lowering::lower_insn(const Inst& in) { current_insn_ = static_cast<uint32_t>(in.imm); }
void Lowering::lower_exact_begin(const Inst&) { c_.mov(c_.qword[c_.rbp + PANDA_CONTEXT(exact)], 1); }

void Lowering::lower_insn_count(const Inst&) {
  const int d = ra_.result(index_);
  c_.mov(reg64(d), c_.qword[c_.rbp + PANDA_CONTEXT(count_limit)]);
  c_.sub(reg64(d), reg64(kBudget));
  const uint16_t refund = unit_->guest_insns[current_insn_].refund;
  if (refund != 0) c_.sub(reg64(d), refund);
  ra_.define(index_, d);
}

void Lowering::lower_bump(const Inst& in) {
  // The displacement counts from the end of the instruction, whose immediate takes one byte or four.
  const int size = in.aux < 128 ? 8 : 11;
  const int64_t distance = static_cast<int64_t>(in.imm) - reinterpret_cast<int64_t>(c_.getCurr()) - size;
  if (distance == static_cast<int32_t>(distance)) {
    c_.add(c_.qword[c_.rip + static_cast<int>(distance)], in.aux);
    return;
  }
  const int t = ra_.scratch();
  c_.mov(reg64(t), in.imm);
  c_.add(c_.qword[reg64(t)], in.aux);
}

}  // namespace panda::x64
