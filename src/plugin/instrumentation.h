// Puts callbacks into translations, and passes on what the CPU reports.
//
// Blocks are translation units, and the calls for them are part of the units' code: at the entry, and before each
// regular end. Only where a unit is left in its middle does anything have to be remembered: the open block. An
// instruction that crosses the line (a device access) is run alone by the engine, and the block goes on with units
// of their own (Variant kExactResume and kRest), which have no calls at their entry and close the open block at
// their end. If the guest goes elsewhere instead, or faults, the block ends there.
//
// A callback that is sure to do nothing but look and count (callback_scan.h) is called by translated code itself,
// through a cell that can be pointed elsewhere at any time; all others by way of guarded().
#pragma once

#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "exec/engine.h"
#include "exec/instrumenter.h"
#include "memory/cpu_observer.h"
#include "plugin/callback_registry.h"
#include "plugin/memory_callbacks.h"
#include "plugin/near_memory.h"
#include "plugin/target.h"

#define PANDA_CORE_VIEW 1
#include "panda/translation_block.h"
#undef PANDA_CORE_VIEW

namespace panda::plugin {

class Instrumentation : public exec::Instrumenter, public CpuObserver {
 public:
  Instrumentation(exec::Engine& engine, const Target& target, CallbackRegistry& registry);
  ~Instrumentation() override;

  // Registers as plugins see them, before a callback that no translated code calls.
  void synchronise();
  [[nodiscard]] uint64_t current_pc() const;     // linear
  [[nodiscard]] uint64_t current_count() const;  // completed instructions, right in callbacks and after synchronise()
  // The engine's count at which plugins' own begins (rr_guest_instr_count). Before any plugin is loaded.
  uint64_t count_origin = 0;
  // Translated code returns to the engine at the next block.
  void want_dispatch() { dispatch_wanted_ = true; }
  // Before a callback in the middle of an instruction: what current_pc() and current_count() then say.
  void set_moment(uint64_t pc, uint64_t count) {
    store_field(target_.guest_pc_offset, pc & target_.address_mask);
    store_field(target_.instr_count_offset, count - count_origin);
  }
  // The same by translated code. Nothing where the target has no such field.
  void emit_pc(ir::Builder& b, uint64_t pc) const;
  void emit_count(ir::Builder& b, bool after_insn) const;
  // After a callback that C++ code made on behalf of translated code, which takes VcpuContext::budget over again: where
  // registrations have changed since, translated code leaves at its next block.
  void callback_done(uint64_t generation_before) {
    if (generation_before != registry_.generation() || dispatch_wanted_) [[unlikely]]
      leave_at_next_block();
  }
  // The same where the caller may be a helper that does not take the budget over: done a little later.
  void helper_callback_done(uint64_t generation_before) {
    if (generation_before != registry_.generation()) want_dispatch();
  }
  [[nodiscard]] MemoryCallbacks& memory() { return memory_; }
  // A callback runs in the middle of an instruction: the state is neither that before it nor after it.
  [[nodiscard]] bool inside_instruction() const { return memory_.running() || in_exception_; }

  // Set by the host. A plugin's answer to an event of the CPU has changed what the guest does: by its state alone,
  // which can be recorded, or (the text says how) in a way that cannot.
  std::function<void()> on_cpu_written;
  std::function<void(const char*)> on_changed;

  // --- inline counters (panda_inline_counter)
  enum class Counts : uint8_t { Blocks, Insns };
  uint64_t* add_counter(Plugin& plugin, Counts what);
  void remove_counter(const Plugin& plugin, const uint64_t* value);
  void remove_counters(const Plugin& plugin);

