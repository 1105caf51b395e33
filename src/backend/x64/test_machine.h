// A guest CPU and memory small enough to compare byte by byte, for running one unit on a back end.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "backend/x64/random_ir.h"
#include "base/check.h"
#include "exec/backend.h"
#include "exec/translation_unit.h"
#include "memory/guest_memory.h"

namespace panda::test {

inline constexpr uint64_t kRamAlias = kRamBase + kTlbEntries * kPageSize;

// Maps the pages of RAM from kRamBase on; the third is read-only, the fourth not mapped in mode 1. The
// fifth is a device. The same again at kRamAlias, where it competes for the same TLB entries.
class TestMmu final : public Mmu {
 public:
  uint64_t walks = 0;

  bool translate(VcpuContext& cpu, uint64_t address, Access access, unsigned mode, bool probe,
                 Translation& out) noexcept override {
    walks++;
    const uint64_t page = (address - (address >= kRamAlias ? kRamAlias : kRamBase)) >> kPageBits;
    const bool ok = page < 5 && !(page == 2 && access == Access::Write) && !(page == 3 && mode == 1);
    if (!ok) {
      if (!probe) cpu.request(ExitRequest::Fault);
      return false;
    }
    out.phys = page << kPageBits;
    out.readable = true;
    out.writable = page != 2;
    return true;
  }
  void misaligned(VcpuContext& cpu, uint64_t, Access) noexcept override { cpu.request(ExitRequest::Fault); }
};

class TestMachine {
 public:
  explicit TestMachine(std::unique_ptr<exec::Backend> backend) : backend_(std::move(backend)) {
    auto memory = GuestMemory::create(kRamWindow, {RamRange{0, kRamWindow, 0}});
    PANDA_CHECK(memory.has_value());
    memory_ = std::move(*memory);
    storage_.resize(sizeof(VcpuContext) + kStateBytes + 64);
    const auto at = (reinterpret_cast<uintptr_t>(storage_.data()) + 63) & ~uintptr_t{63};
    cpu_ = new (reinterpret_cast<void*>(at)) VcpuContext;
    jump_cache_ = empty_jumps();
    cpu_->jump_cache = jump_cache_.data();
    memory_->set_mmu(&mmu_);
    memory_->attach(*cpu_);
  }
  TestMachine(const TestMachine&) = delete;
  TestMachine& operator=(const TestMachine&) = delete;

  [[nodiscard]] uint64_t walks() const { return mmu_.walks; }
  [[nodiscard]] VcpuContext& cpu() { return *cpu_; }
  [[nodiscard]] exec::Backend& backend() { return *backend_; }
  [[nodiscard]] uint8_t* state() { return static_cast<uint8_t*>(cpu_->state()); }
  [[nodiscard]] std::span<uint8_t> ram() { return memory_->ram(); }
  [[nodiscard]] std::vector<JumpCacheEntry>& jump_cache() { return jump_cache_; }

  template <typename T>
  [[nodiscard]] T slot(uint32_t offset) {
    T v;
    std::memcpy(&v, state() + offset, sizeof v);
    return v;
  }
  template <typename T>
  void set_slot(uint32_t offset, T v) {
    std::memcpy(state() + offset, &v, sizeof v);
  }

  // Random slots and RAM; the same for the same seed.
  void randomize(uint64_t seed) {
    ir::Unit none;
    RandomIr r(none, seed);
    std::memset(state(), 0, kStateBytes);
    for (const ir::Type t : kTypes) {
      for (uint32_t i = 0; i < kSlots; i++) {
        for (uint32_t k = 0; k < ir::size_bytes(t); k += 8) {
          const uint64_t v = r.random_bits(t);
          std::memcpy(state() + slot_offset(t, i) + k, &v, std::min(8u, ir::size_bytes(t)));
        }
      }
    }
    for (uint8_t& byte : ram()) byte = static_cast<uint8_t>(r.random(256));
    memory_->flush_tlb(*cpu_);
    mmu_.walks = 0;
    // In some runs the second page holds code.
    memory_->clear_code_page(kPageSize);
    if (seed % 3 == 0) memory_->mark_code_page(*cpu_, kPageSize);
    cpu_->exit_request = 0;
    cpu_->exact = 0;
    cpu_->guest_mxcsr =
        0x1f80 | static_cast<uint32_t>(r.random(4) << 13) | static_cast<uint32_t>(r.random(4) / 3 << 15);
    cpu_->budget = static_cast<int64_t>(r.random(40));
    cpu_->count_limit = 1000 + static_cast<uint64_t>(cpu_->budget);
  }

 private:
  std::unique_ptr<exec::Backend> backend_;
  std::unique_ptr<GuestMemory> memory_;
  TestMmu mmu_;
  std::vector<uint8_t> storage_;
  std::vector<JumpCacheEntry> jump_cache_;
  VcpuContext* cpu_ = nullptr;
};

}  // namespace panda::test
