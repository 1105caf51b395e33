// The engine's view of the x86 CPU state (include/panda/target/i386/cpu.h): one struct for both
// targets. Cpu wraps the arrays that are packed by the target's word size and the way back to the
// engine's context. All of guest/x86 works on Cpu.
#pragma once

#define PANDA_CORE_VIEW 1
#include "panda/target/i386/cpu.h"
#undef PANDA_CORE_VIEW

#include <cstddef>
#include <cstdint>

#include "ir/type.h"
#include "memory/vcpu_context.h"

namespace panda::x86 {

using State = ::CPUX86State;

// Exception vectors (SDM vol. 3, table 6-1).
enum Vector : uint8_t {
  kDE = 0,
  kDB = 1,
  kNMI = 2,
  kBP = 3,
  kOF = 4,
  kBR = 5,
  kUD = 6,
  kNM = 7,
  kDF = 8,
  kTS = 10,
  kNP = 11,
  kSS = 12,
  kGP = 13,
  kPF = 14,
  kMF = 16,
  kAC = 17,
  kMC = 18,
  kXM = 19,
};

// EFLAGS bits.
inline constexpr uint32_t kCF = 1, kPF_ = 4, kAF = 0x10, kZF = 0x40, kSF = 0x80, kTF = 0x100, kIF = 0x200, kDF_ = 0x400,
                          kOF_ = 0x800, kIOPL = 0x3000, kNT = 0x4000, kRF = 0x10000, kVM = 0x20000, kACflag = 0x40000,
                          kVIF = 0x80000, kVIP = 0x100000, kID = 0x200000;
inline constexpr uint32_t kArithmeticFlags = kCF | kPF_ | kAF | kZF | kSF | kOF_;

// Mode bits (State::hflags, UnitKey::flags): everything that the meaning of an instruction
// depends on besides its bytes. Kept by update_hflags() (system.h).
enum ModeBits : uint64_t {
  kModeCplMask = 3,
  kModePe = 1 << 2,           // protected mode
  kModeVm = 1 << 3,           // virtual-8086
  kModeLma = 1 << 4,          // IA-32e mode active
  kModeCs64 = 1 << 5,         // 64-bit code
  kModeCs32 = 1 << 6,         // default operand and address size 32 (else 16; ignored with kModeCs64)
  kModeSs32 = 1 << 7,         // stack address size 32 (ignored with kModeCs64)
  kModeAddSeg = 1 << 8,       // DS, ES or SS has a non-zero base
  kModeLimits = 1 << 9,       // some data segment is not flat, 4 GiB, present and writable: check each access
  kModeSmap = 1 << 10,        // supervisor data accesses to user pages fault (CR4.SMAP and not EFLAGS.AC)
  kModeTf = 1 << 11,          // single-step
  kModeEm = 1 << 12,          // CR0.EM
  kModeTs = 1 << 13,          // CR0.TS
  kModeMp = 1 << 14,          // CR0.MP
  kModeNe = 1 << 15,          // CR0.NE
  kModeOsfxsr = 1 << 16,      // CR4.OSFXSR
  kModeOsxsave = 1 << 17,     // CR4.OSXSAVE
  kModeAvx = 1 << 18,         // OSXSAVE and XCR0 has SSE and AVX
  kModeAc = 1 << 19,          // alignment checks: CR0.AM, EFLAGS.AC, CPL 3
  kModeFpUnmasked = 1 << 20,  // MXCSR has an unmasked exception: SSE arithmetic goes through checked helpers
  kModeFpuFlat = 1 << 21,     // x87: no unmasked pending exception (the usual case)
  kModeCsLimit = 1 << 22,     // CS limit is below 4 GiB: fetch checks
  kModeIoplSens = 1 << 23,    // CPL > IOPL (or VM with IOPL < 3): CLI, STI, POPF, IN, OUT need checks
  kModeCodeBreak = 1 << 26,   // DR7 enables an instruction breakpoint
  kModeOddFsGs = 1 << 27,     // FS or GS is present and not plain writable data: check each access
  kModeVirtualIf = 1 << 28,   // IOPL < 3 with CR4.VME in virtual-8086 mode, or CR4.PVI at CPL 3: CLI and STI act on VIF
  kModeUmip = 1 << 24,        // CR4.UMIP at CPL > 0: SGDT, SIDT, SLDT, STR and SMSW are #GP
};

// Where an access beyond the limit of FS or GS goes instead, outside 64-bit code: no linear address there
// has this bit, and the walk raises the fault (State::segment_bounds_).
inline constexpr uint64_t kBeyondLimit = uint64_t{1} << 62;

// State::inhibit_irq: what holds interrupts back until the next instruction is done. Behind MOV SS and
// POP SS, single-step traps are held back too (SDM vol. 3, 6.8.3).
inline constexpr uint32_t kShadowOfSti = 1, kShadowOfMovSs = 2;

// Soft-TLB modes (MemInfo::mode).
enum MmuMode : uint8_t { kMmuKernel = 0, kMmuUser = 1, kMmuKernelNoSmap = 2 };
[[nodiscard]] constexpr MmuMode mmu_mode(uint64_t hflags) {
  return (hflags & kModeCplMask) == 3 ? kMmuUser : (hflags & kModeSmap) ? kMmuKernel : kMmuKernelNoSmap;
}

// The lazily computed arithmetic flags: what the last flag-setting instruction was. Widths follow
// each other: base + 0..3 for 8, 16, 32 and 64 bits. dst, src, src2 are cc_dst, cc_src, cc_src2.
enum CcOp : uint32_t {
  kCcFlags = 0,   // src holds the six flags as they stand in EFLAGS
  kCcAdd = 4,     // dst = result, src = second operand
  kCcAdc = 8,     // dst = result, src = second operand, src2 = carry in
  kCcSub = 12,    // dst = result, src = second operand (CMP, SUB, NEG with first operand 0)
  kCcSbb = 16,    // dst = result, src = second operand, src2 = borrow in
  kCcLogic = 20,  // dst = result; CF = OF = AF = 0
  kCcInc = 24,    // dst = result, src = CF before
  kCcDec = 28,
  kCcShl = 32,  // dst = result, src = value shifted by count - 1 (CF is its top bit)
  kCcSar = 36,  // dst = result, src = value shifted right by count - 1 (CF is its bit 0); SHR too
  kCcMul = 40,  // dst = low half of the result, src != 0: CF = OF = 1
};
inline constexpr uint32_t kCcOpEnd = 44;

class Cpu {
 public:
  explicit Cpu(State& s) : s_(s) {}
  explicit Cpu(void* state) : s_(*static_cast<State*>(state)) {}
  explicit Cpu(VcpuContext& c) : Cpu(c.state()) {}

