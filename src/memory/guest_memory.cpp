#include "memory/guest_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <algorithm>

#include "base/check.h"

namespace panda {

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(uint64_t size_bytes, std::vector<RamRange> ranges) {
  uint64_t placed = 0;
  for (const RamRange& r : ranges) {
    PANDA_CHECK(r.phys % kPageSize == 0 && r.size % kPageSize == 0 && r.offset % kPageSize == 0);
    PANDA_CHECK(r.offset + r.size <= size_bytes);
    placed += r.size;
  }
  PANDA_CHECK(placed == size_bytes && size_bytes > 0);
  void* ram = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (ram == MAP_FAILED) {
    return fail("cannot get {} MiB of guest memory from the host: {}", size_bytes >> 20, std::strerror(errno));
  }
  madvise(ram, size_bytes, MADV_HUGEPAGE);
  std::unique_ptr<GuestMemory> memory(new GuestMemory);
  memory->ram_ = static_cast<uint8_t*>(ram);
  memory->size_ = size_bytes;
  memory->ranges_ = std::move(ranges);
  memory->page_flags_.resize(size_bytes >> kPageBits);
  return memory;
}

GuestMemory::~GuestMemory() {
  if (ram_ != nullptr) munmap(ram_, size_);
}

const RamRange* GuestMemory::range_of(uint64_t phys) const {
  for (const RamRange& r : ranges_) {
    if (phys - r.phys < r.size) return &r;
  }
  return nullptr;
}

uint8_t* GuestMemory::host(GuestPhysAddr address, uint64_t size) {
  const RamRange* r = range_of(address.value);
  if (r == nullptr || r->size - (address.value - r->phys) < size) return nullptr;
  return ram_ + r->offset + (address.value - r->phys);
}

bool GuestMemory::read(GuestPhysAddr address, void* out, uint64_t size) {
  auto* to = static_cast<uint8_t*>(out);
  bool complete = true;
  while (size > 0) {
    const uint64_t part = std::min(size, kPageSize - address.value % kPageSize);
    if (const uint8_t* from = host(address, part)) std::memcpy(to, from, part);
    else complete = false;
    to += part;
    address += part;
    size -= part;
  }
  return complete;
}

bool GuestMemory::write(GuestPhysAddr address, const void* data, uint64_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bool complete = true;
  while (size > 0) {
    const uint64_t part = std::min(size, kPageSize - address.value % kPageSize);
    if (uint8_t* to = host(address, part)) {
      if (is_code_page(address.value & kPageMask) && observer_ != nullptr) {
        observer_->invalidate_code(address.value, part);
      }
      if (watch_ != nullptr) watch_->before_write(to, part, 0, MemoryWatch::kNoMode);
      std::memcpy(to, from, part);
      if (dma_observer_ != nullptr) dma_observer_->dma_written(address, {from, part});
    } else {
      complete = false;
    }
    from += part;
    address += part;
    size -= part;
  }
  return complete;
}

void GuestMemory::set_watch(MemoryWatch* watch) {
  watch_ = watch;
  if (watch == nullptr) return;  // tags that are slow for no reason any more: see access.cpp
  for (ModeTables& t : tables_) {
    for (TlbEntry& e : std::span(t.entries, kTlbEntries)) {
      if ((e.write_tag & ~kPageMask) == 0) e.write_tag |= kTlbSlow;
    }
  }
}

bool GuestMemory::is_code_page(uint64_t phys_page) const {
  const RamRange* r = range_of(phys_page);
  return r != nullptr && (page_flags_[(r->offset + (phys_page - r->phys)) >> kPageBits] & kCodePage) != 0;
}

void GuestMemory::mark_code_page(VcpuContext&, uint64_t phys_page) {
  const RamRange* r = range_of(phys_page);
  if (r == nullptr) return;
  uint8_t& flags = page_flags_[(r->offset + (phys_page - r->phys)) >> kPageBits];
  if ((flags & kCodePage) != 0) return;
  flags = static_cast<uint8_t>(flags | kCodePage);
  // Stores that were inlined before the page held code must be seen from now on.
  for (ModeTables& t : tables_) {
    for (const auto* list : {&t.filled, &t.filled_globally}) {
      for (uint32_t index : *list) {
        TlbEntry& e = t.entries[index];
        if (e.phys_page == phys_page && (e.write_tag & ~kPageMask) == 0) e.write_tag |= kTlbSlow;
      }
    }
  }
}

void GuestMemory::clear_code_page(uint64_t phys_page) {
  const RamRange* r = range_of(phys_page);
  if (r == nullptr) return;
  uint8_t& flags = page_flags_[(r->offset + (phys_page - r->phys)) >> kPageBits];
  flags = static_cast<uint8_t>(flags & ~kCodePage);
  // Slow write tags that remain are put right when a store next takes the slow path (access.cpp).
}

void GuestMemory::attach(VcpuContext& cpu) {
  cpu.memory = this;
  tables_.resize(kMmuModes);
  for (unsigned mode = 0; mode < kMmuModes; mode++) {
    tables_[mode].entries = cpu.tlb[mode].entries;
    std::fill_n(tables_[mode].entries, kTlbEntries, TlbEntry{});
    tables_[mode].listed.assign(kTlbEntries, 0);
    tables_[mode].fetch.assign(kFetchEntries, FetchEntry{});
  }
}

// Each index is listed once per kind, so a list never grows beyond the table.
void GuestMemory::clear_listed(ModeTables& tables, std::vector<uint32_t>& list, uint8_t kind) {
  for (uint32_t index : list) {
    tables.entries[index] = TlbEntry{};
    tables.listed[index] = static_cast<uint8_t>(tables.listed[index] & ~kind);
  }
  list.clear();
}

void GuestMemory::clear_fetch_front(ModeTables& tables) {
  if (tables.fetch_filled.size() == kFetchEntries) {  // it may lack some
    std::fill(tables.fetch.begin(), tables.fetch.end(), FetchEntry{});
  } else {
    for (uint32_t index : tables.fetch_filled) tables.fetch[index] = FetchEntry{};
  }
  tables.fetch_filled.clear();
}

void GuestMemory::save_tlb(TlbImage& out) const {
  out.modes_.resize(tables_.size());
  for (size_t mode = 0; mode < tables_.size(); mode++) {
    const ModeTables& from = tables_[mode];
    TlbImage::OneMode& to = out.modes_[mode];
    to.filled = from.filled;
    to.filled_globally = from.filled_globally;
    if (from.filled.empty() && from.filled_globally.empty()) continue;
    to.entries.assign(from.entries, from.entries + kTlbEntries);
    to.listed = from.listed;
  }
}

void GuestMemory::restore_tlb(const TlbImage& image) {
  for (unsigned mode = 0; mode < tables_.size(); mode++) {
    ModeTables& to = tables_[mode];
    const TlbImage::OneMode& from = image.modes_[mode];
    clear_listed(to, to.filled, kLocal);
    clear_listed(to, to.filled_globally, kGlobal);
    to.filled = from.filled;
    to.filled_globally = from.filled_globally;
    if (from.filled.empty() && from.filled_globally.empty()) continue;
    std::copy(from.entries.begin(), from.entries.end(), to.entries);
    to.listed = from.listed;
  }
}

void GuestMemory::flush_tlb(VcpuContext&) {
  if (watch_ != nullptr) watch_->before_flush();
  for (ModeTables& t : tables_) {
    clear_listed(t, t.filled, kLocal);
    clear_listed(t, t.filled_globally, kGlobal);
    clear_fetch_front(t);
    t.fetched.clear();
    t.fetched_globally.clear();
  }
  if (observer_ != nullptr) observer_->mappings_changed();
}

void GuestMemory::flush_tlb_local(VcpuContext&) {
  if (watch_ != nullptr) watch_->before_flush();
  for (ModeTables& t : tables_) {
    clear_listed(t, t.filled, kLocal);
    clear_fetch_front(t);
    t.fetched.clear();
  }
  if (observer_ != nullptr) observer_->local_mappings_changed();
}

void GuestMemory::flush_tlb_page(VcpuContext& cpu, uint64_t address) {
  const uint64_t page = address & kPageMask;
  bool had_code = false;
  for (unsigned mode = 0; mode < kMmuModes; mode++) {
    TlbEntry& e = cpu.tlb[mode].at(address);
    if (watch_ != nullptr) watch_->before_fill(address, mode);
    // The index stays listed: clearing it once more is harmless.
    if ((e.read_tag & kPageMask) == page || (e.write_tag & kPageMask) == page) e = TlbEntry{};
    ModeTables& tables = tables_[mode];
    FetchEntry& f = tables.fetch[(address >> kPageBits) % kFetchEntries];
    if (f.tag == page) f = FetchEntry{};
    had_code |= tables.fetched.erase(page) + tables.fetched_globally.erase(page) != 0;
  }
  // What was never fetched from has no place in a jump cache.
  if (had_code && observer_ != nullptr) observer_->mappings_changed();
}

TlbEntry* GuestMemory::fill(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept {
  Translation t;
  if (!mmu_->translate(cpu, address, access, mode, false, t)) return nullptr;
  if (watch_ != nullptr) watch_->before_fill(address, mode);
  const uint64_t page = address & kPageMask;
  fills_++;
  TlbEntry& e = cpu.tlb[mode].at(address);
  ModeTables& tables = tables_[mode];
  const auto index = static_cast<uint32_t>(&e - tables.entries);
  const uint8_t kind = t.global ? kGlobal : kLocal;
  if ((tables.listed[index] & kind) == 0) {
    tables.listed[index] = static_cast<uint8_t>(tables.listed[index] | kind);
    (t.global ? tables.filled_globally : tables.filled).push_back(index);
  }
  const uint8_t* ram = host(GuestPhysAddr(t.phys), kPageSize);
  uint64_t slow = ram == nullptr ? kTlbSlow | kTlbMmio : 0;
  if (cpu.watched(page, kPageSize)) slow |= kTlbSlow;
  e.read_tag = t.readable ? page | slow : ~uint64_t{0};
  const bool see_stores = ram != nullptr && (watch_ != nullptr || is_code_page(t.phys));
  e.write_tag = t.writable ? page | slow | (see_stores ? kTlbSlow : 0) : ~uint64_t{0};
  e.addend = ram == nullptr ? 0 : reinterpret_cast<uintptr_t>(ram) - page;
  e.phys_page = t.phys;
  return &e;
}

TlbEntry* GuestMemory::lookup(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept {
  TlbEntry& e = cpu.tlb[mode].at(address);
  const uint64_t tag = access == Access::Write ? e.write_tag : e.read_tag;
  if ((tag & ~(kTlbSlow | kTlbMmio)) == (address & kPageMask)) return &e;
  return fill(cpu, address, access, mode);
}

bool GuestMemory::fetch(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept {
  ModeTables& tables = tables_[mode];
  const auto index = static_cast<uint32_t>((address >> kPageBits) % kFetchEntries);
  FetchEntry& f = tables.fetch[index];
  if (f.tag != (address & kPageMask)) {
    const uint64_t page = address & kPageMask;
    Translation t;
    if (const auto local = tables.fetched.find(page); local != tables.fetched.end()) {
      t.phys = local->second;
    } else if (const auto global = tables.fetched_globally.find(page); global != tables.fetched_globally.end()) {
      t.phys = global->second;
    } else {
      if (!mmu_->translate(cpu, address, Access::Fetch, mode, false, t)) return false;
      (t.global ? tables.fetched_globally : tables.fetched).emplace(page, t.phys);
    }
    if (f.tag == ~uint64_t{0} && tables.fetch_filled.size() < kFetchEntries) tables.fetch_filled.push_back(index);
    f = {page, t.phys};
  }
  phys = f.phys_page | (address & ~kPageMask);
  return true;
}

bool GuestMemory::fetched_globally(uint64_t address, unsigned mode) const {
  return tables_[mode].fetched_globally.contains(address & kPageMask);
}

}  // namespace panda
