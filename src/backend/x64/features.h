// What the host CPU offers beyond SSE4.2 and POPCNT, which are required.
#pragma once

namespace panda::x64 {

struct Features {
  bool avx = false;    // three-operand vector encodings
  bool bmi2 = false;   // SHLX and kin, RORX
  bool lzcnt = false;  // LZCNT
  bool tzcnt = false;  // TZCNT (BMI1)
  bool fma = false;    // FMA3
  bool f16c = false;   // conversions of half-precision floats
};

}  // namespace panda::x64
