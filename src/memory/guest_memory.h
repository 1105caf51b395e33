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
#include "memory/address_space.h"
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
  // Another address space is active: global pages keep their mappings, and so does what was looked up
  // while the space had the same id.
  virtual void space_changed(uint64_t /*id*/) noexcept { mappings_changed(); }
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
  void flush_tlb_local(VcpuContext& cpu);  // all but global pages
  // The page table base was loaded: drops all but global pages, except where nothing could tell.
  void enter_space(VcpuContext& cpu, const AddressSpace::Key& key);
  void flush_tlb_page(VcpuContext& cpu, uint64_t address);
  // The entry that permits `access` to the page of `address`, filled where needed; nullptr with the
  // guest's fault raised.
  TlbEntry* lookup(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept;
  // How often an entry was filled, and so maybe another one evicted.
  [[nodiscard]] uint64_t fills() const { return fills_; }
  // Stores through the entry need not be looked at any more.
  void make_stores_fast(TlbEntry& entry);
  // Physical address of an instruction fetch; false with the fault raised.
  bool fetch(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept;
  // The data TLBs as they are, and back to that: for who runs something twice. What was fetched from
  // globally stays as it is.
  class TlbImage;
  void save_tlb(TlbImage& out) const;
  void restore_tlb(const TlbImage& image);
  // Has the page been fetched from, and would its mapping outlive enter_space()?
  [[nodiscard]] bool fetched_globally(uint64_t address, unsigned mode) const;

 private:
  GuestMemory() = default;

  static constexpr uint8_t kCodePage = 1;
  static constexpr unsigned kFetchEntries = 256;
  struct FetchEntry {
    uint64_t tag = ~uint64_t{0};
    uint64_t phys_page = 0;
  };
  // What is not of the active space.
  struct ModeTables {
    std::vector<FetchEntry> fetch;  // a front to the spaces' and the global fetched pages
    std::vector<uint32_t> fetch_filled;
    std::unordered_map<uint64_t, uint64_t> fetched_globally;
  };
  static constexpr size_t kSpaces = 16;

  void clear_active_entries();
  void list_locally(uint32_t slot, const TlbEntry& e, const Translation& t);
  void clear_fetch_fronts();
  void renew(AddressSpace& space) { space.id = ++last_space_id_; }
  AddressSpace& space_for(const AddressSpace::Key& key);
  [[nodiscard]] uint32_t slot_of(const TlbEntry& e) const { return static_cast<uint32_t>(&e - entries_); }

  uint8_t* ram_ = nullptr;
  uint64_t size_ = 0;
  std::vector<RamRange> ranges_;
  std::vector<uint8_t> page_flags_;        // by RAM page number
  std::vector<ModeTables> tables_;         // by MMU mode
  TlbEntry* entries_ = nullptr;            // VcpuContext::tlb's, over all modes
  std::vector<uint16_t> position_;         // by slot: one above the index in the active space's pages, or 0
  std::vector<uint32_t> filled_globally_;  // slots that have held global pages
  std::vector<uint8_t> listed_globally_;   // by slot
  std::vector<AddressSpace> spaces_;
  AddressSpace* active_ = nullptr;
  uint64_t last_space_id_ = 0;
  uint64_t entered_ = 0;
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
  std::vector<TlbEntry> entries_;
  std::vector<uint16_t> position_;
  std::vector<uint32_t> filled_globally_;
  std::vector<uint8_t> listed_globally_;
  std::vector<AddressSpace> spaces_;
  size_t active_ = 0;
  uint64_t entered_ = 0;
};

}  // namespace panda
