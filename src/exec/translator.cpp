#include "exec/translator.h"

#include <algorithm>
#include <array>

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
    unit->size = 0;
    unit->insn_count = 0;
    unit->phys_next = 0;
    unit->exact = exact;
    needs_look_ = false;
    ir_.clear();
    ir_.pc_offset = frontend_.pc_offset();
    ir_.pc_type = frontend_.pc_type();
    ir_.exact = exact;
    builder_.rollback({});
    frontend_.begin_unit(key);
    // Direct jumps are linked within the page alone: what leaves it is looked up again, since the
    // mapping of another page may change without this one's.
    const uint64_t page = (key.pc & kPageMask) - key.pc_base;
    builder_.set_direct_range(page, page + kPageSize);
    builder_.begin_block();
    if (exact) builder_.emit(ir::Op::exact_begin, ir::Type::Void, {});
    const uint32_t count_at = builder_.next_index();
    builder_.count(0);
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
    if (step != Step::Closed) {
      insn_open_ = false;
      const uint64_t next = pc - key.pc_base;
      const uint64_t next_pc = frontend_.pc_type() == ir::Type::I32 ? static_cast<uint32_t>(next) : next;
      if (exact || needs_look_) {
        builder_.set(ir_.pc_offset, builder_.konst(ir_.pc_type, next_pc));
        builder_.exit_dispatch();
      } else {
        builder_.exit_direct(next_pc);
      }
    }
    builder_.set_imm(count_at, unit->insn_count);
    break;
  }
  for (size_t i = 0; i < ir_.guest_insns.size(); i++) {
    ir_.guest_insns[i].refund = static_cast<uint16_t>(unit->insn_count - i);
  }
  unit->insns = ir_.guest_insns;
  unit->exits.resize(ir_.exit_count);
  return unit;
}

}  // namespace panda::exec
