// AVX memory accesses that are not one IR load or store: masked moves and gathers, whose elements are
// accessed where a mask says so, and the probe before a 256-bit store.
#pragma once

#include <cstdint>

#include "ir/helper.h"

namespace panda::x86 {

// (linear address, bytes): faults as a store of that many bytes would, so that of two stores that make
// one access either both happen or none.
extern const ir::HelperDesc kAvxProbeStore;

// VMASKMOVPS, VPMASKMOVQ and kin (SDM vol. 2, VMASKMOV): elements whose mask has its top bit clear are
// not accessed, and are loaded as zeros.
struct MaskedMove {
  uint8_t value = 0;       // register loaded or stored
  uint8_t mask = 0;        // register
  uint8_t lane_bytes = 4;  // 4 or 8
  uint8_t lanes = 4;
  bool store = false;
  uint8_t seg = 0;

  [[nodiscard]] constexpr uint64_t pack() const {
    return uint64_t{value} | uint64_t{mask} << 4 | uint64_t{lane_bytes} << 8 | uint64_t{lanes} << 12 |
           uint64_t{store} << 16 | uint64_t{seg} << 17;
  }
  [[nodiscard]] static constexpr MaskedMove unpack(uint64_t v) {
    return {static_cast<uint8_t>(v & 15),
            static_cast<uint8_t>(v >> 4 & 15),
            static_cast<uint8_t>(v >> 8 & 15),
            static_cast<uint8_t>(v >> 12 & 15),
            (v >> 16 & 1) != 0,
            static_cast<uint8_t>(v >> 17 & 7)};
  }
};
extern const ir::HelperDesc kAvxMaskedMove;  // (offset in the segment, address size mask, MaskedMove)

// VGATHERDPS, VPGATHERQQ and kin (SDM vol. 2, VPGATHERDD): an element once loaded has its mask cleared,
// so that the instruction is resumed where a fault interrupted it.
struct Gather {
  uint8_t value = 0;
  uint8_t mask = 0;
  uint8_t index = 0;
  uint8_t lane_bytes = 4;   // of the elements: 4 or 8
  uint8_t index_bytes = 4;  // 4 or 8
  uint8_t lanes = 4;        // elements gathered
  uint8_t scale_log2 = 0;
  uint8_t seg = 0;

  [[nodiscard]] constexpr uint64_t pack() const {
    return uint64_t{value} | uint64_t{mask} << 4 | uint64_t{index} << 8 | uint64_t{lane_bytes} << 12 |
           uint64_t{index_bytes} << 16 | uint64_t{lanes} << 20 | uint64_t{scale_log2} << 24 | uint64_t{seg} << 28;
  }
  [[nodiscard]] static constexpr Gather unpack(uint64_t v) {
    const auto field = [v](unsigned at) { return static_cast<uint8_t>(v >> at & 15); };
    return {field(0), field(4), field(8), field(12), field(16), field(20), field(24), field(28)};
  }
};
extern const ir::HelperDesc kAvxGather;  // (base and displacement, address size mask, Gather)

}  // namespace panda::x86
