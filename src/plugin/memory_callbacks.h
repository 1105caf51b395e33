// virt_mem_* and phys_mem_*: reports every access of the guest to memory, exactly once.
//
// Loads and stores of translated code report themselves, before and after the op. Where all callbacks of that
// kind only look and count (callback_scan.h), translated code calls them itself; otherwise one of the functions
// below, with the access's constant parts in a Site. Accesses of helpers and of exception delivery come through
// AccessObserver; the instruction and count that they belong to are then in the state's fields, which are set
// before each helper is called. Nothing registered: nothing emitted.
//
// An instruction that is run again from its beginning (in an exact unit, because it crosses the line) makes the
// same accesses again, and what was reported must not be reported twice. The places in an instruction's code
// where something may be reported are numbered; where one has been passed, the number is noted before anything
// that may lead to a restart, and the exact unit passes over reports up to there. So an instruction with one
// access, as most are, notes nothing. What C++ code reports is counted instead.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <unordered_map>

#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "ir/report_call.h"
#include "memory/access_observer.h"
#include "memory/vcpu_context.h"
#include "plugin/callback_registry.h"
#include "plugin/near_memory.h"
#include "plugin/target.h"

namespace panda::plugin {

class Instrumentation;

class MemoryCallbacks final : public ir::AccessHook, public AccessObserver {
 public:
  MemoryCallbacks(Instrumentation& instrumentation, VcpuContext& cpu, const Target& target, CallbackRegistry& registry);
  ~MemoryCallbacks() override;

  void set_on(bool on);                                 // panda_enable_memcb, panda_disable_memcb
  [[nodiscard]] static bool is_virtual(unsigned type);  // virt_mem_*

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
    uint16_t place;   // in the instruction
    uint8_t mode;
    uint8_t size;    // of this part
    uint8_t offset;  // of this part
    uint8_t whole;
  };

  [[nodiscard]] bool wanted(Phase phase) const {
    return !registry_.emitted(kTypes[phase].virt).empty() || !registry_.emitted(kTypes[phase].phys).empty();
  }
  [[nodiscard]] bool all_direct(Phase phase) const;
  void begin_place(ir::Builder& b, const Access* part);
  void emit_note(ir::Builder& b);
  [[nodiscard]] uint64_t add_site(ir::Builder& b, const Access& access, unsigned size);
  // Descriptors of direct calls.
  struct DirectCall : ir::ReportCall {
    const Callback* callback;
    MemoryCallbacks* owner;
    unsigned size;  // of the access
  };
  [[nodiscard]] const ir::HelperDesc& direct_call(const Callback& callback, unsigned size, ir::Type data);
  void emit_direct(ir::Builder& b, Phase phase, const Access& access, ir::Value data);
  void emit(ir::Builder& b, Phase phase, const Access& access, ir::Value data);
  // Called by translated code; two words where an access has more than eight bytes.
  template <Phase phase>
  static void report_site(void* state, uint64_t site, uint64_t address, uint64_t low) noexcept;
  template <Phase phase>
  static void report_wide(void* state, uint64_t site, uint64_t address, uint64_t low, uint64_t high) noexcept;
  static void filter_passed(void* state, const ir::ReportCall& report, uint32_t refund, uint64_t address) noexcept;
  template <typename F>
  void at_count(uint64_t count, F calls);
  static void note(void* state, uint64_t site) noexcept;
  static const ir::HelperDesc& note_call();
  template <Phase phase>
  static const ir::HelperDesc& helper(bool wide);
  static const ir::HelperDesc& helper_of(Phase phase, bool wide);

  template <Phase phase>
  void report(void* state, const Site& site, uint64_t address);
  void report(VcpuContext& cpu, Phase phase, const GuestAccess& access, const void* data);
  template <Phase phase>
  void call(void* state, uint64_t pc, const GuestAccess& access, uint8_t* data);
  void call_physical(void* state, Phase phase, uint64_t pc, const GuestAccess& access, uint8_t* data);

  [[nodiscard]] uint64_t count_at(uint32_t refund) const {
    return cpu_.count_limit - static_cast<uint64_t>(cpu_.budget) - refund;
  }
  [[nodiscard]] static uint64_t field(const void* state, uint32_t offset) {
    uint64_t v = 0;
    if (offset != kNoField) std::memcpy(&v, static_cast<const uint8_t*>(state) + offset, sizeof v);
    return v;
  }
  // The reports that were made of the instruction at `count`.
  struct Made {
    uint64_t count = ~uint64_t{0};
    uint32_t places = 0;  // so many places were passed
    uint32_t others = 0;  // reports of C++ code
    // Those of this instruction; none where it was another one's.
    Made& at(uint64_t now) {
      if (count != now) *this = {now, 0, 0};
      return *this;
    }
  };
  void forget_seen() { made_ = skip_ = {}; }

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
  std::deque<std::deque<Site>> dropped_;                               // the unit may still run
  std::unordered_map<const ir::HelperDesc*, ir::HelperDesc> helpers_;  // as called by reporting units
  // Of the instruction being translated.
  uint32_t insn_ = 0;        // its index
  uint32_t last_place_ = 0;  // the IR position of its last place
  uint16_t places_ = 0;
  uint16_t not_noted_ = 0;  // places up to here have direct calls, of which no note was made
  std::deque<DirectCall> direct_calls_;
  struct alignas(16) Buffer {
    uint8_t bytes[16];
  };
  NearPool<Buffer> buffers_;
  Buffer* const buffer_;  // data for direct calls
  Made made_;
  Made skip_;  // made before the instruction at skip_.count was restarted
  alignas(16) uint8_t data_[kLongest] = {};
};

}  // namespace panda::plugin