  // Instrumenter
  void unit_begins(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void emit_insn_before(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) override;
  void emit_insn_after(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) override;
  void emit_unit_exit(VcpuContext& cpu, exec::TranslationUnit& unit, ir::Builder& b) override;
  void unit_translated(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void unit_dropped(exec::TranslationUnit& unit, bool evicted) override;
  void unit_left_early(VcpuContext& cpu, exec::TranslationUnit& unit, uint32_t index, ExitRequest why) override;
  [[nodiscard]] uint32_t resume_variant(VcpuContext& cpu, int64_t budget) override;
  [[nodiscard]] uint64_t generation() const override { return registry_.generation(); }
  [[nodiscard]] ir::AccessHook* access_hook() override { return memory_.access_hook(); }
  void insn_restarts(VcpuContext&) override { memory_.insn_restarts(); }
  void delivery_begins(VcpuContext&) override { memory_.delivery_begins(); }
  void delivery_ends(VcpuContext&) override { memory_.delivery_ends(); }
  // Whoever sees or changes translations sees units as they are alone.
  [[nodiscard]] bool allows_regions() const override { return counters_.empty() && !registry_.translations_told(); }

  // CpuObserver
  bool asid_changes(VcpuContext& cpu, uint64_t old_value, uint64_t new_value) noexcept override;
  bool hypercall(VcpuContext& cpu) noexcept override;
  int32_t exception(VcpuContext& cpu, int32_t vector) noexcept override;
  int32_t interrupt(VcpuContext& cpu, int32_t vector) noexcept override;

 private:
  // Which callbacks an instruction's translation calls, kept until the instruction is done with: the translator may
  // emit it more than once (it did not fit, its next page was needed, it has several ends).
  struct InsnAnswer {
    uint64_t phys = ~uint64_t{0};
    uint64_t pc = 0;
    uint64_t generation = 0;
    std::vector<Callback*> callbacks;
  };
  struct OpenBlock {
    TranslationBlock* tb = nullptr;
    uint64_t resume_pc = 0;     // linear; where it goes on
    uint64_t resume_count = 0;  // and at which count
    uint32_t left = 0;          // instructions to come
    bool dropped = false;       // its translation is no longer valid: what comes now is another block
    bool orphan = false;        // its unit is gone: given back when it is closed
  };
  struct Counter {
    Plugin* plugin = nullptr;
    Counts counts = Counts::Blocks;
    uint64_t* value = nullptr;
  };
  // What is emitted before the first callback at one place that looks at the guest's state.
  struct Moment {
    uint64_t pc;           // linear
    uint64_t pc_register;  // value of the pc slot, where set_pc
    bool set_pc;
    bool after;  // the current instruction is complete
    bool done = false;
    bool careful = false;  // callbacks were called that may do anything, writing code included
  };
  // Callbacks that are called with the same arguments.
  struct Calls {
    const std::vector<Callback*>& callbacks;
    uint64_t argument;
    std::optional<uint64_t> second{};
  };
  // More than so many at one place are called in a loop: they would fill the code area.
  static constexpr size_t kManyCalls = 16;

  [[nodiscard]] bool fields_hold() const;  // pc and count, as plugins see them
  [[nodiscard]] static Instrumentation& of(void* state);
  void store_field(uint32_t offset, uint64_t value) {
    if (offset != kNoField) std::memcpy(static_cast<uint8_t*>(engine_.cpu().state()) + offset, &value, sizeof value);
  }
  [[nodiscard]] uint64_t field(uint32_t offset) const;
  void leave_at_next_block();
  void emit_moment(Moment& moment, ir::Builder& b);
  void emit_calls(const Calls& calls, Moment& moment, ir::Builder& b);
  // Before an instruction: where a callback changed code that was translated, the unit is left, and the instruction
  // run by itself as it is now.
  void emit_look_at_code(const Moment& moment, ir::Builder& b);
  void emit_counters(Counts what, uint32_t amount, ir::Builder& b) const;
  [[nodiscard]] const std::vector<Callback*>& ask(InsnAnswer& answer, unsigned translate_type, unsigned exec_type,
                                                  const exec::TranslationUnit& unit, uint64_t linear);
  [[nodiscard]] bool blocks_told() const;
  [[nodiscard]] bool leave_emitted() const;
  void end_block(TranslationBlock& tb, uint8_t how);
  void close_open_block(uint8_t how);
  void restore_state(TranslationBlock& tb);
  void finish_insn(TranslationBlock& tb, uint32_t index, uint64_t pc);
  [[nodiscard]] int32_t decide(VcpuContext& cpu, unsigned type, int32_t vector);

  template <typename Call>
  void call_guarded(void* state, Call call);
  void give_back_dropped();

  // What translated code calls.
  static void guarded(void* state, uint64_t callback, uint64_t argument) noexcept;
  static void guarded2(void* state, uint64_t callback, uint64_t argument, uint64_t second) noexcept;
  static void guarded_list(void* state, uint64_t list, uint64_t argument, uint64_t second) noexcept;
  static void count_list(void* state, uint64_t what, uint64_t amount) noexcept;
  static void look_at_code(void* state) noexcept;
  static void block_invalidate(void* state, uint64_t tb, uint64_t count) noexcept;
  static void part_ends(void* state, uint64_t tb, uint64_t count, uint64_t pc) noexcept;
  static const ir::HelperDesc kGuarded, kGuarded2, kGuardedList, kCountList, kLookAtCode, kInvalidate, kPartEnds;

  exec::Engine& engine_;
  const Target& target_;
  CallbackRegistry& registry_;
  MemoryCallbacks memory_;
  NearPool<TranslationBlock> blocks_;
  NearPool<uint64_t> counter_values_;
  std::vector<Counter> counters_;
  TranslationBlock* pending_ = nullptr;  // of a unit whose translation has not succeeded yet
  InsnAnswer before_, after_;
  // Where after_insn_exec is compiled in: by block and instruction, for those that complete by leaving the unit.
  std::unordered_map<const TranslationBlock*, std::vector<std::vector<Callback*>>> after_insns_;
  // Those that are called in a loop. Kept, as the callbacks are: translated code points at them.
  std::set<std::vector<Callback*>> lists_;
  uint64_t last_pc_ = 0;        // of the instruction being emitted, pc register
  bool careful_after_ = false;  // callbacks behind the instruction before it may have changed code
  bool in_call_ = false;        // translated code calls a callback
  // Blocks whose code a callback changed that translated code called: the running one may be among them.
  std::vector<TranslationBlock*> dropped_;
  OpenBlock open_;
  std::optional<uint64_t> invalidated_at_;  // the count at which a block was made again: not asked twice
  bool dispatch_wanted_ = false;
  bool in_exception_ = false;
};

}  // namespace panda::plugin
