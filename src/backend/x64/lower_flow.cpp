// Counting, branches, exits, helper calls, and the unit's cold part.
#include <algorithm>

#include "backend/x64/call_clobbers.h"
#include "backend/x64/lower.h"
#include "backend/x64/report_stub.h"
#include "base/check.h"
#include "ir/report_call.h"

namespace panda::x64 {

using exec::Exit;
using ir::Op;
using ir::Type;

// --- counting

uint32_t Lowering::next_insn_index() const {
  const ir::Block& block = unit_->blocks[block_];
  for (uint32_t i = index_; i < block.first + block.count; i++) {
    if (unit_->insts[i].op == Op::insn) return static_cast<uint32_t>(unit_->insts[i].imm);
  }
  return current_insn_;
}

void Lowering::lower_count(const Inst& in) {
  if (in.imm == 0) return;
  if (loop_exit_ == ir::kNoValue) ra_.flush();
  ra_.tell_slow_path();
  const auto first = static_cast<uint32_t>(stores_.size());
  ra_.dirty_slots(stores_);
  c_.sub(reg64(kBudget), static_cast<uint32_t>(in.imm));
  cold_stubs_.push_back({Exit::Budget, c_.jcc_forward(Cc::S), next_insn_index(), in.imm, first,
                         static_cast<uint32_t>(stores_.size()) - first});
}

// --- ends of blocks

void Lowering::count_references(const ir::Unit& unit) {
  references_.assign(unit.blocks.size(), 0);
  skipped_.assign(unit.blocks.size(), 0);
  references_[0] = 1;
  for (const ir::Block& block : unit.blocks) {
    if (block.count == 0) continue;
    const Inst& last = unit.insts[block.first + block.count - 1];
    if (last.op == Op::br || last.op == Op::brc) references_[last.aux]++;
    if (last.op == Op::brc) references_[last.imm]++;
  }
}

bool Lowering::is_lone_exit(uint32_t block) const {
  const ir::Block& b = unit_->blocks[block];
  return b.count == 1 && references_[block] == 1 && unit_->insts[b.first].op == Op::exit_direct;
}

void Lowering::leave_by(Assembler::Offset jump, uint32_t block) {
  const Inst& exit = unit_->insts[unit_->blocks[block].first];
  cold_stubs_.push_back({Exit::Direct, jump, exit.aux, exit.imm});
  skipped_[block] = 1;
}

// Does the code of `block` come right behind this block's?
bool Lowering::follows(uint32_t block) const {
  uint32_t next = block_ + 1;
  while (next < unit_->blocks.size() && (skipped_[next] != 0 || unit_->blocks[next].count == 0)) next++;
  return next == block;
}

void Lowering::jump_to(uint32_t block) {
  if (follows(block)) return;
  if (block_at_[block] != kNotYet) {
    c_.jmp_back(block_at_[block]);
  } else {
    block_jumps_.push_back({c_.jmp_forward(), block});
  }
}

void Lowering::jump_if(Cc cc, uint32_t block) {
  if (block_at_[block] != kNotYet) {
    c_.jcc_back(cc, block_at_[block]);
  } else {
    block_jumps_.push_back({c_.jcc_forward(cc), block});
  }
}

void Lowering::lower_br(const Inst& in) {
  x87_flush();
  ra_.flush();
  jump_to(in.aux);
}

bool Lowering::everything_inline(const ir::Block& block) const {
  bool counts = false;
  for (const Inst& in : unit_->body(block)) {
    counts |= in.op == Op::count;
    if (in.op == Op::call && !reinterpret_cast<const ir::HelperDesc*>(in.imm)->pure) return false;
  }
  return counts;
}

// Is the unit one block that branches to itself or out, and does everything inline? Then the block
// that stands for the way back, which in a region is that block itself.
uint32_t Lowering::find_loop_exit() const {
  const ir::Block& body = unit_->blocks[0];
  if (unit_->exact || body.count == 0 || unit_->guest_insns.empty()) return ir::kNoValue;
  const uint64_t head = unit_->guest_insns[0].pc;
  const Inst& last = unit_->insts[body.first + body.count - 1];
  if (unit_->blocks.size() == 1) {
    return last.op == Op::exit_direct && last.imm == head && everything_inline(body) ? 0 : ir::kNoValue;
  }
  if (unit_->blocks.size() != 3 || last.op != Op::brc) return ir::kNoValue;
  const auto if_false = static_cast<uint32_t>(last.imm);
  if (!is_lone_exit(last.aux) || !is_lone_exit(if_false) || !everything_inline(body)) return ir::kNoValue;
  for (const uint32_t b : {last.aux, if_false}) {
    if (unit_->insts[unit_->blocks[b].first].imm == head) return b;
  }
  return ir::kNoValue;
}

void Lowering::end_region_loop(const Inst& exit) {
  x87_flush();
  ra_.flush_not_carried();
  const auto first = static_cast<uint32_t>(stores_.size());
  ra_.move_to_loop_head(stores_);
  cold_stubs_.push_back(
      {Exit::Direct, c_.jmp_forward(), exit.aux, exit.imm, first, static_cast<uint32_t>(stores_.size()) - first});
}

// What is dirty is stored out of line.
void Lowering::lower_exit_if(const Inst& in) {
  const ir::ExitIf e = ir::ExitIf::unpack(in.aux);
  x87_flush();
  const Cc cc = condition(in.args[0]);
  ra_.tell_slow_path();
  const auto first = static_cast<uint32_t>(stores_.size());
  ra_.dirty_slots(stores_);
  cold_stubs_.push_back({e.looked_up ? Exit::Indirect : Exit::Direct, c_.jcc_forward(e.if_false ? invert(cc) : cc),
                         e.exit, in.imm, first, static_cast<uint32_t>(stores_.size()) - first,
                         unit_->guest_insns[current_insn_].refund - 1u});
}

void Lowering::end_loop(const Inst& in) {
  const auto if_false = static_cast<uint32_t>(in.imm);
  const bool again_if_true = in.aux == loop_exit_;
  x87_flush();
  ra_.flush_not_carried();
  const Cc cc = condition(in.args[0]);  // from here on the flags must live
  const auto stub_stores = [&](uint32_t first) {
    cold_stubs_.back().first_store = first;
    cold_stubs_.back().stores = static_cast<uint32_t>(stores_.size()) - first;
  };
  ra_.tell_slow_path();
  auto first = static_cast<uint32_t>(stores_.size());
  ra_.dirty_slots(stores_);
  leave_by(c_.jcc_forward(again_if_true ? invert(cc) : cc), again_if_true ? if_false : in.aux);
  stub_stores(first);
  first = static_cast<uint32_t>(stores_.size());
  ra_.move_to_loop_head(stores_);
  leave_by(c_.jmp_forward(), loop_exit_);
  stub_stores(first);
}

void Lowering::lower_brc(const Inst& in) {
  if (loop_exit_ != ir::kNoValue) return end_loop(in);
  x87_flush();
  ra_.flush();
  const Cc cc = condition(in.args[0]);
  const auto if_true = in.aux, if_false = static_cast<uint32_t>(in.imm);
  if (is_lone_exit(if_true) || is_lone_exit(if_false)) {
    const bool swap = !is_lone_exit(if_true);
    const uint32_t out = swap ? if_false : if_true, other = swap ? if_true : if_false;
    leave_by(c_.jcc_forward(swap ? invert(cc) : cc), out);
    if (is_lone_exit(other)) {
      leave_by(c_.jmp_forward(), other);
    } else {
      jump_to(other);
    }
    return;
  }
  if (follows(if_true)) {
    jump_if(invert(cc), if_false);
  } else {
    jump_if(cc, if_true);
    jump_to(if_false);
  }
}

void Lowering::store_pc(uint64_t pc) {
  const Xbyak::RegExp at = c_.rbp + static_cast<int>(unit_->pc_offset);
  const auto low = static_cast<uint32_t>(pc);
  if (unit_->pc_type == Type::I32) {
    c_.mov(c_.dword[at], low);
  } else if (static_cast<int64_t>(pc) == static_cast<int32_t>(low)) {
    c_.mov(c_.qword[at], pc);
  } else {
    c_.mov(c_.dword[at], low);
    c_.mov(c_.dword[at + 4], static_cast<uint32_t>(pc >> 32));
  }
}

void Lowering::lower_exit_direct(const Inst& in) {
  if (loop_exit_ != ir::kNoValue) return end_region_loop(in);
  x87_flush();
  ra_.flush();
  cold_stubs_.push_back({Exit::Direct, c_.jmp_forward(), in.aux, in.imm});
}

// To a pc that is known, but that another page holds. t and u: scratch registers.
void Lowering::exit_to_other_page(uint64_t pc, int t, int u) {
  const auto at = static_cast<int>(jump_cache_index(pc) * sizeof(JumpCacheEntry));
  c_.mov(reg64(t), c_.qword[c_.rbp + PANDA_CONTEXT(jump_cache)]);
  const Xbyak::RegExp entry_pc = reg64(t) + (at + static_cast<int>(offsetof(JumpCacheEntry, pc)));
  if (static_cast<int64_t>(pc) == static_cast<int32_t>(pc)) {
    c_.cmp(c_.qword[entry_pc], static_cast<uint32_t>(pc));
  } else {
    if (pc <= 0xffff'ffff) {
      c_.mov(reg32(u), static_cast<uint32_t>(pc));
    } else {
      c_.mov(reg64(u), pc);
    }
    c_.cmp(c_.qword[entry_pc], reg64(u));
  }
  const Assembler::Offset miss = c_.jcc_short(Cc::Ne);
  c_.jmp(c_.qword[reg64(t) + (at + static_cast<int>(offsetof(JumpCacheEntry, code)))]);
  c_.patch_short(miss, c_.here());
  store_pc(pc);
  exit_with(Exit::Indirect, 0);
}

void Lowering::lower_exit_indirect(const Inst& in) {
  x87_flush();
  ra_.flush();
  if (uint64_t constant = 0; ra_.is_const(in.args[0], &constant)) {
    return exit_to_other_page(constant, ra_.scratch(), ra_.scratch());
  }
  const int pc = ra_.use(in.args[0]);
  const int t = ra_.scratch();
  // index = (pc ^ pc >> 4) & mask, times the size of an entry
  static_assert(sizeof(JumpCacheEntry) == 16);
  if (c_.features.bmi2) {
    c_.rorx(reg64(t), reg64(pc), 60);
  } else {
    c_.mov(reg64(t), reg64(pc));
    c_.shl(reg64(t), 4);
  }
  const int table = ra_.scratch();
  c_.mov(reg64(table), c_.qword[c_.rbp + PANDA_CONTEXT(jump_cache)]);
  c_.xor_(reg32(t), reg32(pc));
  c_.and_(reg32(t), static_cast<uint32_t>(kJumpCacheMask << 4));
  const Xbyak::RegExp entry = reg64(table) + reg64(t);
  c_.cmp(reg64(pc), c_.qword[entry + static_cast<int>(offsetof(JumpCacheEntry, pc))]);
  const Assembler::Offset miss = c_.jcc_short(Cc::Ne);
  c_.jmp(c_.qword[entry + static_cast<int>(offsetof(JumpCacheEntry, code))]);
  c_.patch_short(miss, c_.here());
  const Xbyak::RegExp slot = c_.rbp + static_cast<int>(unit_->pc_offset);
  if (unit_->pc_type == Type::I32) {
    c_.mov(c_.dword[slot], reg32(pc));
  } else {
    c_.mov(c_.qword[slot], reg64(pc));
  }
  exit_with(Exit::Indirect, 0);
}

void Lowering::lower_exit_dispatch(const Inst&) {
  x87_flush();
  ra_.flush();
  if (unit_->exact) {
    exit_with(Exit::Dispatch, 0);
  } else {
    c_.patch(c_.jmp_forward(), thunks_.dispatch);
  }
}

// --- helpers

void Lowering::call_address(const void* function) {
  const int64_t distance = reinterpret_cast<int64_t>(function) - reinterpret_cast<int64_t>(c_.getCurr()) - 5;
  if (distance == static_cast<int32_t>(distance)) {
    c_.db(0xe8);
    c_.dd(static_cast<uint32_t>(distance));
  } else {
    c_.mov(c_.rax, reinterpret_cast<uint64_t>(function));
    c_.call(c_.rax);
  }
}

void Lowering::load_constant(int to, uint64_t value) {
  const int64_t distance = static_cast<int64_t>(value) - reinterpret_cast<int64_t>(c_.getCurr()) - 7;
  if (value <= 0xffffffff) {
    c_.mov(reg32(to), static_cast<uint32_t>(value));
  } else if (distance == static_cast<int32_t>(distance)) {
    c_.lea(reg64(to), c_.ptr[c_.rip + static_cast<int>(distance)]);
  } else {
    c_.mov(reg64(to), value);
  }
}

void Lowering::call_through(const void* cell) {
  const int64_t distance = reinterpret_cast<int64_t>(cell) - reinterpret_cast<int64_t>(c_.getCurr()) - 6;
  if (distance == static_cast<int32_t>(distance)) {
    c_.call(c_.qword[c_.rip + static_cast<int>(distance)]);
  } else {
    c_.mov(c_.rax, reinterpret_cast<uint64_t>(cell));
    c_.call(c_.qword[c_.rax]);
  }
}

// Arguments into rsi, rdx, rcx, r8 (one further where a context comes first), whatever order they stand in; then
// everything live out of the caller-saved registers.
void Lowering::move_arguments(const Inst& in, const ir::HelperDesc& desc) {
  const unsigned first = desc.has_context ? 2 : 1;
  const int* const kTo = kParameterRegs + first;
  const auto ignored = [&](unsigned i) { return (desc.ignores >> (first + i) & 1) != 0; };
  const ir::ReportCall* const report = ir::as_report(desc);
  void* const buffer = report != nullptr ? report->buffer : nullptr;
  const auto store_in_buffer = [&](ir::ValueId v) {
    const Type t = ra_.type(v);
    int32_t imm = 0;
    const bool is_imm = ra_.is_imm32(v, &imm) && ra_.reg_of(v) < 0;
    const int data = is_imm ? kConstantReg : ra_.use(v);
    const int at = ra_.scratch();
    load_constant(at, reinterpret_cast<uint64_t>(buffer));
    emit_store(t, data, is_imm ? static_cast<uint64_t>(int64_t{imm}) & ir::mask_of(t) : 0, reg64(at));
  };
  int from[4];
  uint64_t constant[4] = {};
  for (unsigned i = 0; i < in.nargs; i++) {
    const bool stored = buffer != nullptr && i + 1 == in.nargs;
    const bool is_const = stored || ra_.is_const(in.args[i], &constant[i]);
    if (stored) constant[i] = reinterpret_cast<uint64_t>(buffer);
    if (stored && !ignored(i)) store_in_buffer(in.args[i]);
    from[i] = is_const || ignored(i) ? -1 : ra_.use(in.args[i]);
    if (from[i] < 0) ra_.touch(in.args[i]);
  }
  ra_.forget_written(desc);
  ra_.save_for_call(call_clobbers(desc));  // leaves the contents of the `from` registers alone
  unsigned pending = 0;
  for (unsigned i = 0; i < in.nargs; i++) {
    if (from[i] >= 0 && from[i] != kTo[i]) pending |= 1u << i;
  }
  while (pending != 0) {
    bool moved = false;
    for (unsigned i = 0; i < in.nargs; i++) {
      if ((pending >> i & 1) == 0) continue;
      bool blocked = false;
      for (unsigned j = 0; j < in.nargs; j++) blocked |= j != i && (pending >> j & 1) != 0 && from[j] == kTo[i];
      // An argument that is already in place counts too: it is not pending, and nobody's target.
      if (blocked) continue;
      c_.mov(reg64(kTo[i]), reg64(from[i]));
      pending &= ~(1u << i);
      moved = true;
    }
    if (moved) continue;
    // Only cycles are left: exchange, and whoever wanted the one register finds it in the other.
    unsigned i = 0;
    while ((pending >> i & 1) == 0) i++;
    c_.xchg(reg64(kTo[i]), reg64(from[i]));
    for (unsigned j = 0; j < in.nargs; j++) {
      if (j == i || (pending >> j & 1) == 0) continue;
      if (from[j] == kTo[i]) {
        from[j] = from[i];
      } else if (from[j] == from[i]) {
        from[j] = kTo[i];
      }
      if (from[j] == kTo[j]) pending &= ~(1u << j);
    }
    pending &= ~(1u << i);
  }
  for (unsigned i = 0; i < in.nargs; i++) {
    const Type t = ra_.type(in.args[i]);
    if (from[i] < 0) {
      if (!ignored(i)) load_constant(kTo[i], constant[i]);
    } else if (t != Type::I64 && !ra_.is_zero_extended(in.args[i])) {
      extend(kTo[i], kTo[i], t, false);
    }
  }
}

void Lowering::lower_call(const Inst& in) {
  const auto& desc = *reinterpret_cast<const ir::HelperDesc*>(in.imm);
  const bool looks = desc.reads.end != 0 || desc.writes.end != 0;
  if (desc.keeps == 0 || looks) x87_flush();  // what keeps registers leaves the x87 alone
  ra_.sync_for_call(desc);
  const ir::ReportCall* const report = ir::as_report(desc);
  const bool filters = report != nullptr && report->then != nullptr;
  if (filters) {
    constexpr int kAt = kSaveArea + static_cast<int>(offsetof(SaveArea, address));
    c_.mov(c_.qword[c_.rsp + kAt], reg64(ra_.use(in.args[1])));
  }
  move_arguments(in, desc);
  const unsigned state = desc.has_context ? 1 : 0;
  if ((desc.ignores >> state & 1) == 0) c_.mov(reg64(kParameterRegs[state]), c_.rbp);
  if (desc.has_context && (desc.ignores & 1) == 0) load_constant(7, reinterpret_cast<uint64_t>(desc.context));
  if (desc.uses_budget) c_.mov(c_.qword[c_.rbp + PANDA_CONTEXT(budget)], reg64(kBudget));
  // Such a helper may use the host's MXCSR or the context's copy: whichever it changed is taken over.
  const Xbyak::Address mxcsr = c_.dword[c_.rbp + PANDA_CONTEXT(guest_mxcsr)];
  const Xbyak::Address before = c_.dword[c_.rbp + PANDA_CONTEXT(scratch[5])];
  if (desc.uses_fp) {
    c_.features.avx ? c_.vstmxcsr(mxcsr) : c_.stmxcsr(mxcsr);
    c_.features.avx ? c_.vstmxcsr(before) : c_.stmxcsr(before);
  }
  desc.indirect ? call_through(desc.function) : call_address(desc.function);
  if (desc.uses_fp) {
    c_.mov(c_.ecx, mxcsr);
    c_.cmp(c_.ecx, before);
    const Assembler::Offset same = c_.jcc_short(Cc::E);
    c_.features.avx ? c_.vldmxcsr(mxcsr) : c_.ldmxcsr(mxcsr);
    c_.patch_short(same, c_.here());
  }
  if (desc.uses_budget) c_.mov(reg64(kBudget), c_.qword[c_.rbp + PANDA_CONTEXT(budget)]);
  if (desc.may_exit) {
    c_.cmp(c_.dword[c_.rbp + PANDA_CONTEXT(exit_request)], 0);
    cold_stubs_.push_back({Exit::Request, c_.jcc_forward(Cc::Ne), current_insn_, 0});
  }
  if (filters) {
    slow_stub(in, 0, kFrameAddress, kConstantReg, reinterpret_cast<uint64_t>(report));
    slow_stubs_.back().header.is_store = kCallsThen;
    c_.test(c_.al, c_.al);
    slow_stubs_.back().jumps[0] = c_.jcc_forward(Cc::Ne);
    slow_stubs_.back().resume = c_.here();
  }
  if (in.type != Type::Void) {
    ra_.fixed(0);
    ra_.define(index_, 0);
  }
}

// --- the cold part

void Lowering::exit_with(Exit kind, uint32_t index) {
  c_.mov(c_.eax, pack_exit(kind, index));
  tail_jumps_.push_back(c_.jmp_forward());
}

void Lowering::store_bindings(const ColdStub& stub) {
  for (uint32_t i = stub.first_store; i < stub.first_store + stub.stores; i++) {
    const RegAlloc::Binding& b = stores_[i];
    PANDA_CHECK(b.reg != kLazyReg);
    store_slot_code(c_, b.offset, b.type, b.reg, b.constant);
  }
}

// May the engine want to know how often this exit is taken? (ExitLink::countdown)
bool Lowering::may_be_counted(uint64_t pc) const {
  if (handle_->variant == exec::kRegion) return true;
  return handle_->variant == exec::kNormal && !unit_->guest_insns.empty() && pc <= unit_->guest_insns.back().pc;
}

void Lowering::emit_direct_stub(const ColdStub& stub) {
  if (stub.index >= exits_.size()) exits_.resize(stub.index + 1);
  const bool again = loop_exit_ != ir::kNoValue && stub.index == loop_exit_number_;
  ExitJump exit{stub.jump, c_.here(), again ? loop_head_ : 0, 0, 0};
  if (!again && (stub.stores != 0 || stub.refund != 0)) {  // they come before the jump that is linked
    store_bindings(stub);
    if (stub.refund != 0) c_.add(reg64(kBudget), stub.refund);
    exit.after = c_.jmp_forward();
    exit.stub = c_.here();
    c_.patch(exit.after, exit.stub);
  } else {
    store_bindings(stub);
  }
  store_pc(stub.value);
  exit_with(Exit::Direct, stub.index);
  if (!again && stub.index < handle_->exits.size() && may_be_counted(stub.value)) {
    // The jump is linked to here, and from here to where it goes.
    const Assembler::Offset counted = c_.here();
    c_.mov(c_.rax, reinterpret_cast<uint64_t>(&handle_->exits[stub.index].countdown));
    c_.dec(c_.dword[c_.rax]);
    c_.jcc_back(Cc::S, exit.stub);
    exit.counted = counted;
    exit.counted_after = c_.jmp_forward();
    c_.patch(exit.counted_after, exit.stub);
  }
  exits_[stub.index] = exit;
}

void Lowering::emit_cold_stubs() {
  for (const ColdStub& stub : cold_stubs_) {
    c_.patch(stub.jump, c_.here());
    if (stub.kind == Exit::Direct) {
      emit_direct_stub(stub);
      continue;
    }
    store_bindings(stub);
    if (stub.kind == Exit::Indirect) {
      if (stub.refund != 0) c_.add(reg64(kBudget), stub.refund);
      exit_to_other_page(stub.value, 0, 1);
      continue;
    }
    if (stub.kind == Exit::Budget) c_.add(reg64(kBudget), static_cast<uint32_t>(stub.value));
    exit_with(stub.kind, stub.index);
  }
}

void Lowering::emit_tail() {
  if (tail_jumps_.empty()) return;
  for (const Assembler::Offset jump : tail_jumps_) c_.patch(jump, c_.here());
  c_.mov(c_.rdx, reinterpret_cast<uint64_t>(handle_));
  c_.patch(c_.jmp_forward(), thunks_.exit);
}

}  // namespace panda::x64
