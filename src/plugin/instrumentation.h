// Puts callbacks into translations, and passes on what the CPU reports.
//
// Blocks are translation units. before_block_exec and after_block_exec fire once for each block that
// runs. Where a block is left in its middle because an instruction crosses the line (a device
// access), the engine runs that instruction alone and goes on with a new unit: as long as that lies
// inside the first block it is the same block, and nothing fires again. A fault ends its block.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "exec/engine.h"
#include "exec/instrumenter.h"
#include "memory/cpu_observer.h"
#include "plugin/callback_registry.h"
#include "plugin/target.h"

#define PANDA_CORE_VIEW 1
#include "panda/translation_block.h"
#undef PANDA_CORE_VIEW

namespace panda::plugin {

class Instrumentation : public exec::Instrumenter, public CpuObserver {
 public:
  Instrumentation(exec::Engine& engine, const Target& target, CallbackRegistry& registry);
  ~Instrumentation() override;

  // Registers as plugins see them before a callback that is not compiled in.
  void synchronise();
  [[nodiscard]] uint64_t current_pc();     // linear
  [[nodiscard]] uint64_t current_count();  // completed instructions, right in callbacks and between runs
  // Translated code returns to the engine at the next block.
  void want_dispatch();
  // What fires in this version; the others may be registered.
  [[nodiscard]] static bool fires(unsigned type);

  // Instrumenter
  void unit_begins(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void emit_insn_before(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) override;
  void emit_insn_after(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) override;
  void emit_unit_exit(VcpuContext& cpu, exec::TranslationUnit& unit, ir::Builder& b) override;
  void unit_translated(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void unit_dropped(exec::TranslationUnit& unit, bool evicted) override;
  void unit_left_early(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  [[nodiscard]] uint64_t generation() const override { return registry_.generation(); }

  // CpuObserver
  bool asid_changes(VcpuContext& cpu, uint64_t old_value, uint64_t new_value) noexcept override;
  bool hypercall(VcpuContext& cpu) noexcept override;
  int32_t exception(VcpuContext& cpu, int32_t vector) noexcept override;

  // What translated code calls (helpers).
  static void block_invalidate(void* state, uint64_t tb, uint64_t count) noexcept;
  static void block_enter(void* state, uint64_t tb, uint64_t count) noexcept;
  static void block_leave(void* state, uint64_t tb, uint64_t count, uint64_t pc) noexcept;
  static void insn_exec(void* state, uint64_t plugin, uint64_t pc, uint64_t count) noexcept;
  static void insn_done(void* state, uint64_t plugin, uint64_t pc, uint64_t count) noexcept;

 private:
  // Answers of insn_translate, kept until the instruction is done with: the translator may emit it
  // more than once (it did not fit, or its next page was needed).
  struct InsnAnswer {
    uint64_t phys = ~uint64_t{0};
    uint64_t pc = 0;
    uint64_t generation = 0;
    std::vector<Plugin*> plugins;
  };
  // A block that began and was left before its end.
  struct OpenBlock {
    TranslationBlock* tb = nullptr;
    uint64_t resume_pc = 0;     // linear; where the same block goes on
    uint64_t resume_count = 0;  // and at which count
  };

  [[nodiscard]] static Instrumentation& of(void* state);
  void store_field(uint32_t offset, uint64_t value);
  void set_fields(uint64_t pc, uint64_t count);
  void emit_pc(uint64_t pc, ir::Builder& b);
  TranslationBlock* take_block();
  [[nodiscard]] std::vector<Plugin*> ask(unsigned translate_type, unsigned exec_type, VcpuContext& cpu, uint64_t pc);
  void fire_leave(TranslationBlock& tb, uint8_t how);
  bool continues(const TranslationBlock& tb, uint64_t count) const;
  void close_open_block();
  [[nodiscard]] bool is_open(const TranslationBlock* tb) const;
  void compiled_callback_done(uint64_t generation_before);
  [[nodiscard]] bool blocks_active() const;
  [[nodiscard]] bool leave_active() const;

  exec::Engine& engine_;
  const Target& target_;
  CallbackRegistry& registry_;
  std::deque<TranslationBlock> blocks_;
  std::vector<TranslationBlock*> free_blocks_;
  std::vector<TranslationBlock*> evicted_blocks_;  // of units that were evicted while the block was not over
  TranslationBlock* pending_ = nullptr;  // of a unit whose translation has not succeeded yet
  InsnAnswer answer_;
  uint64_t last_pc_ = 0;  // of the instruction being emitted, pc register
  TranslationBlock* entered_ = nullptr;  // began, after_block_exec has not fired yet
  OpenBlock left_;
  TranslationBlock* early_tb_ = nullptr;  // the block last left early, and the count then
  uint64_t early_count_ = 0;
  std::optional<uint64_t> invalidated_at_;  // the count at which a block was made again: not asked twice
  bool in_compiled_ = false;                // a compiled-in callback runs: these two are exact
  uint64_t pc_ = 0;
  uint64_t count_ = 0;
  bool dispatch_wanted_ = false;
};

}  // namespace panda::plugin
