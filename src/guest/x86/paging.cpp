// Address translation (SDM vol. 3, chapter 4): 32-bit with PSE and PSE-36, PAE, and 4-level paging.
//
// A walk reads the entries from RAM; one that lies elsewhere counts as having reserved bits set.
// Permissions are collected over the levels, and accessed and dirty bits are written only when the
// access is permitted, so that a fault changes nothing but CR2.
#include <algorithm>
#include <cstring>

#include "guest/x86/cpuid.h"
#include "guest/x86/descriptor.h"
#include "memory/guest_memory.h"

namespace panda::x86 {
namespace {

enum Pte : uint64_t {
  kPresent = 1,
  kWrite = 2,
  kUser = 4,
  kAccessedBit = 0x20,
  kDirtyBit = 0x40,
  kLarge = 0x80,
  kGlobalBit = 0x100,
  kNoExecute = uint64_t{1} << 63,
};
enum PageError : uint16_t { kErrPresent = 1, kErrWrite = 2, kErrUser = 4, kErrReserved = 8, kErrFetch = 16 };

constexpr uint64_t kAddressBits = 0x000f'ffff'ffff'f000;

// The soft TLB holds a large page as 4 KiB pieces, and INVLPG must drop all of them. So it is kept
// where large pages have been met: one range each for user space, the kernel's mapping of memory and
// its text, which lie far apart. Both ends inclusive; 0, 0: none.
unsigned large_page_slot(uint64_t address) {
  if (address >> 32 == 0) return address >= 0xc000'0000 ? 1 : address >= 0x8000'0000 ? 2 : 0;
  return address >= 0xffff'ffff'8000'0000 ? 2 : address >> 63 != 0 ? 1 : 0;
}

void note_large_page(State& s, uint64_t address, uint64_t page_mask) {
  uint64_t* range = s.large_pages_ + large_page_slot(address) * 2;
  const uint64_t first = address & ~page_mask, last = address | page_mask;
  const bool empty = range[1] == 0;
  if (empty || first < range[0]) range[0] = first;
  if (empty || last > range[1]) range[1] = last;
}

class Walker {
 public:
  Walker(Cpu cpu, Access access, MmuMode mode, bool probe)
      : cpu_(cpu), memory_(*cpu.context().memory), access_(access), mode_(mode), probe_(probe) {
    const uint64_t cr4 = cpu.cr(4);
    nxe_ = (cr4 & kCr4Pae) != 0 && (cpu.s().efer & kEferNxe) != 0;
    smep_ = (cr4 & kCr4Smep) != 0;
    smap_ = mode == kMmuKernel && (cr4 & kCr4Smap) != 0;
    high_bits_ = ~physical_mask(cpu.s()) & kAddressBits;
  }

  bool run(uint64_t address, Translation& out) {
    const bool lma = (cpu_.s().efer & kEferLma) != 0;
    if (lma && !is_canonical(address)) {
      if (probe_) return false;
      raise(cpu_, kGP, uint16_t{0});
      cpu_.s().cr2_pending_ = address;  // for who has to tell what it was
      if (access_ != Access::Fetch) cpu_.s().exception_flags_ |= kExceptionNonCanonical;
      return false;
    }
    address_ = lma ? address : address & 0xffff'ffff;
    const bool found = lma ? four_level() : (cpu_.cr(4) & kCr4Pae) != 0 ? pae() : legacy();
    return found && permit(out);
  }

 private:
  static constexpr unsigned kMaxLevels = Translation::kMaxSteps;

  bool fault(unsigned bits) {
    if (probe_) return false;
    if (access_ == Access::Write) bits |= kErrWrite;
    if (mode_ == kMmuUser) bits |= kErrUser;
    if (access_ == Access::Fetch && (nxe_ || smep_)) bits |= kErrFetch;
    cpu_.s().cr2_pending_ = address_;
    return raise(cpu_, kPF, static_cast<uint16_t>(bits));
  }

  // One level: reads the entry and collects its permissions. reserved: bits that must be zero.
  bool entry(uint64_t table, uint64_t index, unsigned bytes, uint64_t& pte) {
    const uint64_t phys = (table + index * bytes) & a20();
    uint8_t* host = memory_.host(GuestPhysAddr(phys), bytes);
    if (host == nullptr) return fault(kErrPresent | kErrReserved);
    pte = 0;
    std::memcpy(&pte, host, bytes);
    if ((pte & kPresent) == 0) return fault(0);
    hosts_[levels_] = host;
    levels_++;
    entry_bytes_ = bytes;
    writable_ = writable_ && (pte & kWrite) != 0;
    user_ = user_ && (pte & kUser) != 0;
    return true;
  }
  bool check_wide(uint64_t pte, uint64_t reserved) {
    reserved |= high_bits_;
    if (!nxe_) reserved |= kNoExecute;
    if ((pte & reserved) != 0) return fault(kErrPresent | kErrReserved);
    if ((pte & kNoExecute) != 0) executable_ = false;
    return true;
  }

