#include "memory/access.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "memory/access_observer.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"

namespace panda {
namespace {

uint8_t* host_of(const TlbEntry& e, uint64_t address) {
  return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(e.addend + address));
}

// Devices are accessed in naturally sized pieces of at most eight bytes.
unsigned piece(uint64_t phys, unsigned left) {
  unsigned n = 8;
  while (n > left || phys % n != 0) n /= 2;
  return n;
}

void mmio_load(VcpuContext& cpu, uint64_t phys, uint64_t address, unsigned size, uint8_t* out) {
  while (size > 0) {
    const unsigned n = piece(phys, size);
    cpu.device_address = address;
    const uint64_t v = cpu.outside->mmio_read(GuestPhysAddr(phys), n);
    std::memcpy(out, &v, n);
    phys += n;
    address += n;
    out += n;
    size -= n;
  }
}

void mmio_store(VcpuContext& cpu, uint64_t phys, uint64_t address, unsigned size, const uint8_t* data) {
  while (size > 0) {
    const unsigned n = piece(phys, size);
    uint64_t v = 0;
    std::memcpy(&v, data, n);
    cpu.device_address = address;
    cpu.outside->mmio_write(GuestPhysAddr(phys), n, v);
    phys += n;
    address += n;
    data += n;
    size -= n;
  }
}

// The part of an access that lies on one page.
struct Part {
  TlbEntry* entry;
  uint64_t address;
  unsigned size;
  bool mmio;
  uint64_t phys() const { return entry->phys_page | (address & ~kPageMask); }
};

// Looks up the pages of an access: one part, or two where it straddles. An entry of the first page
// may be evicted by the second only where both map to one index, which neighbours do not.
bool find_part(VcpuContext& cpu, uint64_t address, unsigned size, Access access, unsigned mode, Part& part) noexcept {
  TlbEntry* e = cpu.memory->lookup(cpu, address, access, mode);
  if (e == nullptr) return false;
  part = {e, address, size, ((access == Access::Write ? e->write_tag : e->read_tag) & kTlbMmio) != 0};
  return true;
}

bool parts_of(VcpuContext& cpu, uint64_t address, unsigned size, Access access, unsigned mode, Part (&parts)[2],
              unsigned& count) noexcept {
  const auto first = static_cast<unsigned>(std::min<uint64_t>(size, kPageSize - address % kPageSize));
  count = 1;
  if (!find_part(cpu, address, first, access, mode, parts[0])) return false;
  if (first == size) return true;
  count = 2;
  return find_part(cpu, address + first, size - first, access, mode, parts[1]);
}

bool aligned(VcpuContext& cpu, uint64_t address, ir::MemInfo info, Access access) noexcept {
  if (info.align == 0 || address % info.align == 0) return true;
  if (info.strict)
    cpu.memory->mmu()->misaligned_operand(cpu, address, access);
  else
    cpu.memory->mmu()->misaligned(cpu, address, access);
  return false;
}

// The guest's watched addresses. False: the access has to be made in an exact unit, so that the trap
// comes behind it.
bool note_watches(VcpuContext& cpu, uint64_t address, unsigned size, bool store) noexcept {
  for (unsigned i = 0; i < cpu.watch_count; i++) {
    const Watch& w = cpu.watches[i];
    if (w.address >= address + size || address >= w.address + w.size || !(store || w.reads)) continue;
    if (cpu.exact == 0) {
      cpu.request(ExitRequest::Restart);
      return false;
    }
    cpu.watch_hits |= w.bit;
  }
  return true;
}

}  // namespace

bool load_unreported(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, void* out) noexcept {
  const Access access = info.for_write ? Access::Write : Access::Read;
  if (!aligned(cpu, address, info, access)) return false;
  Part parts[2];
  unsigned count = 0;
  if (!parts_of(cpu, address, size, access, info.mode, parts, count)) return false;
  if (cpu.watch_count != 0 && !note_watches(cpu, address, size, false)) return false;
  auto* to = static_cast<uint8_t*>(out);
  for (unsigned i = 0; i < count; i++) {
    if (parts[i].mmio && cpu.exact == 0) {
      cpu.request(ExitRequest::Restart);
      return false;
    }
  }
  for (unsigned i = 0; i < count; i++) {
    const Part& p = parts[i];
    if (p.mmio)
      mmio_load(cpu, p.phys(), p.address, p.size, to);
    else
      std::memcpy(to, host_of(*p.entry, p.address), p.size);
    to += p.size;
  }
  return true;
}