  [[nodiscard]] State& s() { return s_; }
  [[nodiscard]] const State& s() const { return s_; }
  [[nodiscard]] VcpuContext& context() { return VcpuContext::of(static_cast<void*>(&s_)); }
  [[nodiscard]] bool is64() const { return s_.is_64bit_target != 0; }
  [[nodiscard]] unsigned reg_count() const { return is64() ? 16 : 8; }

  [[nodiscard]] uint64_t reg(unsigned i) const { return is64() ? s_.regs64[i] : s_.regs32[i]; }
  void set_reg(unsigned i, uint64_t v) {
    if (is64())
      s_.regs64[i] = v;
    else
      s_.regs32[i] = static_cast<uint32_t>(v);
  }
  [[nodiscard]] uint64_t cr(unsigned i) const { return is64() ? s_.cr64[i] : s_.cr32[i]; }
  void set_cr(unsigned i, uint64_t v) {
    if (is64())
      s_.cr64[i] = v;
    else
      s_.cr32[i] = static_cast<uint32_t>(v);
  }
  [[nodiscard]] uint64_t dr(unsigned i) const { return is64() ? s_.dr64[i] : s_.dr32[i]; }
  void set_dr(unsigned i, uint64_t v) {
    if (is64())
      s_.dr64[i] = v;
    else
      s_.dr32[i] = static_cast<uint32_t>(v);
  }
  [[nodiscard]] unsigned cpl() const { return static_cast<unsigned>(s_.hflags & kModeCplMask); }
  [[nodiscard]] MmuMode mode() const { return mmu_mode(s_.hflags); }
  // EFLAGS in full: the lazy arithmetic flags, DF and the system flags (flags.cpp).
  [[nodiscard]] uint32_t eflags() const;
  // Sets all of EFLAGS: the arithmetic ones become kCcFlags. Does not update hflags.
  void set_eflags(uint32_t v);

 private:
  State& s_;
};

// The six arithmetic flags of a lazy state (flags.cpp); pure.
[[nodiscard]] uint32_t compute_flags(uint32_t cc_op, uint64_t dst, uint64_t src, uint64_t src2);

// Where translated code finds the word-sized arrays.
struct Layout {
  bool is64;
  [[nodiscard]] constexpr ir::Type word() const { return is64 ? ir::Type::I64 : ir::Type::I32; }
  [[nodiscard]] constexpr uint32_t reg(unsigned i) const {
    return static_cast<uint32_t>(offsetof(State, regs64)) + i * (is64 ? 8 : 4);
  }
  [[nodiscard]] constexpr uint32_t cr(unsigned i) const {
    return static_cast<uint32_t>(offsetof(State, cr64)) + i * (is64 ? 8 : 4);
  }
};

}  // namespace panda::x86
