// What the engine asks of a back end: turn IR into something that runs, run it, link exits.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "ir/ir.h"
#include "memory/vcpu_context.h"

namespace panda::exec {

struct TranslationUnit;

// How translated code was left.
enum class Exit : uint32_t {
  Direct,    // exit_direct `index` of `unit`, not linked yet; the pc slot holds the target
  Indirect,  // exit_indirect missed the jump cache; the pc slot holds the target
  Dispatch,  // exit_dispatch
  Budget,    // `unit`'s count at guest instruction `index` found too little budget; nothing subtracted
  Request,   // VcpuContext::exit_request is set; guest instruction `index` of `unit` was running
};

struct ExitInfo {
  Exit kind = Exit::Dispatch;
  TranslationUnit* unit = nullptr;  // for Direct, Budget, Request
  uint32_t index = 0;
};

// What translated code takes, and may take.
struct CodeSpace {
  uint64_t used_bytes = 0;
  uint64_t capacity_bytes = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  // On: what the back end can check of its own work at each compile() is checked, and stops the program.
  virtual void set_verify(bool /*on*/) {}
  // Compiles `ir` for `unit` (the engine's handle, returned in ExitInfo; sets unit.code and
  // unit.code_size). Nothing may be running. False where there is no room: the engine releases
  // in_the_way() and tries again.
  virtual bool compile(const ir::Unit& ir, TranslationUnit& unit) = 0;
  // After a compile() that returned false: the unit whose release makes room, the oldest as a rule; null
  // where `ir` would not fit though nothing else were there.
  [[nodiscard]] virtual TranslationUnit* in_the_way() const = 0;
  [[nodiscard]] virtual CodeSpace code_space() const = 0;
  // Runs from unit.code until something must be looked at. VcpuContext::budget is current before and after.
  virtual ExitInfo run(VcpuContext& cpu, TranslationUnit& unit) = 0;
  // Makes exit `index` of `from` go straight to `to`, or back to the engine again. counted: not for ever, but until
  // the exit's ExitLink::countdown is used up; a back end may take no notice.
  virtual void link(TranslationUnit& from, uint32_t index, TranslationUnit& to, bool counted) = 0;
  virtual void unlink(TranslationUnit& from, uint32_t index) = 0;
  // `unit` will not run again (its exits and entries are unlinked already) and gets unit.code == null; its
  // memory is reused. Once per unit; nothing may be running.
  virtual void release(TranslationUnit& unit) = 0;
  // Every unit is gone: start with an empty code area.
  virtual void reset() = 0;
};

}  // namespace panda::exec
