// Optimisation passes: each is one file, runs in place in linear time, and leaves a unit that
// verifies. Their working memory is kept between units, since they run at every translation.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ir/ir.h"

namespace panda::ir::opt {

// Working memory of the passes; what is in it means nothing between two of them.
struct Scratch {
  std::vector<ValueId> replacement;  // value -> the value that stands for it
  std::vector<uint8_t> flags;        // per instruction
  std::vector<uint32_t> position;    // per instruction: its index after compaction

  // What is known of a guest-state slot, by offset; only entries of the current stamp count.
  struct Slot {
    uint32_t stamp = 0;
    Type type = Type::Void;
    ValueId value = kNoValue;
  };
  std::vector<Slot> slots;
  std::vector<uint32_t> slot_list;  // offsets in use
  uint32_t stamp = 0;

  void begin_block();  // forgets all slots
  Slot& slot(uint64_t offset);
  [[nodiscard]] bool has_slot(uint64_t offset) const { return offset < slots.size() && slots[offset].stamp == stamp; }
};

// Drops the instructions whose flag is set and renumbers values and blocks.
void remove_flagged(Unit& unit, Scratch& scratch);

// A get after a get or set of its slot becomes that value; a set of what is there already goes.
void forward_slots(Unit& unit, Scratch& scratch);
// Integer ops on constants; identities; conversions that undo each other.
void fold_constants(Unit& unit, Scratch& scratch);
// Branches on constants; compares of compares; branches on negations.
void simplify_branches(Unit& unit, Scratch& scratch);
// A set that a later set of the block overwrites before anything can see it.
void remove_dead_sets(Unit& unit, Scratch& scratch);
// Values that nothing uses.
void remove_dead_values(Unit& unit, Scratch& scratch);

struct Pass {
  std::string_view name;
  void (*run)(Unit&, Scratch&);
};
// In the order in which they are run.
[[nodiscard]] std::span<const Pass> passes();

class Optimizer {
 public:
  // With `verify`, a pass that breaks the unit stops the program where it did so.
  explicit Optimizer(bool verify = false) : verify_(verify) {}
  void run(Unit& unit);

 private:
  Scratch scratch_;
  bool verify_;
};

}  // namespace panda::ir::opt
