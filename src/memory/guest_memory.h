// Guest physical memory: RAM ranges over one host mapping, everything else is the outside's
// (MMIO). Keeps per-page flags that make a page's stores take the slow path, and the soft TLBs'
// contents in step with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "memory/mmu.h"
#include "memory/vcpu_context.h"

namespace panda {

// Tells the translation cache that bytes with translations changed.
class CodeObserver {
 public:
  virtual ~CodeObserver() = default;
  // Does any translation overlap [phys, phys + size)?
  virtual bool overlaps_code(uint64_t phys, uint64_t size) noexcept = 0;
  virtual void invalidate_code(uint64_t phys, uint64_t size) noexcept = 0;
};

struct RamRange {
  uint64_t phys = 0;    // first guest physical address, page-aligned
  uint64_t size = 0;    // bytes, page-aligned
  uint64_t offset = 0;  // within the RAM block
};

class GuestMemory {
 public:
  // Maps `size` bytes of zeroed RAM (page-aligned) on the host. `ranges` place it.
  static Result<std::unique_ptr<GuestMemory>> create(uint64_t size_bytes, std::vector<RamRange> ranges);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  [[nodiscard]] uint64_t size_bytes() const { return size_; }
  [[nodiscard]] std::span<const RamRange> ranges() const { return ranges_; }
  [[nodiscard]] std::span<uint8_t> ram() { return {ram_, size_}; }
  // Host pointer of a physical address in RAM with at least `size` bytes to its page's end, or nullptr.
  [[nodiscard]] uint8_t* host(GuestPhysAddr address, uint64_t size = 1);

  // Physical access by a device or a loader (DMA), between two instructions: keeps translations
  // right. False where part of it is not RAM (that part is not touched).
  bool read(GuestPhysAddr address, void* out, uint64_t size);
  bool write(GuestPhysAddr address, const void* data, uint64_t size);

  // --- code pages
  void set_code_observer(CodeObserver* observer) { observer_ = observer; }
  [[nodiscard]] CodeObserver* code_observer() { return observer_; }
  // A translation was made from this page / the last one is gone.
  void mark_code_page(VcpuContext& cpu, uint64_t phys_page);
  void clear_code_page(uint64_t phys_page);
  [[nodiscard]] bool is_code_page(uint64_t phys_page) const;

  // --- soft TLB
  void set_mmu(Mmu* mmu) { mmu_ = mmu; }
  [[nodiscard]] Mmu* mmu() { return mmu_; }
  void attach(VcpuContext& cpu);  // gives the CPU its tables
  void flush_tlb(VcpuContext& cpu);
  void flush_tlb_page(VcpuContext& cpu, uint64_t address);
  // All accesses take the slow path while set (memory callbacks of plugins look at each one there).
  // Fills entry for `address`; returns it, or nullptr with the fault raised.
  TlbEntry* fill(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept;

 private:
  GuestMemory() = default;

  uint8_t* ram_ = nullptr;
  uint64_t size_ = 0;
  std::vector<RamRange> ranges_;
  std::vector<uint8_t> page_flags_;  // by RAM page number
  std::vector<TlbEntry> tlb_storage_;
  CodeObserver* observer_ = nullptr;
  Mmu* mmu_ = nullptr;

  [[nodiscard]] const RamRange* range_of(uint64_t phys) const;
};

}  // namespace panda
