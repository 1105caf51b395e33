// Runs single IR units on a back end, on a small state and memory of their own; and the helpers
// that test units may call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "exec/backend.h"
#include "exec/translation_unit.h"
#include "ir/ir.h"
#include "memory/guest_memory.h"

namespace panda::ir::test {

inline constexpr uint64_t kRamBytes = 64 * 1024;
inline constexpr uint64_t kFaultBase = 0x100000;  // pages from here on are not mapped
inline constexpr uint32_t kStateBytes = 512;
inline constexpr uint32_t kPcOffset = 256;
inline constexpr uint32_t kHelperSlot = 264;  // an I64 that `writes_slot` and `reads_slot` use
inline constexpr uint32_t kFaultSlot = 272;   // an I64: address of the last fault

// Helpers by name: mix, pure_mix, reads_slot, writes_slot, leaves_if_odd, narrow, divides.
[[nodiscard]] const HelperDesc* helper(std::string_view name);
[[nodiscard]] std::vector<const HelperDesc*> all_helpers();

struct BackendFactory {
  std::string name;
  std::function<std::unique_ptr<exec::Backend>()> create;
};
[[nodiscard]] std::vector<BackendFactory> backends();

// What is left after a unit ran.
struct Outcome {
  exec::Exit kind{};
  uint32_t index = 0;
  uint32_t request = 0;
  int64_t budget = 0;
  uint32_t mxcsr = 0;
  std::vector<uint8_t> state;
  std::vector<uint8_t> ram;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
[[nodiscard]] std::string describe(const Outcome& outcome);

class IrMachine {
 public:
  explicit IrMachine(std::unique_ptr<exec::Backend> backend);

  // Runs `unit` once from this state and RAM (copied), under this MXCSR.
  Outcome run(const Unit& unit, const std::vector<uint8_t>& state, const std::vector<uint8_t>& ram, int64_t budget,
              uint32_t mxcsr = 0x1f80);

  [[nodiscard]] VcpuContext& cpu() { return *reinterpret_cast<VcpuContext*>(storage_.get()); }
  [[nodiscard]] exec::Backend& backend() { return *backend_; }

 private:
  struct Identity;
  struct Free {
    void operator()(uint8_t* p) const;
  };
  std::unique_ptr<exec::Backend> backend_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Mmu> mmu_;
  std::unique_ptr<uint8_t, Free> storage_;
  std::vector<JumpCacheEntry> jump_cache_;
};

}  // namespace panda::ir::test
