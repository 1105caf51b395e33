#include "exec/translator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "memory/access.h"

namespace panda::exec {
namespace {

constexpr unsigned kMaxInsnBytes = 32;
// What a fetch from unassigned memory reads.
constexpr auto kUnassigned = [] {
  std::array<uint8_t, kPageSize> page{};
  page.fill(0xff);
  return page;
}();

}  // namespace

Translator::Translator(Frontend& frontend, GuestMemory& memory, VcpuContext& cpu)
    : frontend_(frontend), memory_(memory), cpu_(cpu), builder_(ir_) {
  PANDA_CHECK(frontend.max_insn_bytes() <= kMaxInsnBytes);
  builder_.set_exit_hook(this);
}

std::span<const uint8_t> Translator::page_bytes(uint64_t phys) const {
  const uint64_t left = kPageSize - phys % kPageSize;
  const uint8_t* host = memory_.host(GuestPhysAddr(phys), left);
  return {host != nullptr ? host : kUnassigned.data() + phys % kPageSize, left};
}

void Translator::before_exit(ir::Builder& b) {
  if (instrumenter_ == nullptr) return;
  if (insn_open_) instrumenter_->emit_insn_after(cpu_, *unit_, insn_pc_, b);
  instrumenter_->emit_unit_exit(cpu_, *unit_, b);
}

Translator::Step Translator::one_insn(TranslationUnit& unit, uint64_t pc, bool exact) {
  const bool first = unit.insn_count == 0;
  const uint64_t offset = pc - unit.key.pc;
  InsnRequest request;
  request.bytes = page_bytes(unit.phys + offset);
  request.pc = pc;
  request.pc_base = unit.key.pc_base;
  request.flags = unit.key.flags;
  request.first = first;
  request.exact = exact;

  std::array<uint8_t, kMaxInsnBytes> straddling;
  for (bool second_page = false;; second_page = true) {
    const ir::Builder::Mark mark = builder_.mark();
    insn_pc_ = pc - unit.key.pc_base;
    insn_open_ = true;
    builder_.insn(insn_pc_, 0);
    if (instrumenter_ != nullptr && instrumented_) {
      instrumenter_->emit_insn_before(cpu_, unit, insn_pc_, builder_);
    }
    const InsnResult result = frontend_.translate(request, builder_);
    switch (result.end) {
      case InsnEnd::Next:
      case InsnEnd::Closed:
        ir_.guest_insns.back().size = static_cast<uint8_t>(result.size);
        unit.insn_count++;
        unit.size += result.size;
        if (result.end == InsnEnd::Closed) return Step::Closed;
        if (instrumenter_ != nullptr) instrumenter_->emit_insn_after(cpu_, unit, insn_pc_, builder_);
        insn_open_ = false;
        needs_look_ = result.needs_look;
        return Step::Next;
      case InsnEnd::NeedExact:
        builder_.rollback(mark);
        return first ? Step::NeedExact : Step::Full;
      case InsnEnd::NeedBytes: {
        builder_.rollback(mark);
        // Only a unit's first instruction may straddle: the unit then lies on two pages and is
        // found again only while both are mapped alike.
        if (!first) return Step::Full;
        PANDA_CHECK(!second_page);
        const uint64_t next_page = (pc & kPageMask) + kPageSize;
        uint64_t phys = 0;
        if (!fetch_address(cpu_, next_page, frontend_.fetch_mode(unit.key.flags), phys)) return Step::Fault;
        unit.phys_next = phys;
        const size_t here = std::min<size_t>(request.bytes.size(), frontend_.max_insn_bytes());
        const size_t there = frontend_.max_insn_bytes() - here;
        std::copy_n(request.bytes.data(), here, straddling.data());
        std::copy_n(page_bytes(phys).data(), there, straddling.data() + here);
        request.bytes = {straddling.data(), here + there};
        break;
      }
    }
  }
}

std::unique_ptr<TranslationUnit> Translator::translate(const UnitKey& key, uint64_t phys, uint32_t variant,
                                                       unsigned max_insns) {
  auto unit = std::make_unique<TranslationUnit>();
  unit_ = unit.get();
  unit->key = key;
  unit->phys = phys;
  unit->variant = variant;
  bool exact = variant == kExact || variant == kExactResume;
  instrumented_ = variant != kExactResume;
  if (instrumenter_ != nullptr) instrumenter_->unit_begins(cpu_, *unit);
  builder_.set_access_hook(instrumenter_ != nullptr ? instrumenter_->access_hook() : nullptr);

  for (;;) {
    begin(*unit, exact);
    if (instrumenter_ != nullptr && instrumented_) instrumenter_->emit_unit_entry(cpu_, *unit, builder_);

    uint64_t pc = key.pc;
    Step step = Step::Next;
    while (step == Step::Next) {
      if (unit->insn_count >= (exact ? 1u : max_insns) || ((pc ^ key.pc) & kPageMask) != 0) break;
      step = one_insn(*unit, pc, exact);
      pc = key.pc + unit->size;
    }
    if (step == Step::Fault) return nullptr;
    if (step == Step::NeedExact) {
      PANDA_CHECK(!exact);
      exact = true;
      continue;
    }
    if (step != Step::Closed) end_before(pc - key.pc_base);
    break;
  }
  finish(*unit);
  return unit;
}

void Translator::begin(TranslationUnit& unit, bool exact) {
  unit.size = 0;
  unit.insn_count = 0;
  unit.phys_next = 0;
  unit.exact = exact;
  needs_look_ = false;
  ir_.clear();
  ir_.pc_offset = frontend_.pc_offset();
  ir_.pc_type = frontend_.pc_type();
  ir_.exact = exact;
  builder_.rollback({});
  frontend_.begin_unit(unit.key);
  // Direct jumps are linked within the page alone: what leaves it is looked up again, since the
  // mapping of another page may change without this one's.
  const uint64_t page = (unit.key.pc & kPageMask) - unit.key.pc_base;
  builder_.set_direct_range(page, page + kPageSize);
  builder_.begin_block();
  if (exact) builder_.emit(ir::Op::exact_begin, ir::Type::Void, {});
  count_at_ = builder_.next_index();
  builder_.count(0);
}

void Translator::end_before(uint64_t pc) {
  insn_open_ = false;
  const uint64_t next_pc = frontend_.pc_type() == ir::Type::I32 ? static_cast<uint32_t>(pc) : pc;
  if (ir_.exact || needs_look_) {
    builder_.set(ir_.pc_offset, builder_.konst(ir_.pc_type, next_pc));
    builder_.exit_dispatch();
  } else {
    builder_.exit_direct(next_pc);
  }
}

void Translator::finish(TranslationUnit& unit) {
  builder_.set_imm(count_at_, unit.insn_count);
  for (size_t i = 0; i < ir_.guest_insns.size(); i++) {
    ir_.guest_insns[i].refund = static_cast<uint16_t>(unit.insn_count - i);
  }
  unit.insns = ir_.guest_insns;
  unit.exits.resize(ir_.exit_count);
}

// --- regions

// The instructions of one unit of the path. Full: one of them needs a block of its own kind; the unit is cut before it.
Translator::Step Translator::region_part(TranslationUnit& unit, const TranslationUnit& part) {
  uint64_t pc = part.key.pc;
  TranslationUnit::Part covered{part.phys, 0};
  Step step = Step::Next;
  for (uint32_t i = 0; i < part.insn_count && step == Step::Next; i++) {
    const ir::Builder::Mark mark = builder_.mark();
    const uint32_t size = unit.size, count = unit.insn_count;
    step = one_insn(unit, pc, false);
    if (step == Step::Next && builder_.mark().blocks != mark.blocks) {
      builder_.rollback(mark);
      unit.size = size;
      unit.insn_count = count;
      step = Step::Full;
    }
    if (step == Step::Next || step == Step::Closed) {
      pc += unit.size - size;
      covered.size += unit.size - size;
    }
  }
  insn_open_ = false;
  if (covered.size != 0) unit.parts.push_back(covered);
  if (step == Step::Next || step == Step::Full) end_before(pc - unit.key.pc_base);
  return step;
}

// The unit so far ends in a jump or in a branch: where that leads to pc, the end is taken back, and a way out left
// for the other direction.
bool Translator::goes_on_at(uint64_t pc) {
  const ir::Inst last = ir_.insts[ir_.blocks[0].first + ir_.blocks[0].count - 1];
  ir::Builder::Mark open = builder_.mark();
  open.blocks = 1;
  open.insts = ir_.blocks[0].count - 1;
  open.current = 0;
  open.open = true;
  if (ir_.blocks.size() == 1) {
    if (last.op != ir::Op::exit_direct || last.imm != pc) return false;
    open.exit_count--;
    builder_.rollback(open);
    return true;
  }
  if (ir_.blocks.size() != 3 || last.op != ir::Op::brc) return false;
  const auto target = [&](uint64_t block, uint64_t& to) {
    const ir::Block& b = ir_.blocks[block];
    const ir::Inst& exit = ir_.insts[b.first + b.count - 1];
    if (exit.op == ir::Op::exit_direct && b.count == 1) {
      to = exit.imm;
      open.exit_count--;
      return true;
    }
    if (exit.op != ir::Op::exit_indirect || b.count != 2 || ir_.insts[b.first].op != ir::Op::konst) return false;
    to = ir_.insts[b.first].imm;
    return true;
  };
  uint64_t if_true = 0, if_false = 0;
  if (!target(last.aux, if_true) || !target(last.imm, if_false)) return false;
  if (if_true != pc && if_false != pc) return false;
  builder_.rollback(open);
  builder_.exit_if({last.args[0], ir::Type::I1}, if_true == pc ? if_false : if_true, if_true == pc);
  frontend_.branch_passed();
  return true;
}

std::unique_ptr<TranslationUnit> Translator::translate_region(std::span<TranslationUnit* const> path, bool closes) {
  Instrumenter* const instrumenter = std::exchange(instrumenter_, nullptr);  // it has allowed regions: emits nothing
  auto unit = region_of(path, closes);
  instrumenter_ = instrumenter;
  return unit;
}

std::unique_ptr<TranslationUnit> Translator::region_of(std::span<TranslationUnit* const> path, bool closes) {
  const TranslationUnit& head = *path.front();
  builder_.set_access_hook(nullptr);
  auto unit = std::make_unique<TranslationUnit>();
  unit_ = unit.get();
  unit->key = head.key;
  unit->phys = head.phys;
  unit->variant = kRegion;
  begin(*unit, false);
  size_t parts = 0;
  while (parts < path.size()) {
    const Step step = region_part(*unit, *path[parts]);
    if (step == Step::Fault || step == Step::NeedExact) return nullptr;
    if (step == Step::Full) break;
    parts++;
    const bool last = parts == path.size();
    if (last && !closes) break;
    const uint64_t next = (last ? head : *path[parts]).key.pc - head.key.pc_base;  // a pc that the front end made
    if (!goes_on_at(next)) break;
    if (last) builder_.exit_direct(next);
  }
  if (parts < 2) return nullptr;
  finish(*unit);
  return unit;
}

}  // namespace panda::exec