  bool leaf(uint64_t pte, uint64_t frame, uint64_t page_mask) {
    // Large pages of user space are not kept over a load of CR3: flush_local_translations() forgets them.
    global_ = (pte & kGlobalBit) != 0 && (cpu_.cr(4) & kCr4Pge) != 0 &&
              (page_mask <= 0xfff || large_page_slot(address_) != 0);
    dirty_ = (pte & kDirtyBit) != 0;
    page_mask_ = page_mask;
    phys_ = frame | (address_ & page_mask & kPageMask);
    return true;
  }

  // The last two levels that PAE and 4-level paging share.
  bool wide_directory(uint64_t table) {
    uint64_t pte = 0;
    if (!entry(table, address_ >> 21 & 511, 8, pte)) return false;
    const bool large = (pte & kLarge) != 0;
    if (!check_wide(pte, (large ? 0x1f'e000u : 0u) | narrow_reserved())) return false;
    if (large) return leaf(pte, pte & kAddressBits & ~uint64_t{0x1f'ffff}, 0x1f'ffff);
    if (!entry(pte & kAddressBits, address_ >> 12 & 511, 8, pte)) return false;
    if (!check_wide(pte, narrow_reserved())) return false;
    return leaf(pte, pte & kAddressBits, 0xfff);
  }
  // Bits 62-52 are reserved in 32-bit PAE paging and ignored in 4-level paging.
  [[nodiscard]] uint64_t narrow_reserved() const { return long_ ? 0 : uint64_t{0x7ff} << 52; }

  bool four_level() {
    long_ = true;
    uint64_t pte = 0;
    if (!entry(cpu_.cr(3) & kAddressBits, address_ >> 39 & 511, 8, pte)) return false;
    if (!check_wide(pte, kLarge)) return false;
    if (!entry(pte & kAddressBits, address_ >> 30 & 511, 8, pte)) return false;
    if ((pte & kLarge) == 0) return check_wide(pte, 0) && wide_directory(pte & kAddressBits);
    if (!check_wide(pte, has_gigabyte_pages(cpu_.s()) ? 0x3fff'e000u : uint64_t{kLarge})) return false;
    return leaf(pte, pte & kAddressBits & ~uint64_t{0x3fff'ffff}, 0x3fff'ffff);
  }

  bool pae() {
    const uint64_t pdpte = cpu_.s().pdptes_[address_ >> 30 & 3];
    if ((pdpte & kPresent) == 0) return fault(0);
    return wide_directory(pdpte & kAddressBits);
  }

  bool legacy() {
    uint64_t pte = 0;
    if (!entry(cpu_.cr(3) & 0xffff'f000, address_ >> 22 & 1023, 4, pte)) return false;
    if ((pte & kLarge) != 0 && (cpu_.cr(4) & kCr4Pse) != 0) {
      const uint64_t high = (pte >> 13 & 0xff) << 32;  // PSE-36
      if ((pte & 0x20'0000) != 0 || (high & high_bits_) != 0) return fault(kErrPresent | kErrReserved);
      return leaf(pte, (pte & 0xffc0'0000) | high, 0x3f'ffff);
    }
    if (!entry(pte & 0xffff'f000, address_ >> 12 & 1023, 4, pte)) return false;
    return leaf(pte, pte & 0xffff'f000, 0xfff);
  }

  [[nodiscard]] uint64_t a20() const { return static_cast<uint64_t>(static_cast<int64_t>(cpu_.s().a20_mask)); }

  // SDM vol. 3, 4.6.
  bool permit(Translation& out) {
    const bool wp = (cpu_.cr(0) & kCr0Wp) != 0;
    bool readable = true, writable = true, executable = executable_;
    if (mode_ == kMmuUser) {
      readable = user_;
      writable = user_ && writable_;
      executable = executable && user_;
    } else {
      writable = writable_ || !wp;
      if (user_ && smap_) readable = writable = false;
      if (user_ && smep_) executable = false;
    }
    const bool ok = access_ == Access::Read ? readable : access_ == Access::Write ? writable : executable;
    if (!ok) return fault(kErrPresent);
    if (!probe_) {
      for (unsigned i = 0; i < levels_; i++) {
        set_bits(hosts_[i], i + 1 == levels_ && access_ == Access::Write ? kAccessedBit | kDirtyBit : kAccessedBit);
      }
      dirty_ = dirty_ || access_ == Access::Write;
    }
    if (page_mask_ > 0xfff && !probe_) note_large_page(cpu_.s(), address_, page_mask_);
    out.phys = phys_ & a20();
    out.readable = readable;
    out.writable = writable && dirty_;
    out.global = global_;
    if (!probe_) note_steps(out);
    return true;
  }

  void note_steps(Translation& out) const {
    // Where user space has large pages is forgotten when CR3 is loaded, so INVLPG would not find them.
    out.may_be_kept = page_mask_ <= 0xfff || large_page_slot(address_) != 0;
    out.step_bytes = static_cast<uint8_t>(entry_bytes_);
    out.step_count = static_cast<uint8_t>(levels_);
    for (unsigned i = 0; i < levels_; i++) {
      out.steps[i].host = hosts_[i];
      out.steps[i].value = 0;
      std::memcpy(&out.steps[i].value, hosts_[i], entry_bytes_);
    }
  }

  void set_bits(uint8_t* host, uint64_t bits) const {
    if ((*host & bits) == bits) return;  // both stand in the lowest byte
    if (MemoryWatch* watch = memory_.watch()) watch->before_write(host, 1, 0, MemoryWatch::kNoMode);
    *host = static_cast<uint8_t>(*host | bits);
  }

  Cpu cpu_;
  GuestMemory& memory_;
  Access access_;
  MmuMode mode_;
  bool probe_;
  bool nxe_ = false, smep_ = false, smap_ = false, long_ = false;
  uint64_t high_bits_ = 0;  // physical address bits that the CPU does not have
  uint64_t address_ = 0;

  uint8_t* hosts_[kMaxLevels] = {};
  unsigned levels_ = 0, entry_bytes_ = 8;
  bool writable_ = true, user_ = true, executable_ = true, dirty_ = false, global_ = false;
  uint64_t phys_ = 0;
  uint64_t page_mask_ = 0;
};

}  // namespace

bool walk(Cpu cpu, uint64_t address, Access access, MmuMode mode, bool probe, Translation& out) noexcept {
  if ((cpu.cr(0) & kCr0Pg) == 0) {
    out.phys = address & 0xffff'f000 & static_cast<uint64_t>(static_cast<int64_t>(cpu.s().a20_mask));
    out.readable = out.writable = true;
    return true;
  }
  return Walker(cpu, access, mode, probe).run(address, out);
}

void flush_translations(Cpu cpu) noexcept {
  VcpuContext& c = cpu.context();
  std::memset(cpu.s().large_pages_, 0, sizeof cpu.s().large_pages_);
  if (c.memory != nullptr) c.memory->flush_tlb(c);
}

void flush_local_translations(Cpu cpu) noexcept {
  VcpuContext& c = cpu.context();
  cpu.s().large_pages_[0] = cpu.s().large_pages_[1] = 0;  // user space's; the others may hold global pages
  if (c.memory != nullptr) c.memory->flush_tlb_local(c);
}

void enter_address_space(Cpu cpu) noexcept {
  State& s = cpu.s();
  VcpuContext& c = cpu.context();
  s.large_pages_[0] = s.large_pages_[1] = 0;
  if (c.memory == nullptr) return;
  AddressSpace::Key key{cpu.cr(3)};
  // In PAE paging the walk begins with what was read when CR3 was loaded.
  if ((cpu.cr(4) & kCr4Pae) != 0 && (s.efer & kEferLma) == 0) std::copy_n(s.pdptes_, 4, key.begin() + 1);
  c.memory->enter_space(c, key);
}

void invalidate_page(Cpu cpu, uint64_t address) noexcept {
  const uint64_t* range = cpu.s().large_pages_ + large_page_slot(address) * 2;
  VcpuContext& c = cpu.context();
  if (range[1] != 0 && address >= range[0] && address <= range[1])
    flush_translations(cpu);
  else if (c.memory != nullptr)
    c.memory->flush_tlb_page(c, address);
}

// A load of CR3 drops all translations that are not global, as a processor may at any time, or keeps only
// what the page tables still say. So those of other PCIDs need not be looked for.
bool invalidate_pcid(Cpu cpu, uint64_t type, uint64_t pcid, uint64_t address) noexcept {
  constexpr uint64_t kAddress = 0, kContext = 1, kAllAndGlobal = 2, kAll = 3;
  const bool enabled = (cpu.cr(4) & kCr4Pcide) != 0;
  const bool named = type == kAddress || type == kContext;
  if (type > kAll || pcid >> 12 != 0 || (named && !enabled && pcid != 0)) return raise(cpu, kGP, uint16_t{0});
  if (type == kAddress && long_mode(cpu.s()) && !is_canonical(address)) return raise(cpu, kGP, uint16_t{0});
  const bool current = !enabled || (cpu.cr(3) & 0xfff) == pcid;
  if (type == kAddress && current) invalidate_page(cpu, address);
  if (type == kContext && current) flush_local_translations(cpu);
  if (type == kAll) flush_local_translations(cpu);
  if (type == kAllAndGlobal) flush_translations(cpu);
  return true;
}

}  // namespace panda::x86
