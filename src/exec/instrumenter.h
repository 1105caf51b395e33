// How analyses get into translated code. The engine calls these while it translates; an
// implementation emits IR calls (or `bump` counters) only where somebody registered. The set of
// registrations that a translation was made under is `generation`: when it changes, the engine
// drops the translations.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "memory/vcpu_context.h"

namespace panda::exec {

class Instrumenter {
 public:
  virtual ~Instrumenter() = default;

  // --- while translating; unit.key, unit.phys are set; size and insn_count from unit_translated on
  virtual void unit_begins(VcpuContext&, TranslationUnit&) {}                    // before anything is decoded
  virtual void emit_unit_entry(VcpuContext&, TranslationUnit&, ir::Builder&) {}  // before the first instruction
  virtual void emit_insn_before(VcpuContext&, TranslationUnit&, uint64_t /*pc*/, ir::Builder&) {}
  virtual void emit_insn_after(VcpuContext&, TranslationUnit&, uint64_t /*pc*/, ir::Builder&) {}
  virtual void emit_unit_exit(VcpuContext&, TranslationUnit&, ir::Builder&) {}  // before each regular end
  virtual void unit_translated(VcpuContext&, TranslationUnit&) {}
  // It will not run again. Evicted: to make room for another, and not because anything changed.
  virtual void unit_dropped(TranslationUnit&, bool /*evicted*/) {}
  // Told of the unit's accesses to guest memory while they are emitted; null: nobody wants to know.
  // Asked after unit_begins.
  [[nodiscard]] virtual ir::AccessHook* access_hook() { return nullptr; }
  // --- while running
  // The unit was left at insns[index]: by a fault of this instruction, to run it again by itself, or (Dispatch) because
  // it, now complete, wants the engine to look. The guest's pc and count are right.
  virtual void unit_left_early(VcpuContext&, TranslationUnit&, uint32_t /*index*/, ExitRequest) {}
  // A block was left in its middle and may go on. The engine then does not chain, and asks what to run at the guest's
  // pc: kRest + n where that is the block's rest, else kNormal (the block is over). n is at most `budget`.
  [[nodiscard]] bool block_open() const { return block_open_; }
  [[nodiscard]] virtual uint32_t resume_variant(VcpuContext&, int64_t /*budget*/) { return kNormal; }
  // The instruction at the current count is going to be run again from its beginning, of which
  // something may have been seen already.
  virtual void insn_restarts(VcpuContext&) {}
  // An exception or interrupt is about to be delivered, at the current count and pc; it was, or was not.
  virtual void delivery_begins(VcpuContext&) {}
  virtual void delivery_ends(VcpuContext&) {}
  // Nothing is emitted into translations: units may run together as one, of which nobody is told (kRegion).
  [[nodiscard]] virtual bool allows_regions() const { return false; }
  // True: translations are as the registrations want them. The engine asks at each dispatch.
  [[nodiscard]] virtual uint64_t generation() const { return 0; }

 protected:
  bool block_open_ = false;
};

}  // namespace panda::exec
