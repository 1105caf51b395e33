// The floating-point part of the CPU state: control words, what translation depends on (the
// kModeFpuFlat and kModeFpUnmasked bits), reset, and the save areas of FSAVE, FXSAVE and XSAVE.
//
// MXCSR: State::mxcsr has the control bits and the flags as of the last synchronisation; flags
// raised since then stand in VcpuContext::guest_mxcsr, which is what translated code runs under
// (always with every exception masked). A back end stores the host's MXCSR there before it calls
// a helper with uses_fp and loads it again afterwards.
//
// x87 pointers: FIP, FOP and FDP are kept as on AMD processors, only while an exception could be
// pending (not kModeFpuFlat); otherwise they stay as they were last loaded (zero after FNINIT).
#pragma once

#include <cstdint>
#include <span>

#include "guest/x86/rows.h"
#include "guest/x86/state.h"

namespace panda::x86 {

// --- x87 status and control word bits
inline constexpr uint16_t kFpIE = 1, kFpDE = 2, kFpZE = 4, kFpOE = 8, kFpUE = 0x10, kFpPE = 0x20, kFpSF = 0x40,
                          kFpES = 0x80, kFpC0 = 0x100, kFpC1 = 0x200, kFpC2 = 0x400, kFpC3 = 0x4000, kFpB = 0x8000;
inline constexpr uint16_t kFpExceptions = 0x3f;
inline constexpr uint16_t kFpConditions = kFpC0 | kFpC1 | kFpC2 | kFpC3;
inline constexpr uint16_t kFpuControlDefault = 0x37f;
inline constexpr uint16_t kFpuControlBits = 0x1f3f;  // the rest reads as kFpuControlOnes
inline constexpr uint16_t kFpuControlOnes = 0x40;

inline constexpr uint32_t kMxcsrFlags = 0x3f;
inline constexpr uint32_t kMxcsrMasks = 0x1f80;
inline constexpr uint32_t kMxcsrDefault = 0x1f80;
inline constexpr uint32_t kMxcsrMask = 0xffff;  // writable bits: DAZ is there

// XCR0 and XSAVE components.
inline constexpr uint64_t kXcr0X87 = 1, kXcr0Sse = 2, kXcr0Avx = 4;
// Those with a part of their own behind the legacy region and the header (SDM vol. 1, 13.4.3).
struct XsaveComponent {
  unsigned bit;  // in XCR0
  uint32_t offset, bytes;
  Feature feature;
};
inline constexpr uint32_t kXsaveBasicBytes = 576;
inline constexpr XsaveComponent kXsaveComponents[] = {{2, 576, 256, Feature::Avx}};
// What XCR0 may hold.
[[nodiscard]] uint64_t supported_xcr0(const State& s) noexcept;
// Size of a standard area with these components; offsets of the compacted one are the same, as long as there is one.
[[nodiscard]] constexpr uint32_t xsave_area_bytes(uint64_t components) {
  uint32_t bytes = kXsaveBasicBytes;
  for (const XsaveComponent& c : kXsaveComponents) {
    if ((components >> c.bit & 1) != 0) bytes = c.offset + c.bytes;
  }
  return bytes;
}

// --- what update_hflags() sets (modes.cpp)
// kModeFpuFlat: every x87 exception is masked and none is pending, so that no x87 instruction can
// fault and translated code need not look.
[[nodiscard]] inline bool fpu_flat(const State& s) {
  return (s.fpuc & kFpExceptions) == kFpExceptions && (s.fpus & kFpES) == 0;
}
// kModeFpUnmasked
[[nodiscard]] inline bool mxcsr_unmasked(const State& s) { return (s.mxcsr & kMxcsrMasks) != kMxcsrMasks; }

// Translated code takes the host's exception flags to be among the guest's (backend/x64/x87_stack.h):
// after whatever takes flags from the guest or may raise others on the host.
void settle_host_flags(const State& s) noexcept;

// --- whole state
void fpu_init(State& s) noexcept;  // FNINIT
void fpu_reset(Cpu cpu) noexcept;  // power-on: x87, MMX, SSE, MXCSR and XCR0 (SDM vol. 3, table 10-1)
[[nodiscard]] uint32_t architectural_mxcsr(const Cpu& cpu) noexcept;
void set_mxcsr(Cpu cpu, uint32_t value) noexcept;  // does not touch hflags
[[nodiscard]] inline uint16_t fpu_status(const State& s) { return static_cast<uint16_t>(s.fpus | (s.fpstt & 7) << 11); }
void set_fpu_status(State& s, uint16_t value) noexcept;         // TOP, and ES and B as the masks demand
[[nodiscard]] uint16_t fpu_full_tags(const State& s) noexcept;  // two bits a register, as FNSTENV stores them
[[nodiscard]] uint8_t fpu_abridged_tags(const State& s) noexcept;
void set_fpu_control(State& s, uint16_t value) noexcept;

// Makes hflags follow the floating-point state. Where that changes what translations depend on,
// asks to leave the unit with the current instruction complete; `next_pc` is the next one's.
void refresh_fp_mode(Cpu cpu, uint64_t next_pc) noexcept;

std::span<const Row> fpu_state_rows();  // translate_fpu_state.cpp: control words, save areas, XCR0

}  // namespace panda::x86
