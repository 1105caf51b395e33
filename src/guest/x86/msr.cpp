// The MSRs are a table of index, read and write. What is not in it, or belongs to a feature that the
// CPU model lacks, is #GP. Those of the local APIC belong to the outside and need an exact unit.
#include "guest/x86/msr.h"

#include "base/virtual_clock.h"
#include "guest/x86/cpuid.h"
#include "guest/x86/descriptor.h"
#include "memory/outside.h"

namespace panda::x86 {
namespace {

struct MsrContext {
  Cpu cpu;
  uint32_t index;
  uint64_t count;
};

// A read or write that does not exist is #GP.
using ReadFn = bool (*)(MsrContext&, uint64_t& value);
using WriteFn = bool (*)(MsrContext&, uint64_t value);

struct Msr {
  uint32_t first, last;
  ReadFn read;
  WriteFn write;
  Feature feature = Feature::None;
};

bool gp(MsrContext& m) { return raise(m.cpu, kGP, uint16_t{0}); }

template <auto Member>
bool get(MsrContext& m, uint64_t& v) {
  v = static_cast<uint64_t>(m.cpu.s().*Member);
  return true;
}
template <auto Member>
bool set(MsrContext& m, uint64_t v) {
  m.cpu.s().*Member = static_cast<std::remove_reference_t<decltype(m.cpu.s().*Member)>>(v);
  return true;
}
template <auto Member>
bool set_canonical(MsrContext& m, uint64_t v) {
  return is_canonical(v) ? set<Member>(m, v) : gp(m);
}
template <uint64_t Value>
bool constant(MsrContext&, uint64_t& v) {
  v = Value;
  return true;
}
bool ignore(MsrContext&, uint64_t) { return true; }
bool only_zero(MsrContext& m, uint64_t v) { return v == 0 || gp(m); }

// --- the outside's
bool outside_ready(MsrContext& m) {
  VcpuContext& c = m.cpu.context();
  if (c.outside == nullptr) return gp(m);
  if (c.exact != 0) return true;
  c.request(ExitRequest::Restart);
  return false;
}
bool outside_read(MsrContext& m, OutsideRegister kind, uint64_t& v) {
  if (!outside_ready(m)) return false;
  const auto r = m.cpu.context().outside->register_read(kind, 0);
  if (!r) return gp(m);
  v = *r;
  return true;
}
bool outside_write(MsrContext& m, OutsideRegister kind, uint64_t v) {
  if (!outside_ready(m)) return false;
  return m.cpu.context().outside->register_write(kind, 0, v) || gp(m);
}
bool get_apic_base(MsrContext& m, uint64_t& v) { return outside_read(m, OutsideRegister::ApicBase, v); }
bool set_apic_base(MsrContext& m, uint64_t v) {
  const uint64_t defined = (physical_mask(m.cpu.s()) & ~uint64_t{0xfff}) | 0x900;
  return (v & ~defined) == 0 ? outside_write(m, OutsideRegister::ApicBase, v) : gp(m);
}
// The outside counts in the virtual clock's time, the guest in its TSC's. 0: no deadline.
bool get_deadline(MsrContext& m, uint64_t& v) {
  if (!has_cpuid_bit(m.cpu.s(), kLeaf1Ecx, 24)) return gp(m);
  if (!outside_read(m, OutsideRegister::TscDeadline, v)) return false;
  if (v != 0) v += static_cast<uint64_t>(m.cpu.s().tsc_offset);
  return true;
}
bool set_deadline(MsrContext& m, uint64_t v) {
  if (!has_cpuid_bit(m.cpu.s(), kLeaf1Ecx, 24)) return gp(m);
  if (v != 0) v -= static_cast<uint64_t>(m.cpu.s().tsc_offset);
  return outside_write(m, OutsideRegister::TscDeadline, v);
}

// --- TSC
bool get_tsc(MsrContext& m, uint64_t& v) {
  v = read_tsc(m.cpu, m.count);
  return true;
}
bool set_tsc(MsrContext& m, uint64_t v) {
  State& s = m.cpu.s();
  s.tsc_offset = static_cast<int64_t>(v - (read_tsc(m.cpu, m.count) - static_cast<uint64_t>(s.tsc_offset)));
  return true;
}
bool set_tsc_aux(MsrContext& m, uint64_t v) { return v >> 32 == 0 ? set<&State::tsc_aux>(m, v) : gp(m); }

// --- memory types: kept, without effect
constexpr bool memory_type(uint64_t t) { return t <= 1 || (t >= 4 && t <= 6); }
bool all_types(uint64_t v, bool pat) {
  for (unsigned i = 0; i < 8; i++) {
    const uint64_t t = v >> (i * 8) & 0xff;
    if (!memory_type(t) && !(pat && t == 7)) return false;
  }
  return true;
}
bool set_pat(MsrContext& m, uint64_t v) { return all_types(v, true) ? set<&State::pat>(m, v) : gp(m); }
bool set_mtrr_default(MsrContext& m, uint64_t v) {
  const bool ok = (v & ~uint64_t{0xcff}) == 0 && memory_type(v & 0xff);
  return ok ? set<&State::mtrr_def_type>(m, v) : gp(m);
}
unsigned fixed_index(uint32_t msr) { return msr == 0x250 ? 0 : msr <= 0x259 ? msr - 0x257 : msr - 0x265; }
bool get_mtrr_fixed(MsrContext& m, uint64_t& v) {
  v = m.cpu.s().mtrr_fixed[fixed_index(m.index)];
  return true;
}
bool set_mtrr_fixed(MsrContext& m, uint64_t v) {
  if (!all_types(v, false)) return gp(m);
  m.cpu.s().mtrr_fixed[fixed_index(m.index)] = v;
  return true;
}
uint64_t& mtrr_variable(MsrContext& m) {
  State& s = m.cpu.s();
  const uint32_t n = (m.index - 0x200) / 2;
  return (m.index & 1) == 0 ? s.mtrr_base[n] : s.mtrr_mask[n];
}
bool get_mtrr_variable(MsrContext& m, uint64_t& v) {
  v = mtrr_variable(m);
  return true;
}
bool set_mtrr_variable(MsrContext& m, uint64_t v) {
  const bool base = (m.index & 1) == 0;
  const uint64_t defined = (physical_mask(m.cpu.s()) & kPageMask) | (base ? 0xff : 0x800);
  if ((v & ~defined) != 0 || (base && !memory_type(v & 0xff))) return gp(m);
  mtrr_variable(m) = v;
  return true;
}

// --- system calls and segment bases
bool set_sysenter_cs(MsrContext& m, uint64_t v) { return set<&State::sysenter_cs>(m, v & 0xffff'ffff); }
bool set_efer(MsrContext& m, uint64_t v) { return write_efer(m.cpu, v); }
bool get_efer(MsrContext& m, uint64_t& v) {
  const State& s = m.cpu.s();
  // EFER comes with either of the features that have bits in it.
  if (!has_nx(s) && !has_feature(s, Feature::Syscall) && !has_feature(s, Feature::LongMode)) return gp(m);
  v = s.efer;
  return true;
}
template <unsigned Seg>
bool get_base(MsrContext& m, uint64_t& v) {
  v = m.cpu.s().segs[Seg].base;
  return true;
}
template <unsigned Seg>
bool set_base(MsrContext& m, uint64_t v) {
  if (!is_canonical(v)) return gp(m);
  m.cpu.s().segs[Seg].base = v;
  return true;
}

// MISC_ENABLE: fast strings (0), limit CPUID (22, without effect), XD disable (34, refused).
bool set_misc_enable(MsrContext& m, uint64_t v) {
  return (v & ~uint64_t{0x0040'0001}) == 0 ? set<&State::misc_enable>(m, v) : gp(m);
}

constexpr Feature kLm = Feature::LongMode;
constexpr Msr kMsrs[] = {
    {0x10, 0x10, get_tsc, set_tsc, Feature::Tsc},
    {0x17, 0x17, constant<0>, nullptr},  // PLATFORM_ID
    {0x1b, 0x1b, get_apic_base, set_apic_base},
    {0x8b, 0x8b, constant<uint64_t{1} << 32>, ignore},  // BIOS_SIGN_ID: microcode revision 1
    {0xfe, 0xfe, constant<0x508>, nullptr},             // MTRRCAP: 8 variable, fixed, WC
    {0x174, 0x174, get<&State::sysenter_cs>, set_sysenter_cs, Feature::Sep},
    {0x175, 0x175, get<&State::sysenter_esp>, set_canonical<&State::sysenter_esp>, Feature::Sep},
    {0x176, 0x176, get<&State::sysenter_eip>, set_canonical<&State::sysenter_eip>, Feature::Sep},
    {0x179, 0x179, constant<0>, nullptr},    // MCG_CAP: no banks
    {0x17a, 0x17a, constant<0>, only_zero},  // MCG_STATUS
    {0x1a0, 0x1a0, get<&State::misc_enable>, set_misc_enable},
    {0x1d9, 0x1d9, constant<0>, only_zero},  // DEBUGCTL
    {0x200, 0x20f, get_mtrr_variable, set_mtrr_variable},
    {0x250, 0x250, get_mtrr_fixed, set_mtrr_fixed},
    {0x258, 0x259, get_mtrr_fixed, set_mtrr_fixed},
    {0x268, 0x26f, get_mtrr_fixed, set_mtrr_fixed},
    {0x277, 0x277, get<&State::pat>, set_pat},
    {0x2ff, 0x2ff, get<&State::mtrr_def_type>, set_mtrr_default},
    {0x6e0, 0x6e0, get_deadline, set_deadline},
    {0xc000'0080, 0xc000'0080, get_efer, set_efer},
    {0xc000'0081, 0xc000'0081, get<&State::star>, set<&State::star>, kLm},
    {0xc000'0082, 0xc000'0082, get<&State::lstar>, set_canonical<&State::lstar>, kLm},
    {0xc000'0083, 0xc000'0083, get<&State::cstar>, set_canonical<&State::cstar>, kLm},
    {0xc000'0084, 0xc000'0084, get<&State::fmask>, set<&State::fmask>, kLm},
    {0xc000'0100, 0xc000'0100, get_base<R_FS>, set_base<R_FS>, kLm},
    {0xc000'0101, 0xc000'0101, get_base<R_GS>, set_base<R_GS>, kLm},
    {0xc000'0102, 0xc000'0102, get<&State::kernelgsbase>, set_canonical<&State::kernelgsbase>, kLm},
    {0xc000'0103, 0xc000'0103, get<&State::tsc_aux>, set_tsc_aux, Feature::Rdtscp},
};

const Msr* find(const State& s, uint32_t index) {
  for (const Msr& m : kMsrs) {
    if (index >= m.first && index <= m.last) return has_feature(s, m.feature) ? &m : nullptr;
  }
  return nullptr;
}

}  // namespace

uint64_t read_tsc(Cpu cpu, uint64_t count) noexcept {
  const VirtualClock* clock = cpu.context().clock;
  const uint64_t now = clock == nullptr ? count : clock->now(InsnCount(count)).value;
  return now + static_cast<uint64_t>(cpu.s().tsc_offset);
}

bool read_msr(Cpu cpu, uint32_t index, uint64_t count, uint64_t& value) noexcept {
  MsrContext m{cpu, index, count};
  const Msr* msr = find(cpu.s(), index);
  return msr != nullptr && msr->read != nullptr ? msr->read(m, value) : gp(m);
}

bool write_msr(Cpu cpu, uint32_t index, uint64_t count, uint64_t value) noexcept {
  MsrContext m{cpu, index, count};
  const Msr* msr = find(cpu.s(), index);
  return msr != nullptr && msr->write != nullptr ? msr->write(m, value) : gp(m);
}

}  // namespace panda::x86
