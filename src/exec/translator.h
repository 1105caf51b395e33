// Guest code to IR, one unit at a time, for any front end: decides where units end, places the
// instruction count and the instrumentation, and records what exact state needs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "exec/frontend.h"
#include "exec/instrumenter.h"
#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "memory/guest_memory.h"

namespace panda::exec {

class Translator : private ir::ExitHook {
 public:
  Translator(Frontend& frontend, GuestMemory& memory, VcpuContext& cpu);

  void set_instrumenter(Instrumenter* instrumenter) { instrumenter_ = instrumenter; }

  // Translates up to `max_insns` instructions from key.pc, whose physical address is `phys`. The IR
  // is in ir() until the next call. nullptr: an instruction's second page faulted; the fault is pending.
  std::unique_ptr<TranslationUnit> translate(const UnitKey& key, uint64_t phys, uint32_t variant, unsigned max_insns);
  // Translates the units that ran one after the other, all on one page, as one (variant kRegion): each but the last
  // one's end goes on with the next, and to where else it leads there is a way out in the middle. nullptr: not two of
  // them go together, nor does one come back to its own beginning.
  std::unique_ptr<TranslationUnit> translate_region(std::span<TranslationUnit* const> path, bool closes);
  [[nodiscard]] const ir::Unit& ir() const { return ir_; }

 private:
  enum class Step : uint8_t { Next, Closed, Full, NeedExact, Fault };
  Step one_insn(TranslationUnit& unit, uint64_t pc, bool exact);
  std::unique_ptr<TranslationUnit> region_of(std::span<TranslationUnit* const> path, bool closes);
  void begin(TranslationUnit& unit, bool exact);
  void end_before(uint64_t pc);  // falls through to pc
  Step region_part(TranslationUnit& unit, const TranslationUnit& part);
  [[nodiscard]] bool goes_on_at(uint64_t pc);
  void finish(TranslationUnit& unit);
  void before_exit(ir::Builder& builder) override;
  [[nodiscard]] std::span<const uint8_t> page_bytes(uint64_t phys) const;

  Frontend& frontend_;
  GuestMemory& memory_;
  VcpuContext& cpu_;
  Instrumenter* instrumenter_ = nullptr;
  ir::Unit ir_;
  ir::Builder builder_;
  TranslationUnit* unit_ = nullptr;
  uint64_t insn_pc_ = 0;  // pc register value of the instruction being translated
  bool insn_open_ = false;
  bool needs_look_ = false;  // InsnResult::needs_look of the last instruction
  bool instrumented_ = true;
  uint32_t count_at_ = 0;  // the unit's `count`
};

}  // namespace panda::exec
