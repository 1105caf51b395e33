// SYSENTER, SYSEXIT (SDM vol. 2), SYSCALL and SYSRET as Intel's processors have them: the latter two
// exist in 64-bit mode only, and SYSRET to a non-canonical address faults before privilege changes.
#include "guest/x86/fast_syscall.h"

#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

enum class Code : uint8_t { Bits32, Bits64 };

// CS and SS as these instructions force them: flat, whatever the descriptor tables say.
void set_flat(Cpu cpu, uint16_t cs, uint16_t ss, unsigned cpl, Code code) {
  const uint32_t common = kDescGranular | kDescPresent | cpl << kDescDplShift | kDescSegment | kDescAccessed;
  set_segment(cpu, R_CS, static_cast<uint16_t>((cs & 0xfffc) | cpl), 0, 0xffff'ffff,
              common | kDescCode | kDescReadable | (code == Code::Bits64 ? kDescLong : kDescBig));
  set_segment(cpu, R_SS, static_cast<uint16_t>((ss & 0xfffc) | cpl), 0, 0xffff'ffff, common | kDescWritable | kDescBig);
}

}  // namespace

bool sysenter(Cpu cpu) noexcept {
  State& s = cpu.s();
  const auto cs = static_cast<uint16_t>(s.sysenter_cs);
  if ((s.hflags & kModePe) == 0 || is_null(cs)) return raise(cpu, kGP, uint16_t{0});
  const bool lm = long_mode(s);
  s.eflags &= ~uint64_t{kVM | kIF | kRF};
  set_flat(cpu, cs, static_cast<uint16_t>(cs + 8), 0, lm ? Code::Bits64 : Code::Bits32);
  cpu.set_reg(R_ESP, lm ? s.sysenter_esp : s.sysenter_esp & 0xffff'ffff);
  s.eip = lm ? s.sysenter_eip : s.sysenter_eip & 0xffff'ffff;
  update_flow_hflags(cpu);
  return true;
}

bool sysexit(Cpu cpu, bool to64) noexcept {
  State& s = cpu.s();
  const auto cs = static_cast<uint16_t>(s.sysenter_cs);
  if (!is_protected(s) || is_null(cs) || cpu.cpl() != 0) return raise(cpu, kGP, uint16_t{0});
  const uint64_t rip = cpu.reg(R_EDX), rsp = cpu.reg(R_ECX);
  if (to64) {
    if (!is_canonical(rip) || !is_canonical(rsp)) return raise(cpu, kGP, uint16_t{0});
    set_flat(cpu, static_cast<uint16_t>(cs + 32), static_cast<uint16_t>(cs + 40), 3, Code::Bits64);
  } else {
    set_flat(cpu, static_cast<uint16_t>(cs + 16), static_cast<uint16_t>(cs + 24), 3, Code::Bits32);
  }
  cpu.set_reg(R_ESP, to64 ? rsp : rsp & 0xffff'ffff);
  s.eip = to64 ? rip : rip & 0xffff'ffff;
  update_flow_hflags(cpu);
  return true;
}

bool syscall_insn(Cpu cpu, uint64_t next_eip) noexcept {
  State& s = cpu.s();
  if ((s.efer & kEferSce) == 0 || (s.hflags & kModeCs64) == 0) return raise(cpu, kUD);
  const auto cs = static_cast<uint16_t>(s.star >> 32);
  const uint32_t eflags = cpu.eflags();
  cpu.set_reg(R_ECX, next_eip);
  cpu.set_reg(R_R11, eflags & ~kRF);
  cpu.set_eflags(eflags & ~static_cast<uint32_t>(s.fmask) & ~kRF);
  set_flat(cpu, cs, static_cast<uint16_t>((cs & 0xfffc) + 8), 0, Code::Bits64);
  s.eip = s.lstar;
  update_flow_hflags(cpu);
  return true;
}

bool sysret(Cpu cpu, bool to64) noexcept {
  State& s = cpu.s();
  if ((s.efer & kEferSce) == 0 || (s.hflags & kModeCs64) == 0) return raise(cpu, kUD);
  if (cpu.cpl() != 0) return raise(cpu, kGP, uint16_t{0});
  const uint64_t rip = cpu.reg(R_ECX);
  if (to64 && !is_canonical(rip)) return raise(cpu, kGP, uint16_t{0});
  const auto base = static_cast<uint16_t>(s.star >> 48);
  set_flat(cpu, to64 ? static_cast<uint16_t>(base + 16) : base, static_cast<uint16_t>(base + 8), 3,
           to64 ? Code::Bits64 : Code::Bits32);
  s.eip = to64 ? rip : rip & 0xffff'ffff;
  cpu.set_eflags((static_cast<uint32_t>(cpu.reg(R_R11)) & 0x3c'7fd7 & ~kRF) | 2);
  update_flow_hflags(cpu);
  return true;
}

}  // namespace panda::x86
