// virt_mem_* and phys_mem_*: reports every access of the guest to memory, exactly once.
//
// Loads and stores of translated code report themselves: before and after the op stands a call of one of
// the functions below, with the access's constant parts in an AccessSite. Accesses of helpers and of
// exception delivery come through AccessObserver; the instruction and count that they belong to are then
// in the state's fields, which are set before each helper is called. Nothing registered: nothing emitted.
//
// An instruction that is run again from its beginning (in an exact unit, because it crosses the line)
// makes the same accesses again: as many reports as there were at that count are passed over.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "memory/access_observer.h"
#include "memory/vcpu_context.h"
#include "plugin/callback_registry.h"
#include "plugin/target.h"

namespace panda::plugin {

class Instrumentation;

class MemoryCallbacks final : public ir::AccessHook, public AccessObserver {
 public:
  MemoryCallbacks(Instrumentation& instrumentation, VcpuContext& cpu, const Target& target, CallbackRegistry& registry);
  ~MemoryCallbacks() override;

  void set_on(bool on);  // panda_enable_memcb, panda_disable_memcb

  // As Instrumenter's of these names.
  void unit_begins(const exec::TranslationUnit& unit);
  void unit_translated(exec::TranslationUnit& unit);
  void unit_dropped(const exec::TranslationUnit& unit);
  [[nodiscard]] ir::AccessHook* access_hook() { return active_ ? this : nullptr; }
  void insn_restarts();
  void delivery_begins();
  void delivery_ends() { forget_seen(); }
  [[nodiscard]] bool running() const { return running_; }  // one of these callbacks

  // AccessHook
  void before_load(ir::Builder& builder, const Access& access) override;
  void before_store(ir::Builder& builder, const Access& access, ir::Value data) override;
  void after_load(ir::Builder& builder, const Access& access, ir::Value data) override;
  void after_store(ir::Builder& builder, const Access& access, ir::Value data) override;
  const ir::HelperDesc& before_call(ir::Builder& builder, const ir::HelperDesc& helper) override;
  // AccessObserver
  void before_access(VcpuContext& cpu, const GuestAccess& access, const void* data) noexcept override;
  void after_access(VcpuContext& cpu, const GuestAccess& access, const void* data) noexcept override;

 private:
  enum Phase : unsigned { kBeforeLoad, kBeforeStore, kAfterLoad, kAfterStore };
  struct Types {
    unsigned virt, phys;
  };
  static constexpr Types kTypes[] = {{PANDA_CB_VIRT_MEM_BEFORE_READ, PANDA_CB_PHYS_MEM_BEFORE_READ},
                                     {PANDA_CB_VIRT_MEM_BEFORE_WRITE, PANDA_CB_PHYS_MEM_BEFORE_WRITE},
                                     {PANDA_CB_VIRT_MEM_AFTER_READ, PANDA_CB_PHYS_MEM_AFTER_READ},
                                     {PANDA_CB_VIRT_MEM_AFTER_WRITE, PANDA_CB_PHYS_MEM_AFTER_WRITE}};
  static constexpr unsigned kLongest = 64;  // bytes of one access

  // What of an access is known when it is translated.
  struct Site {
    MemoryCallbacks* owner;
    uint64_t pc;      // linear
    uint32_t insn;    // index in the unit
    uint16_t refund;  // of that instruction (ir::GuestInsn)
    uint8_t mode;
    uint8_t size;    // of this part
    uint8_t offset;  // of this part
    uint8_t whole;
  };

  [[nodiscard]] bool wanted(Phase phase) const {
    return registry_.active(kTypes[phase].virt) || registry_.active(kTypes[phase].phys);
  }
  void emit(ir::Builder& b, Phase phase, const Access& access, ir::Value data);
  // Called by translated code; two words where an access has more than eight bytes.
  template <Phase phase>
  static void report_site(void* state, uint64_t site, uint64_t address, uint64_t low) noexcept;
  template <Phase phase>
  static void report_wide(void* state, uint64_t site, uint64_t address, uint64_t low, uint64_t high) noexcept;
  template <Phase phase>
  static const ir::HelperDesc& helper(bool wide);
  static const ir::HelperDesc& helper_of(Phase phase, bool wide);

  template <Phase phase>
  void report(void* state, const Site& site, uint64_t address);
  void report(VcpuContext& cpu, Phase phase, const GuestAccess& access, const void* data);
  template <Phase phase>
  void call(void* state, uint64_t pc, const GuestAccess& access, uint8_t* data);
  template <Phase phase>
  [[nodiscard]] bool call_directly(void* state, uint64_t pc, const GuestAccess& access, uint8_t* data);
  void call_physical(void* state, Phase phase, uint64_t pc, const GuestAccess& access, uint8_t* data);

  // Counts the reports of the instruction at `count`. True: this one was made before the instruction
  // was restarted.
  [[nodiscard]] bool seen(uint64_t count) {
    if (count != count_) {
      count_ = count;
      reports_ = 0;
    }
    reports_++;
    return skip_ != 0 && was_seen(count);
  }
  [[nodiscard]] bool was_seen(uint64_t count);
  void forget_seen() {
    count_ = ~uint64_t{0};
    reports_ = skip_ = 0;
  }

  Instrumentation& instrumentation_;
  VcpuContext& cpu_;
  const Target& target_;
  CallbackRegistry& registry_;
  bool on_ = false;
  bool active_ = false;  // units are made with reports
  bool running_ = false;
  const exec::TranslationUnit* unit_ = nullptr;  // being translated
  std::deque<Site> pending_;                     // its
  std::unordered_map<const exec::TranslationUnit*, std::deque<Site>> sites_;
  std::deque<std::deque<Site>> dropped_;  // the unit may still run
  std::unordered_map<const ir::HelperDesc*, ir::HelperDesc> helpers_;  // as called by reporting units
  uint64_t count_ = ~uint64_t{0};
  uint32_t reports_ = 0;  // of the instruction at count_
  uint32_t skip_ = 0;     // so many reports of the instruction at skip_count_ were made already
  uint64_t skip_count_ = 0;
  alignas(16) uint8_t data_[kLongest] = {};
};

}  // namespace panda::plugin
