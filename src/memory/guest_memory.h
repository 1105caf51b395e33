// Guest physical memory: RAM ranges over one host mapping, everything else is the outside's
// (MMIO). Keeps per-page flags that make a page's stores take the slow path, and the soft TLBs'
// contents in step with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "memory/memory_watch.h"
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
  // Virtual mappings were flushed: what was looked up by virtual address must be looked up again.
  virtual void mappings_changed() noexcept {}
  // The same, but global pages keep their mappings.
  virtual void local_mappings_changed() noexcept { mappings_changed(); }
};

// Sees each write() that changed RAM (a recorder logs it). Not called for the CPU's own stores.
class DmaObserver {
 public:
  virtual ~DmaObserver() = default;
  virtual void dma_written(GuestPhysAddr address, std::span<const uint8_t> bytes) = 0;
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

  void set_dma_observer(DmaObserver* observer) { dma_observer_ = observer; }
  // May be null. Setting one makes stores that were inlined seen.
  void set_watch(MemoryWatch* watch);
  [[nodiscard]] MemoryWatch* watch() { return watch_; }

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
  void attach(VcpuContext& cpu);  // before any access; one CPU
  void flush_tlb(VcpuContext& cpu);
  void flush_tlb_local(VcpuContext& cpu);  // all but global pages: another address space
  void flush_tlb_page(VcpuContext& cpu, uint64_t address);
  // The entry that permits `access` to the page of `address`, filled where needed; nullptr with the
  // guest's fault raised.
  TlbEntry* lookup(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept;
  // How often an entry was filled, and so maybe another one evicted.
  [[nodiscard]] uint64_t fills() const { return fills_; }
  // Physical address of an instruction fetch; false with the fault raised.
  bool fetch(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept;
  // The data TLBs as they are, and back to that: for who runs something twice. What was fetched from
  // stays as it is.
  class TlbImage;
  void save_tlb(TlbImage& out) const;
  void restore_tlb(const TlbImage& image);
  // Has the page been fetched from, and would its mapping outlive flush_tlb_local()?
  [[nodiscard]] bool fetched_globally(uint64_t address, unsigned mode) const;

 private:
  GuestMemory() = default;

  static constexpr uint8_t kCodePage = 1;
  static constexpr unsigned kFetchEntries = 256;
  struct FetchEntry {
    uint64_t tag = ~uint64_t{0};
    uint64_t phys_page = 0;
  };
  struct ModeTables {
    TlbEntry* entries = nullptr;  // VcpuContext::tlb's
    // Indices to clear at a flush, those of global pages by themselves; full: clear all. One that has
    // been both is in both.
    std::vector<uint32_t> filled;
    std::vector<uint32_t> filled_globally;
    std::vector<uint8_t> listed;    // by index: kLocal, kGlobal
    std::vector<FetchEntry> fetch;  // a front to `fetched`
    std::vector<uint32_t> fetch_filled;
    // Every page fetched from since the last flush. It evicts nothing, because how often a page is
    // looked up depends on chaining and unit sizes: a walk that one back end made and another did
    // not would set an accessed bit in one of them alone.
    std::unordered_map<uint64_t, uint64_t> fetched;
    std::unordered_map<uint64_t, uint64_t> fetched_globally;
  };
  static constexpr uint8_t kLocal = 1, kGlobal = 2;
  static void clear_listed(ModeTables& tables, std::vector<uint32_t>& list, uint8_t kind);
  static void clear_fetch_front(ModeTables& tables);

  uint8_t* ram_ = nullptr;
  uint64_t size_ = 0;
  std::vector<RamRange> ranges_;
  std::vector<uint8_t> page_flags_;  // by RAM page number
  std::vector<ModeTables> tables_;   // by MMU mode
  uint64_t fills_ = 0;
  CodeObserver* observer_ = nullptr;
  DmaObserver* dma_observer_ = nullptr;
  MemoryWatch* watch_ = nullptr;
  Mmu* mmu_ = nullptr;

  TlbEntry* fill(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept;
  [[nodiscard]] const RamRange* range_of(uint64_t phys) const;
};

class GuestMemory::TlbImage {
  friend class GuestMemory;
  struct OneMode {
    std::vector<TlbEntry> entries;
    std::vector<uint32_t> filled, filled_globally;
    std::vector<uint8_t> listed;
  };
  std::vector<OneMode> modes_;
};

}  // namespace panda
