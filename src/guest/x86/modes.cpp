// Control registers, EFER, operating modes and reset (SDM vol. 3, 2.5, 4.1, 10.1).
#include <cstring>

#include "guest/x86/cpu_models.h"
#include "guest/x86/debug.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/fpu_state.h"
#include "memory/cpu_observer.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"

namespace panda::x86 {
namespace {

constexpr uint32_t kCr0Defined =
    kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;

// CR4 bits that the CPU model has.
uint32_t cr4_defined(const State& s) {
  const auto if_bit = [&s](CpuidWord w, unsigned bit, uint32_t cr4) { return has_cpuid_bit(s, w, bit) ? cr4 : 0u; };
  uint32_t v = kCr4Pce;
  v |= if_bit(kLeaf1Edx, 4, kCr4Tsd) | if_bit(kLeaf1Edx, 2, kCr4De) | if_bit(kLeaf1Edx, 3, kCr4Pse) |
       if_bit(kLeaf1Edx, 6, kCr4Pae) | if_bit(kLeaf1Edx, 13, kCr4Pge) | if_bit(kLeaf1Edx, 24, kCr4Osfxsr) |
       if_bit(kLeaf1Edx, 25, kCr4Osxmmexcpt) | if_bit(kLeaf1Ecx, 26, kCr4Osxsave) | if_bit(kLeaf7Ebx, 0, kCr4Fsgsbase) |
       if_bit(kLeaf7Ebx, 7, kCr4Smep) | if_bit(kLeaf7Ebx, 20, kCr4Smap) | if_bit(kLeaf1Edx, 1, kCr4Vme | kCr4Pvi) |
       if_bit(kLeaf1Edx, 7, kCr4Mce) | if_bit(kLeaf7Ecx, 2, kCr4Umip) | if_bit(kLeaf1Ecx, 17, kCr4Pcide);
  return v;
}

// SDM vol. 3, 4.4.1: the four PDPTEs are read when CR3 is loaded. False: #GP.
bool load_pdptes(Cpu cpu, uint64_t cr3) {
  State& s = cpu.s();
  const uint64_t reserved = (~physical_mask(s)) | 0x1e6;
  uint64_t entries[4] = {};
  uint8_t* host = cpu.context().memory->host(GuestPhysAddr(cr3 & 0xffff'ffe0), sizeof entries);
  if (host != nullptr) std::memcpy(entries, host, sizeof entries);
  for (const uint64_t e : entries) {
    if ((e & 1) != 0 && (e & reserved) != 0) return raise(cpu, kGP, uint16_t{0});
  }
  std::memcpy(s.pdptes_, entries, sizeof entries);
  return true;
}

bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer) {
  return (cr0 & kCr0Pg) != 0 && (cr4 & kCr4Pae) != 0 && (efer & kEferLma) == 0;
}

bool write_cr0(Cpu cpu, uint64_t value) {
  State& s = cpu.s();
  const uint64_t old = cpu.cr(0);
  const uint64_t bad_high = value >> 32;
  const bool bad = bad_high != 0 || ((value & kCr0Pg) != 0 && (value & kCr0Pe) == 0) ||
                   ((value & kCr0Nw) != 0 && (value & kCr0Cd) == 0);
  if (bad) return raise(cpu, kGP, uint16_t{0});
  value = (value & kCr0Defined) | kCr0Et;
  const bool paging_on = (value & kCr0Pg) != 0 && (old & kCr0Pg) == 0;
  const bool paging_off = (value & kCr0Pg) == 0 && (old & kCr0Pg) != 0;
  uint64_t efer = s.efer;
  if (paging_on && (efer & kEferLme) != 0) {
    const bool tss16 = (s.tr.flags & 0x800) == 0;
    if ((cpu.cr(4) & kCr4Pae) == 0 || (s.segs[R_CS].flags & kDescLong) != 0 || tss16) {
      return raise(cpu, kGP, uint16_t{0});
    }
    efer |= kEferLma;
  }
  if (paging_off) {
    if ((s.hflags & kModeCs64) != 0 || (cpu.cr(4) & kCr4Pcide) != 0) return raise(cpu, kGP, uint16_t{0});
    efer &= ~kEferLma;
  }
  const uint64_t changed = value ^ old;
  const bool reads_pdptes = (changed & (kCr0Pg | kCr0Cd | kCr0Nw)) != 0 && pae_paging(value, cpu.cr(4), efer);
  if (reads_pdptes && !load_pdptes(cpu, cpu.cr(3))) return false;
  s.efer = efer;
  cpu.set_cr(0, value);
  if ((changed & (kCr0Pg | kCr0Wp | kCr0Pe)) != 0 || reads_pdptes) flush_translations(cpu);
  update_hflags(cpu);
  return true;
}

bool write_cr4(Cpu cpu, uint64_t value) {
  State& s = cpu.s();
  const uint64_t old = cpu.cr(4);
  if ((value & ~uint64_t{cr4_defined(s)}) != 0) return raise(cpu, kGP, uint16_t{0});
  const uint64_t changed = value ^ old;
  if ((changed & kCr4Pae) != 0 && (value & kCr4Pae) == 0 && long_mode(s)) return raise(cpu, kGP, uint16_t{0});
  if ((changed & value & kCr4Pcide) != 0 && (!long_mode(s) || (cpu.cr(3) & 0xfff) != 0)) {
    return raise(cpu, kGP, uint16_t{0});
  }
  constexpr uint32_t kPaging = kCr4Pse | kCr4Pae | kCr4Pge | kCr4Smep | kCr4Pcide;
  if ((changed & kPaging) != 0 && pae_paging(cpu.cr(0), value, s.efer) && !load_pdptes(cpu, cpu.cr(3))) return false;
  cpu.set_cr(4, value);
  if ((changed & (kPaging | kCr4Smap)) != 0) flush_translations(cpu);
  update_hflags(cpu);
  return true;
}

}  // namespace

bool load_cr3(Cpu cpu, uint64_t value) noexcept {
  State& s = cpu.s();
  VcpuContext& c = cpu.context();
  if (long_mode(s)) {
    // Bit 63 asks to keep the translations of the PCID: a hint that is not taken, and not stored.
    if ((cpu.cr(4) & kCr4Pcide) != 0) value &= ~(uint64_t{1} << 63);
    if ((value & ~physical_mask(s)) != 0) return raise(cpu, kGP, uint16_t{0});
  } else {
    value &= 0xffff'ffff;
  }
  if (pae_paging(cpu.cr(0), cpu.cr(4), s.efer) && !load_pdptes(cpu, value)) return false;
  const uint64_t old = cpu.cr(3);
  if (c.observer != nullptr && c.observer->asid_changes(c, old, value)) {
    // An analysis keeps the old address space: the PDPTEs must be its own too.
    if (pae_paging(cpu.cr(0), cpu.cr(4), s.efer)) load_pdptes(cpu, old);
  } else {
    cpu.set_cr(3, value);
  }
  enter_address_space(cpu);
  return true;
}

bool write_cr(Cpu cpu, unsigned n, uint64_t value) noexcept {
  switch (n) {
    case 0:
      return write_cr0(cpu, value);
    case 2:
      cpu.set_cr(2, value);
      return true;
    case 3:
      return load_cr3(cpu, value);
    case 4:
      return write_cr4(cpu, value);
    case 8: {
      Outside* outside = cpu.context().outside;
      if ((value & ~uint64_t{15}) != 0) return raise(cpu, kGP, uint16_t{0});
      if (outside == nullptr || !outside->register_write(OutsideRegister::TaskPriority, 0, value)) {
        return raise(cpu, kGP, uint16_t{0});
      }
      return true;
    }
    default:
      return raise(cpu, kUD);
  }
}

bool write_efer(Cpu cpu, uint64_t value) noexcept {
  State& s = cpu.s();
  uint64_t defined = kEferLma;
  if (has_feature(s, Feature::Syscall)) defined |= kEferSce;
  if (has_feature(s, Feature::LongMode)) defined |= kEferLme;
  if (has_nx(s)) defined |= kEferNxe;
  if ((value & ~defined) != 0) return raise(cpu, kGP, uint16_t{0});
  if (((value ^ s.efer) & kEferLme) != 0 && (cpu.cr(0) & kCr0Pg) != 0) return raise(cpu, kGP, uint16_t{0});
  const uint64_t updated = (value & ~kEferLma) | (s.efer & kEferLma);
  const bool nxe_changed = ((updated ^ s.efer) & kEferNxe) != 0;
  s.efer = updated;
  if (nxe_changed) flush_translations(cpu);
  update_hflags(cpu);
  return true;
}

namespace {

// FS or GS: one above the last offset, 0 for a null selector. False: its type needs the general check.
bool segment_bound(const State& s, unsigned seg, uint64_t h, uint64_t& bound) {
  const SegmentCache& c = s.segs[seg];
  bound = c.limit == 0xffff'ffff ? ~uint64_t{0} : uint64_t{c.limit} + 1;
  if ((h & (kModePe | kModeVm)) != kModePe) return true;
  if ((c.flags & kDescPresent) == 0) {
    bound = 0;
    return true;
  }
  constexpr uint32_t kPlain = kDescSegment | kDescWritable;
  return (c.flags & (kPlain | kDescCode | kDescExpandDown)) == kPlain;
}

}  // namespace

// The bits that control registers and the FPU's state decide.
constexpr uint64_t kControlBits = kModePe | kModeLma | kModeEm | kModeTs | kModeMp | kModeNe | kModeOsfxsr |
                                  kModeOsxsave | kModeAvx | kModeCodeBreak | kModeFpUnmasked | kModeFpuFlat;

void update_flow_hflags(Cpu cpu) noexcept {
  State& s = cpu.s();
  const uint64_t eflags = s.eflags, cr4 = cpu.cr(4);
  uint64_t h = s.hflags & kControlBits;
  unsigned cpl = 0;
  const unsigned iopl = eflags >> 12 & 3;
  if ((h & kModePe) != 0) {
    if ((eflags & kVM) != 0) {
      h |= kModeVm;
      cpl = 3;
    } else {
      cpl = s.segs[R_SS].flags >> kDescDplShift & 3;
    }
    if (cpl > iopl) h |= kModeIoplSens;
    const uint32_t virtual_if = (h & kModeVm) != 0 ? kCr4Vme : kCr4Pvi;
    if ((cr4 & virtual_if) != 0 && cpl == 3 && iopl < 3) h |= kModeVirtualIf;
  }
  h |= cpl;
  const SegmentCache& cs = s.segs[R_CS];
  if ((h & kModeLma) != 0 && (cs.flags & kDescLong) != 0) {
    h |= kModeCs64;
  } else {
    if ((cs.flags & kDescBig) != 0) h |= kModeCs32;
    if (cs.limit != 0xffff'ffff) h |= kModeCsLimit;
    if ((s.segs[R_SS].flags & kDescBig) != 0) h |= kModeSs32;
    for (const unsigned seg : {unsigned{R_ES}, unsigned{R_SS}, unsigned{R_DS}}) {
      const SegmentCache& c = s.segs[seg];
      if (c.base != 0) h |= kModeAddSeg;
      constexpr uint32_t kPlain = kDescPresent | kDescSegment | kDescWritable;
      if (c.limit != 0xffff'ffff || (c.flags & (kPlain | kDescCode | kDescExpandDown)) != kPlain) h |= kModeLimits;
    }
    for (const unsigned seg : {unsigned{R_FS}, unsigned{R_GS}}) {
      if (!segment_bound(s, seg, h, s.segment_bounds_[seg - R_FS])) h |= kModeOddFsGs;
    }
  }
  if ((eflags & kTF) != 0) h |= kModeTf;
  if ((cr4 & kCr4Smap) != 0 && (eflags & kACflag) == 0 && cpl != 3) h |= kModeSmap;
  if ((eflags & kACflag) != 0 && cpl == 3 && (cpu.cr(0) & kCr0Am) != 0) h |= kModeAc;
  if ((cr4 & kCr4Umip) != 0 && cpl != 0) h |= kModeUmip;
  s.hflags = h;
}

void update_hflags(Cpu cpu) noexcept {
  State& s = cpu.s();
  const uint64_t cr0 = cpu.cr(0), cr4 = cpu.cr(4);
  uint64_t h = 0;
  if ((cr0 & kCr0Pe) != 0) h |= kModePe;
  if ((s.efer & kEferLma) != 0) h |= kModeLma;
  if ((cr0 & kCr0Em) != 0) h |= kModeEm;
  if ((cr0 & kCr0Ts) != 0) h |= kModeTs;
  if ((cr0 & kCr0Mp) != 0) h |= kModeMp;
  if ((cr0 & kCr0Ne) != 0) h |= kModeNe;
  if ((cr4 & kCr4Osfxsr) != 0) h |= kModeOsfxsr;
  if ((cr4 & kCr4Osxsave) != 0) {
    h |= kModeOsxsave;
    if ((s.xcr0 & 6) == 6) h |= kModeAvx;
  }
  if (has_code_breakpoints(cpu)) h |= kModeCodeBreak;
  if (mxcsr_unmasked(s)) h |= kModeFpUnmasked;
  if (fpu_flat(s)) h |= kModeFpuFlat;
  s.hflags = h;
  update_flow_hflags(cpu);
}

void refresh_mode(Cpu cpu, uint64_t next_pc) noexcept {
  const uint64_t before = cpu.s().hflags;
  update_flow_hflags(cpu);
  if (cpu.s().hflags == before) return;
  cpu.s().eip = next_pc;
  cpu.context().request(ExitRequest::Dispatch);
}

void reset(Cpu cpu) noexcept {
  State& s = cpu.s();
  State fresh{};
  fresh.is_64bit_target = s.is_64bit_target;
  fresh.cpu_index = s.cpu_index;
  fresh.env_ptr = s.env_ptr;
  fresh.rr_guest_instr_count = s.rr_guest_instr_count;
  std::memcpy(fresh.opaque_, s.opaque_, sizeof fresh.opaque_);
  fresh.cpu_model = s.cpu_model;
  std::memcpy(fresh.cpuid_features_, s.cpuid_features_, sizeof fresh.cpuid_features_);
  s = fresh;
  if (cpuid_word(s, kLeaf1Edx) == 0) apply_cpu(s, cpu_config(s.cpu_model));

  s.eip = 0xfff0;
  s.cc_op = kCcFlags;
  s.df = 1;
  cpu.set_eflags(2);
  cpu.set_reg(R_EDX, cpu_model(s.cpu_model).signature);
  cpu.set_cr(0, kCr0Cd | kCr0Nw | kCr0Et);
  constexpr uint32_t kData = kDescPresent | kDescSegment | kDescWritable | kDescAccessed;
  for (unsigned i = 0; i < 6; i++) set_segment(cpu, i, 0, 0, 0xffff, kData);
  set_segment(cpu, R_CS, 0xf000, 0xffff'0000, 0xffff, kData | kDescCode);
  s.gdt.limit = s.idt.limit = s.ldt.limit = s.tr.limit = 0xffff;
  s.ldt.flags = kDescPresent | kTypeLdt << 8;
  s.tr.flags = kDescPresent | kTypeTss32Busy << 8;
  cpu.set_dr(6, 0xffff'0ff0);
  cpu.set_dr(7, 0x400);
  s.a20_mask = -1;
  s.pat = 0x0007'0406'0007'0406;
  s.misc_enable = 1;  // fast strings
  s.random_ = 0x50414e4441;
  s.exception_index = -1;
  s.old_exception = -1;
  fpu_reset(cpu);
  cpu.context().watch_hits = 0;
  update_breakpoints(cpu);
  update_hflags(cpu);
  flush_translations(cpu);
}

}  // namespace panda::x86