bool store_unreported(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, const void* data) noexcept {
  if (!aligned(cpu, address, info, Access::Write)) return false;
  Part parts[2];
  unsigned count = 0;
  if (!parts_of(cpu, address, size, Access::Write, info.mode, parts, count)) return false;
  if (cpu.watch_count != 0 && !note_watches(cpu, address, size, true)) return false;
  GuestMemory& memory = *cpu.memory;
  CodeObserver* observer = memory.code_observer();
  bool hits_code[2] = {};
  for (unsigned i = 0; i < count; i++) {
    const Part& p = parts[i];
    if (p.mmio) {
      if (cpu.exact == 0) {
        cpu.request(ExitRequest::Restart);
        return false;
      }
    } else if ((p.entry->write_tag & kTlbSlow) != 0) {
      if (!memory.is_code_page(p.entry->phys_page)) {
        // The translations of this page are gone.
        if (memory.watch() == nullptr && !cpu.watched(p.address & kPageMask, kPageSize)) {
          memory.make_stores_fast(*p.entry);
        }
      } else if (observer != nullptr && observer->overlaps_code(p.phys(), p.size)) {
        if (cpu.exact == 0) {
          cpu.request(ExitRequest::Restart);
          return false;
        }
        hits_code[i] = true;
      }
    }
  }
  const auto* from = static_cast<const uint8_t*>(data);
  for (unsigned i = 0; i < count; i++) {
    const Part& p = parts[i];
    if (p.mmio) {
      mmio_store(cpu, p.phys(), p.address, p.size, from);
    } else {
      if (hits_code[i]) observer->invalidate_code(p.phys(), p.size);
      if (MemoryWatch* watch = memory.watch()) {
        watch->before_write(host_of(*p.entry, p.address), p.size, p.address, info.mode);
      }
      std::memcpy(host_of(*p.entry, p.address), from, p.size);
    }
    from += p.size;
  }
  return true;
}

bool load_guest(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, void* out) noexcept {
  if (cpu.accesses == nullptr) [[likely]]
    return load_unreported(cpu, address, size, info, out);
  const GuestAccess access{address, size, info.mode, false};
  cpu.accesses->before_access(cpu, access, nullptr);
  if (!load_unreported(cpu, address, size, info, out)) return false;
  if (cpu.accesses != nullptr) cpu.accesses->after_access(cpu, access, out);
  return true;
}

bool store_guest(VcpuContext& cpu, uint64_t address, unsigned size, ir::MemInfo info, const void* data) noexcept {
  if (cpu.accesses == nullptr) [[likely]]
    return store_unreported(cpu, address, size, info, data);
  const GuestAccess access{address, size, info.mode, true};
  cpu.accesses->before_access(cpu, access, data);
  if (!store_unreported(cpu, address, size, info, data)) return false;
  if (cpu.accesses != nullptr) cpu.accesses->after_access(cpu, access, data);
  return true;
}

void* map_guest(VcpuContext& cpu, uint64_t address, unsigned size, Access access, unsigned mode) noexcept {
  PANDA_CHECK(address % kPageSize + size <= kPageSize);
  const TlbEntry* e = cpu.memory->lookup(cpu, address, access, mode);
  if (e == nullptr) return nullptr;
  uint64_t tag = access == Access::Write ? e->write_tag : e->read_tag;
  MemoryWatch* watch = access == Access::Write ? cpu.memory->watch() : nullptr;
  if (watch != nullptr && (tag & kTlbMmio) == 0 && !cpu.memory->is_code_page(e->phys_page) &&
      !cpu.watched(address & kPageMask, kPageSize)) {
    tag &= ~kTlbSlow;  // slow for the watch alone
  }
  if ((tag & kTlbSlow) != 0 || cpu.accesses != nullptr) return nullptr;
  uint8_t* host = host_of(*e, address);
  if (watch != nullptr) watch->before_write(host, size, address, mode);
  return host;
}

namespace {

// Calls `use(host, part)` for each page's part of [address, +size) that is mapped RAM.
template <typename Use>
bool for_each_page(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t size, Access access, Use use) {
  while (size > 0) {
    const uint64_t part = std::min(size, kPageSize - address % kPageSize);
    Translation t;
    if (!cpu.memory->mmu()->translate(cpu, address, access, mode, true, t)) return false;
    if (!use(GuestPhysAddr(t.phys | (address & ~kPageMask)), part)) return false;
    address += part;
    size -= part;
  }
  return true;
}

}  // namespace

bool peek_guest(VcpuContext& cpu, uint64_t address, unsigned mode, void* out, uint64_t size) noexcept {
  auto* to = static_cast<uint8_t*>(out);
  return for_each_page(cpu, address, mode, size, Access::Read, [&](GuestPhysAddr phys, uint64_t part) {
    if (!cpu.memory->read(phys, to, part)) return false;
    to += part;
    return true;
  });
}

bool poke_guest(VcpuContext& cpu, uint64_t address, unsigned mode, const void* data, uint64_t size) noexcept {
  const auto* from = static_cast<const uint8_t*>(data);
  return for_each_page(cpu, address, mode, size, Access::Read, [&](GuestPhysAddr phys, uint64_t part) {
    if (!cpu.memory->write(phys, from, part)) return false;
    from += part;
    return true;
  });
}

bool fetch_address(VcpuContext& cpu, uint64_t address, unsigned mode, uint64_t& phys) noexcept {
  return cpu.memory->fetch(cpu, address, mode, phys);
}

extern "C" uint64_t panda_slow_load(void* state, uint64_t address, uint32_t size, uint64_t mem_info) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  if (size == 16) {
    load_unreported(cpu, address, 16, ir::MemInfo::unpack(mem_info), cpu.scratch);
    return 0;
  }
  uint64_t value = 0;
  load_unreported(cpu, address, size, ir::MemInfo::unpack(mem_info), &value);
  return value;
}

extern "C" void panda_slow_store(void* state, uint64_t address, uint64_t value, uint32_t size,
                                 uint64_t mem_info) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  const void* data = size == 16 ? static_cast<const void*>(cpu.scratch) : &value;
  store_unreported(cpu, address, size, ir::MemInfo::unpack(mem_info), data);
}

}  // namespace panda
