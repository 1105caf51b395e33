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
  virtual void unit_begins(VcpuContext&, TranslationUnit&) {}            // before anything is decoded
  virtual void emit_unit_entry(VcpuContext&, TranslationUnit&, ir::Builder&) {}  // before the first instruction
  virtual void emit_insn_before(VcpuContext&, TranslationUnit&, uint64_t /*pc*/, ir::Builder&) {}
  virtual void emit_insn_after(VcpuContext&, TranslationUnit&, uint64_t /*pc*/, ir::Builder&) {}
  virtual void emit_unit_exit(VcpuContext&, TranslationUnit&, ir::Builder&) {}   // before each regular end
  virtual void unit_translated(VcpuContext&, TranslationUnit&) {}
  // It will not run again. Evicted: to make room for another, and not because anything changed.
  virtual void unit_dropped(TranslationUnit&, bool /*evicted*/) {}
  // --- while running
  virtual void unit_left_early(VcpuContext&, TranslationUnit&) {}  // fault or restart inside it
  // True: translations are as the registrations want them. The engine asks at each dispatch.
  [[nodiscard]] virtual uint64_t generation() const { return 0; }
};

}  // namespace panda::exec
