// The translator table: mnemonic to function, one span of rows per file (one file per chapter).
#pragma once

#include <Zydis/Zydis.h>

#include <span>

#include "guest/x86/insn_context.h"

namespace panda::x86 {

// Emits the instruction. Next: it fell through. Closed: it ended the unit. NeedExact: nothing was
// emitted, it has to be alone in an exact unit (x.request.exact says that it is).
using TranslateFn = exec::InsnEnd (*)(InsnContext& x);

// The CPUID feature that an instruction belongs to (cpuid.h); None: always there. The front end raises
// #UD where the CPU model lacks it.
enum class Feature : uint8_t {
  None,
  Fpu,
  Tsc,
  Msr,
  Cx8,
  Sep,
  Cmov,
  Clfsh,
  Mmx,
  Fxsr,
  Sse,
  Sse2,
  Sse3,
  Ssse3,
  Sse41,
  Sse42,
  Popcnt,
  Cx16,
  Movbe,
  Xsave,
  Syscall,
  LongMode,
  Lahf,
  Rdtscp,
  Smap,
  Abm,
  Bmi1,
  Bmi2,
  Adx,
  Aes,
  Pclmul,
  Avx,
  Avx2,
  Fma,
  F16c,
  Rdrand,
  Rdseed,
  Sha,
  Fsgsbase,
  Invpcid,
  Xsaveopt,
  Xsavec,
  Prefetchw,
  Rdpid,
  Clflushopt,
  Clwb,
  Xgetbv1,
  kCount,  // the last
};

struct Row {
  ZydisMnemonic mnemonic;
  TranslateFn translate;
  Feature feature = Feature::None;
};

std::span<const Row> integer_rows();  // translate_integer.cpp: arithmetic, logic, shifts, moves, bits
std::span<const Row> control_rows();  // translate_control.cpp: jumps, calls, flags, stack
std::span<const Row> string_rows();   // translate_string.cpp
std::span<const Row> system_rows();   // translate_system.cpp: segments, CRs, MSRs, I/O, far transfers
std::span<const Row> x87_rows();      // translate_x87.cpp
std::span<const Row> mmx_rows();      // translate_mmx.cpp
std::span<const Row> sse_rows();      // translate_sse_*.cpp
std::span<const Row> avx_rows();      // translate_avx_*.cpp: VEX encodings of vector registers

}  // namespace panda::x86
