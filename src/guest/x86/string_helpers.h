// Repeated string instructions (SDM vol. 2, REP). One call runs as many iterations as the budget
// allows, page-wise on host memory where it can.
//
// Counting: each iteration is one guest instruction. The unit's own `count` has paid for one, so a
// call that completes k iterations takes k - 1 from the budget (k = 0, with rCX 0 at entry, costs
// the one). Where iteration j + 1 faults or needs an exact unit, the registers show j done, j is
// taken from the budget, and the engine gives the one back. Where iterations remain, the pc slot
// stays at the instruction and the unit is left: interrupts are seen between two iterations, and
// the result and the count are the same however the work is split.
#pragma once

#include "guest/x86/state.h"
#include "ir/helper.h"

namespace panda::x86 {

enum class StringKind : uint8_t { Movs, Stos, Lods, Scas, Cmps };
enum class Repeat : uint8_t { Always, WhileEqual, WhileNotEqual };

struct StringOp {
  StringKind kind = StringKind::Movs;
  Repeat repeat = Repeat::Always;
  uint8_t size_log2 = 0;     // of an element
  uint8_t address_log2 = 0;  // address size in bytes
  uint8_t seg = R_DS;        // of the source
  bool one_only = false;     // exact unit: one iteration, then back to the engine

  [[nodiscard]] constexpr uint32_t pack() const {
    return static_cast<uint32_t>(kind) | static_cast<uint32_t>(repeat) << 3 | uint32_t{size_log2} << 5 |
           uint32_t{address_log2} << 7 | uint32_t{seg} << 9 | (one_only ? 1u << 12 : 0u);
  }
  [[nodiscard]] static constexpr StringOp unpack(uint32_t v) {
    return {static_cast<StringKind>(v & 7),   static_cast<Repeat>(v >> 3 & 3),  static_cast<uint8_t>(v >> 5 & 3),
            static_cast<uint8_t>(v >> 7 & 3), static_cast<uint8_t>(v >> 9 & 7), (v >> 12 & 1) != 0};
  }
};

extern const ir::HelperDesc kHelperString;  // (StringOp packed, pc of this instruction)

}  // namespace panda::x86
