// Random units that verify, drawn from the whole op table.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "ir/ir.h"

namespace panda::ir::test {

struct RandomUnit {
  Unit unit;
  std::vector<uint8_t> state;
  std::vector<uint8_t> ram;
  int64_t budget = 0;
  uint32_t mxcsr = 0;
};

// The same seed gives the same unit.
[[nodiscard]] RandomUnit random_unit(uint64_t seed);
// Whether a row's imm means something (beyond those with emitters of their own).
[[nodiscard]] bool has_immediate(Op op);

}  // namespace panda::ir::test
