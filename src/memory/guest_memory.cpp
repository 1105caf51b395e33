#include "memory/guest_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

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
    if (const uint8_t* from = host(address, part))
      std::memcpy(to, from, part);
    else
      complete = false;
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
  const auto make_slow = [](TlbEntry& e) {
    if ((e.write_tag & ~kPageMask) == 0) e.write_tag |= kTlbSlow;
  };
  if (entries_ != nullptr) std::for_each_n(entries_, kMmuModes * kTlbEntries, make_slow);
  for (AddressSpace& space : spaces_) std::ranges::for_each(space.entries, make_slow);
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
  const auto make_slow = [phys_page](TlbEntry& e) {
    if (e.phys_page == phys_page && (e.write_tag & ~kPageMask) == 0) e.write_tag |= kTlbSlow;
  };
  for (const uint32_t slot : filled_globally_) make_slow(entries_[slot]);
  if (active_ == nullptr) return;
  for (const AddressSpace::Page& p : active_->pages) make_slow(entries_[p.slot]);
  for (AddressSpace& space : spaces_) {
    for (TlbEntry& e : space.entries) make_slow(e);
  }
}

void GuestMemory::make_stores_fast(TlbEntry& entry) {
  entry.write_tag &= ~kTlbSlow;
  const uint16_t position = position_[slot_of(entry)];
  if (position == 0) return;
  TlbEntry& kept = active_->entries[position - 1u];
  if (kept.write_tag == (entry.write_tag | kTlbSlow)) kept.write_tag = entry.write_tag;
}

void GuestMemory::clear_code_page(uint64_t phys_page) {
  const RamRange* r = range_of(phys_page);
  if (r == nullptr) return;
  uint8_t& flags = page_flags_[(r->offset + (phys_page - r->phys)) >> kPageBits];
  flags = static_cast<uint8_t>(flags & ~kCodePage);
  // Slow write tags that remain are put right when a store next takes the slow path (access.cpp).
}

void GuestMemory::attach(VcpuContext& cpu) {
  static_assert(sizeof cpu.tlb == sizeof(TlbEntry) * kMmuModes * kTlbEntries);
  cpu.memory = this;
  entries_ = cpu.tlb[0].entries;
  std::fill_n(entries_, kMmuModes * kTlbEntries, TlbEntry{});
  position_.assign(kMmuModes * kTlbEntries, 0);
  listed_globally_.assign(kMmuModes * kTlbEntries, 0);
  filled_globally_.clear();
  tables_.assign(kMmuModes, {});
  for (ModeTables& t : tables_) t.fetch.assign(kFetchEntries, FetchEntry{});
  spaces_.assign(kSpaces, {});
  active_ = &spaces_[0];
  renew(*active_);
}

void GuestMemory::clear_active_entries() {
  for (const AddressSpace::Page& p : active_->pages) {
    entries_[p.slot] = TlbEntry{};
    position_[p.slot] = 0;
  }
}

void GuestMemory::clear_fetch_fronts() {
  for (ModeTables& t : tables_) {
    if (t.fetch_filled.size() == kFetchEntries) {  // it may lack some
      std::fill(t.fetch.begin(), t.fetch.end(), FetchEntry{});
    } else {
      for (uint32_t index : t.fetch_filled) t.fetch[index] = FetchEntry{};
    }
    t.fetch_filled.clear();
  }
}

void GuestMemory::save_tlb(TlbImage& out) const {
  out.entries_.assign(entries_, entries_ + kMmuModes * kTlbEntries);
  out.position_ = position_;
  out.filled_globally_ = filled_globally_;
  out.listed_globally_ = listed_globally_;
  out.spaces_ = spaces_;
  out.active_ = static_cast<size_t>(active_ - spaces_.data());
  out.entered_ = entered_;
}

void GuestMemory::restore_tlb(const TlbImage& image) {
  std::copy(image.entries_.begin(), image.entries_.end(), entries_);
  position_ = image.position_;
  filled_globally_ = image.filled_globally_;
  listed_globally_ = image.listed_globally_;
  spaces_ = image.spaces_;
  active_ = &spaces_[image.active_];
  entered_ = image.entered_;
  if (observer_ != nullptr) observer_->space_changed(active_->id);
}

void GuestMemory::flush_tlb(VcpuContext&) {
  if (active_ == nullptr) return;  // no CPU is attached
  if (watch_ != nullptr) watch_->before_flush();
  clear_active_entries();
  for (const uint32_t slot : filled_globally_) {
    entries_[slot] = TlbEntry{};
    listed_globally_[slot] = 0;
  }
  filled_globally_.clear();
  clear_fetch_fronts();
  for (ModeTables& t : tables_) t.fetched_globally.clear();
  for (AddressSpace& space : spaces_) {
    space.clear_pages();
    space.clear_fetched();
    space.named = false;
    space.last_entered = 0;
  }
  renew(*active_);
  if (observer_ != nullptr) {
    observer_->mappings_changed();
    observer_->space_changed(active_->id);
  }
}

void GuestMemory::flush_tlb_local(VcpuContext&) {
  if (watch_ != nullptr) watch_->before_flush();
  clear_active_entries();
  clear_fetch_fronts();
  active_->clear_pages();
  active_->clear_fetched();
  renew(*active_);
  if (observer_ != nullptr) observer_->space_changed(active_->id);
}

// The space of that name, or the one that has not been active for the longest time, emptied.
AddressSpace& GuestMemory::space_for(const AddressSpace::Key& key) {
  AddressSpace* oldest = &spaces_[0];
  for (AddressSpace& space : spaces_) {
    if (space.named && space.key == key) return space;
    if (space.last_entered < oldest->last_entered) oldest = &space;
  }
  oldest->clear_pages();
  oldest->clear_fetched();
  oldest->named = true;
  oldest->key = key;
  renew(*oldest);
  return *oldest;
}

