// Of a loop: which accesses have an address that depends on what a load read one time round before, with an address
// that depends on it in turn (a list that is walked, a table that is looked up by the last look-up's result). Such a
// loop runs at the pace of its loads, and at that of all that it takes to find where they go.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/ir.h"

namespace panda::x64 {

class LoopChains {
 public:
  // `loop`: the block, which goes back to its own beginning; null: there is none.
  void run(const ir::Unit& unit, const ir::Block* loop);
  [[nodiscard]] bool holds(uint32_t index) const { return index < on_chain_.size() && on_chain_[index] != 0; }

 private:
  bool pass(const ir::Unit& unit, const ir::Block& loop, uint32_t source);

  std::vector<uint8_t> on_chain_;  // by instruction
  std::vector<uint8_t> depends_;   // by instruction: on the source
  std::vector<uint8_t> sources_;   // by instruction: a load that its own result leads to
  std::vector<uint64_t> slots_;    // that hold what depends on the source
};

}  // namespace panda::x64
