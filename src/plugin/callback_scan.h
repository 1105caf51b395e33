// What a callback's machine code can do, as far as it can be followed. Translated code calls a callback directly where
// it is sure that it neither calls out (so that it cannot throw, nor unload itself, nor ask for anything) nor computes
// in floating point (whose flags and rounding mode are the guest's while translated code runs); and it brings the
// guest's state up to date only for one that looks at memory. What cannot be followed counts as doing everything.
#pragma once

#include <cstdint>

namespace panda::plugin {

struct Footprint {
  bool reads = true;  // memory that is neither its stack nor addressed absolutely: the guest's state, perhaps
  bool writes = true;
  bool calls_out = true;  // or computes in floating point, or cannot be followed
  uint32_t keeps = 0;     // registers it does not write: general ones by number, vector registers from 16
  uint8_t ignores = 0;    // bit n: it does not look at its n-th argument
};

[[nodiscard]] Footprint scan_callback(const void* function);

}  // namespace panda::plugin