void GuestMemory::enter_space(VcpuContext&, const AddressSpace::Key& key) {
  if (watch_ != nullptr) watch_->before_flush();
  clear_active_entries();
  clear_fetch_fronts();
  if (!active_->named) {
    active_->clear_pages();
    active_->clear_fetched();
    active_->last_entered = 0;
  } else if (!active_->put_away()) {
    renew(*active_);
  }
  AddressSpace& space = space_for(key);
  if (!space.refresh()) renew(space);
  space.last_entered = ++entered_;
  active_ = &space;
  for (size_t i = 0; i < space.pages.size(); i++) {
    const uint32_t slot = space.pages[i].slot;
    entries_[slot] = space.entries[i];
    position_[slot] = static_cast<uint16_t>(i + 1);
  }
  if (observer_ != nullptr) observer_->space_changed(space.id);
}

void GuestMemory::flush_tlb_page(VcpuContext& cpu, uint64_t address) {
  const uint64_t page = address & kPageMask;
  bool had_code = false, had_global_code = false;
  for (unsigned mode = 0; mode < kMmuModes; mode++) {
    TlbEntry& e = cpu.tlb[mode].at(address);
    if (watch_ != nullptr) watch_->before_fill(address, mode);
    // It stays listed: clearing it once more is harmless, and so is what the active space keeps of it,
    // which comes back only where the page tables say the same.
    if ((e.read_tag & kPageMask) == page || (e.write_tag & kPageMask) == page) e = TlbEntry{};
    ModeTables& tables = tables_[mode];
    FetchEntry& f = tables.fetch[(address >> kPageBits) % kFetchEntries];
    if (f.tag == page) f = FetchEntry{};
    had_code |= active_->fetched[mode].erase(page) != 0;
    had_global_code |= tables.fetched_globally.erase(page) != 0;
  }
  // What was never fetched from has no place in a jump cache.
  if (had_code) renew(*active_);
  if (observer_ == nullptr) return;
  if (had_global_code) observer_->mappings_changed();
  if (had_code || had_global_code) observer_->space_changed(active_->id);
}

TlbEntry* GuestMemory::fill(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept {
  Translation t;
  if (!mmu_->translate(cpu, address, access, mode, false, t)) return nullptr;
  if (watch_ != nullptr) watch_->before_fill(address, mode);
  const uint64_t page = address & kPageMask;
  fills_++;
  TlbEntry& e = cpu.tlb[mode].at(address);
  const uint8_t* ram = host(GuestPhysAddr(t.phys), kPageSize);
  uint64_t slow = ram == nullptr ? kTlbSlow | kTlbMmio : 0;
  if (cpu.watched(page, kPageSize)) slow |= kTlbSlow;
  e.read_tag = t.readable ? page | slow : ~uint64_t{0};
  const bool see_stores = ram != nullptr && (watch_ != nullptr || is_code_page(t.phys));
  e.write_tag = t.writable ? page | slow | (see_stores ? kTlbSlow : 0) : ~uint64_t{0};
  e.addend = ram == nullptr ? 0 : reinterpret_cast<uintptr_t>(ram) - page;
  e.phys_page = t.phys;
  const uint32_t slot = slot_of(e);
  if (t.global) {
    if (listed_globally_[slot] == 0) filled_globally_.push_back(slot);
    listed_globally_[slot] = 1;
  } else {
    list_locally(slot, e, t);
  }
  return &e;
}

void GuestMemory::list_locally(uint32_t slot, const TlbEntry& e, const Translation& t) {
  AddressSpace& space = *active_;
  AddressSpace::Page page{slot, true, {}};
  page.kept = space.words.note(t, page.path);
  uint16_t& position = position_[slot];
  if (position == 0) {
    space.entries.push_back(e);
    space.pages.push_back(page);
    position = static_cast<uint16_t>(space.pages.size());
  } else {
    AddressSpace::Page& old = space.pages[position - 1u];
    space.not_kept -= old.kept ? 0 : 1;
    space.entries[position - 1u] = e;
    old = page;
  }
  space.not_kept += page.kept ? 0 : 1;
}

TlbEntry* GuestMemory::lookup(VcpuContext& cpu, uint64_t address, Access access, unsigned mode) noexcept {
  TlbEntry& e = cpu.tlb[mode].at(address);
  const uint64_t tag = access == Access::Write ? e.write_tag : e.read_tag;
  if ((tag & ~(kTlbSlow | kTlbMmio)) == (address & kPageMask)) return &e;
  return fill(cpu, address, access, mode);
}

bool GuestMemory::fetch(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept {
  ModeTables& tables = tables_[mode];
  AddressSpace& space = *active_;
  const auto index = static_cast<uint32_t>((address >> kPageBits) % kFetchEntries);
  FetchEntry& f = tables.fetch[index];
  if (f.tag != (address & kPageMask)) {
    const uint64_t page = address & kPageMask;
    Translation t;
    if (const auto local = space.fetched[mode].find(page); local != space.fetched[mode].end()) {
      t.phys = local->second.phys;
    } else if (const auto global = tables.fetched_globally.find(page); global != tables.fetched_globally.end()) {
      t.phys = global->second;
    } else {
      if (!mmu_->translate(cpu, address, Access::Fetch, mode, false, t)) return false;
      if (t.global) {
        tables.fetched_globally.emplace(page, t.phys);
      } else {
        AddressSpace::Fetched fetched{t.phys, true, {}};
        fetched.kept = space.fetch_words.note(t, fetched.path);
        space.fetched_not_kept += fetched.kept ? 0 : 1;
        space.fetched[mode].emplace(page, fetched);
      }
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
