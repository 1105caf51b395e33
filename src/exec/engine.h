// Runs a guest CPU: finds or makes translations, runs them chained, stops at exact counts, takes
// exceptions and interrupts between instructions, keeps self-modifying code exact.
//
// Life of a slice: ask Outside when it must be called next, set the budget to that, run units until
// the budget is used up or something wants attention, service, repeat.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/types.h"
#include "base/virtual_clock.h"
#include "exec/backend.h"
#include "exec/frontend.h"
#include "exec/instrumenter.h"
#include "exec/region_former.h"
#include "exec/translation_unit.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"

namespace panda::exec {

class Translator;
class UnitCache;

enum class StopReason : uint8_t {
  Requested,     // Outside::stop_requested
  CountReached,  // the count given to run()
  Shutdown,      // the guest's CPU shut down (x86: triple fault)
  IdleForever,   // halted with nothing that could ever wake it
};

struct EngineStats {
  uint64_t units_translated = 0;
  uint64_t regions_translated = 0;
  uint64_t insns_translated = 0;
  uint64_t flushes = 0;
  uint64_t evictions = 0;  // units that gave way to others
  uint64_t smc_invalidations = 0;
  uint64_t dispatches = 0;
  uint64_t interrupts = 0;
  uint64_t exceptions = 0;
};

class Engine : public CodeObserver {
 public:
  Engine(Frontend& frontend, Backend& backend, GuestMemory& memory, VirtualClock& clock);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] VcpuContext& cpu() { return *cpu_; }
  [[nodiscard]] Frontend& frontend() { return frontend_; }
  [[nodiscard]] Backend& backend() { return backend_; }
  [[nodiscard]] GuestMemory& memory() { return memory_; }
  [[nodiscard]] VirtualClock& clock() { return clock_; }

  // Must be set before run(); may be exchanged between runs (begin_record wraps it).
  void set_outside(Outside& outside);
  void set_instrumenter(Instrumenter* instrumenter);  // may be null

  // Runs until something stops it, or exactly until `until` instructions are complete. Guest thread only.
  StopReason run(InsnCount until = InsnCount(~uint64_t{0}));

  // Completed instructions. Exact between runs, in callbacks at unit and instruction starts, and in
  // everything that Outside is asked.
  [[nodiscard]] InsnCount count() const { return InsnCount(cpu_->completed()); }
  void set_count(InsnCount count);  // before a run: a replay begins at its snapshot's count

  // Drops all translations: at once between runs, else when the running unit is left.
  void flush_translations();
  void set_chaining(bool on);  // off: every unit is left to the dispatcher
  // Every translation's IR and what the back end makes of it; what is wrong stops the program.
  void set_verify(bool on) {
    verify_ = on;
    backend_.set_verify(on);
  }
  void set_max_unit_insns(unsigned n) {  // 1: one-instruction units (tests)
    max_unit_insns_ = n;
    choose_regions();
  }
  // How often a way back is taken until what it leads to becomes a region (region_former.h); 0: never.
  void set_region_threshold(int32_t times) {
    region_threshold_ = times;
    choose_regions();
  }
  [[nodiscard]] const EngineStats& stats() const { return stats_; }
  [[nodiscard]] size_t units() const;              // translations that exist
  [[nodiscard]] size_t unit_record_bytes() const;  // what is kept about them, beside their code
  // The unit that the engine started last, for callbacks; null between runs.
  [[nodiscard]] TranslationUnit* current_unit() { return current_; }

  // CodeObserver
  bool overlaps_code(uint64_t phys, uint64_t size) noexcept override;
  void invalidate_code(uint64_t phys, uint64_t size) noexcept override;
  void mappings_changed() noexcept override;
  void space_changed(uint64_t id) noexcept override;

 private:
  static constexpr unsigned kMaxUnitInsns = 64;
  static constexpr int32_t kRegionThreshold = 300;

  TranslationUnit* find_or_translate(uint32_t variant);
  std::optional<StopReason> run_units(uint32_t variant);  // until the dispatcher is needed
  bool handle_request(TranslationUnit& unit, uint32_t index, bool& resume);
  TranslationUnit* find_or_translate(const UnitKey& key, uint32_t variant);
  [[nodiscard]] TranslationUnit* known_jump(const UnitKey& key);  // nullptr: the jump cache has none
  // At the guest's pc, and remembered in the jump cache; but what a direct exit can be linked to needs no place there.
  TranslationUnit* next_unit(bool by_direct_exit = false);
  static const void* next_code(void* state) noexcept;
  bool may_go_on();
  void finish_exact();
  bool take_fault();  // false: the guest's CPU shut down
  void flush_now();
  [[nodiscard]] bool compile(TranslationUnit& unit);  // false: it is larger than all the room there is
  void choose_regions();
  void left_to(const ExitInfo& exit, TranslationUnit*& next);
  void make_region();

  Frontend& frontend_;
  GuestMemory& memory_;
  Backend& backend_;
  VirtualClock& clock_;
  struct FreeContext {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, FreeContext> cpu_storage_;
  VcpuContext* cpu_ = nullptr;
  Outside* outside_ = nullptr;
  Instrumenter* instrumenter_ = nullptr;
  TranslationUnit* current_ = nullptr;
  std::unique_ptr<UnitCache> cache_;
  std::unique_ptr<Translator> translator_;
  std::unique_ptr<RegionFormer> regions_;
  uint64_t generation_ = 0;
  unsigned max_unit_insns_ = kMaxUnitInsns;
  int32_t region_threshold_ = kRegionThreshold;
  bool chaining_ = true;
  bool verify_ = false;
  bool running_ = false;
  bool flush_wanted_ = false;
  // Where the last fault was taken. A second one at the same count counts as an instruction, so that a
  // guest whose handler's first instruction faults for ever still passes its timers and stop points.
  std::optional<InsnCount> fault_at_;
  bool resume_exact_ = false;  // the next instruction must run in an exact unit, its instrumentation fired
  EngineStats stats_;
};

}  // namespace panda::exec
