#include "guest/x86/fpu_state.h"

#include "guest/x86/cpuid.h"

namespace panda::x86 {

void settle_host_flags(const State& s) noexcept {
  uint16_t status;
  __asm__ volatile("fnstsw %0" : "=a"(status));
  if ((status & ~s.fpus & kFpExceptions) != 0) __asm__ volatile("fnclex");
}

void fpu_init(State& s) noexcept {
  s.fpuc = kFpuControlDefault;
  s.fpus = 0;
  s.fpstt = 0;
  for (uint8_t& tag : s.fptags) tag = 1;
  s.fpop = s.fpcs = s.fpds = 0;
  s.fpip = s.fpdp = 0;
  settle_host_flags(s);
}

void fpu_reset(Cpu cpu) noexcept {
  State& s = cpu.s();
  fpu_init(s);
  s.fpuc = kFpuControlOnes;
  for (uint8_t& tag : s.fptags) tag = 0;  // the registers hold zeros
  for (FPReg& r : s.fpregs) r = FPReg{};
  for (ZMMReg& r : s.xmm_regs) r = ZMMReg{};
  s.xcr0 = kXcr0X87;
  set_mxcsr(cpu, kMxcsrDefault);
}

uint64_t supported_xcr0(const State& s) noexcept {
  uint64_t bits = kXcr0X87 | kXcr0Sse;
  for (const XsaveComponent& c : kXsaveComponents) {
    if (has_feature(s, c.feature)) bits |= uint64_t{1} << c.bit;
  }
  return bits;
}

uint32_t architectural_mxcsr(const Cpu& cpu) noexcept {
  const auto& context = VcpuContext::of(static_cast<const void*>(&cpu.s()));
  return cpu.s().mxcsr | (context.guest_mxcsr & kMxcsrFlags);
}

void set_mxcsr(Cpu cpu, uint32_t value) noexcept {
  cpu.s().mxcsr = value & kMxcsrMask;
  cpu.context().guest_mxcsr = (value & kMxcsrMask) | kMxcsrMasks;
}

void set_fpu_control(State& s, uint16_t value) noexcept {
  s.fpuc = static_cast<uint16_t>((value & kFpuControlBits) | kFpuControlOnes);
  set_fpu_status(s, fpu_status(s));
}

void set_fpu_status(State& s, uint16_t value) noexcept {
  s.fpstt = value >> 11 & 7;
  value = static_cast<uint16_t>(value & (kFpExceptions | kFpSF | kFpConditions));
  if ((value & ~s.fpuc & kFpExceptions) != 0) value = static_cast<uint16_t>(value | kFpES | kFpB);
  s.fpus = value;
  settle_host_flags(s);
}

uint16_t fpu_full_tags(const State& s) noexcept {
  unsigned tags = 0;
  for (unsigned i = 0; i < 8; ++i) {
    const floatx80& v = s.fpregs[i].d;
    const unsigned exponent = v.high & 0x7fffu;
    unsigned tag = 0;
    if (s.fptags[i] != 0)
      tag = 3;
    else if (exponent == 0 && v.low == 0)
      tag = 1;
    else if (exponent == 0 || exponent == 0x7fff || v.low >> 63 == 0)
      tag = 2;
    tags |= tag << (2 * i);
  }
  return static_cast<uint16_t>(tags);
}

uint8_t fpu_abridged_tags(const State& s) noexcept {
  unsigned tags = 0;
  for (unsigned i = 0; i < 8; ++i) tags |= (s.fptags[i] == 0 ? 1u : 0u) << i;
  return static_cast<uint8_t>(tags);
}

void refresh_fp_mode(Cpu cpu, uint64_t next_pc) noexcept {
  State& s = cpu.s();
  uint64_t flags = s.hflags & ~uint64_t{kModeFpuFlat | kModeFpUnmasked};
  if (fpu_flat(s)) flags |= kModeFpuFlat;
  if (mxcsr_unmasked(s)) flags |= kModeFpUnmasked;
  if (flags == s.hflags) return;
  s.hflags = flags;
  s.eip = next_pc;
  cpu.context().request(ExitRequest::Dispatch);
}

}  // namespace panda::x86
