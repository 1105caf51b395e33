// The backward pass over a block: last uses, dead ops, ops that are computed where they are used
// (compares that fuse with their branch), and whether a slot is read again before it is written.
//
// A slot that is set again before anything reads it is only looked at by an access that faults on
// the way. What is computed for such a set alone (flags, mostly) is not emitted at all: it is lazy,
// and the slow path works it out from the operands, which stay alive until the last such access.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/x64/access_groups.h"
#include "ir/ir.h"

namespace panda::x64 {

inline constexpr uint16_t kNoSlot = 0xffff;

// What is known of a value; also the register allocator's record of it.
struct ValueInfo {
  uint32_t last_use = 0;  // position of the last op that needs it
  uint32_t user = 0;      // the first op that has it as operand
  uint32_t root = 0;      // the value whose register this one shares; itself unless an alias
  uint32_t uses = 0;
  uint32_t lazy_until = 0;  // lazy sets need it up to this position
  uint16_t holds = 0;       // slot bindings that keep it alive
  uint16_t home = kNoSlot;  // slot whose memory holds exactly this value
  int16_t spill = -1;       // frame slot
  int8_t reg = -1;
  uint8_t zero_from = 64;  // the register's bits from this one up to 63 are known to be zero
  bool dead = false;       // emits nothing
  bool deferred = false;   // emitted by its only user
  bool lazy = false;       // not emitted: evaluated by the slow path
  uint8_t lazy_depth = 0;
  bool crosses_call = false;
  bool read_again = false;  // get, set: the slot's next access in this block is a get
  bool is_xmm = false;
};

// The slots of a unit, by a small number each.
class SlotMap {
 public:
  uint16_t number(uint64_t offset);
  [[nodiscard]] uint16_t count() const { return static_cast<uint16_t>(offsets_.size()); }
  [[nodiscard]] uint16_t offset(uint16_t slot) const { return offsets_[slot]; }
  void clear();

 private:
  std::vector<uint16_t> number_of_;  // by offset
  std::vector<uint16_t> offsets_;
};

// x << 1 to x << 3 of 32 or 64 bits: what an address can hold.
[[nodiscard]] bool is_scaled_index(const ir::Unit& unit, ir::ValueId v);

class Liveness {
 public:
  // `values` has an entry per instruction of the unit; those of the block are filled in.
  // A member of an access group needs its root instead of its address.
  void run(const ir::Unit& unit, const ir::Block& block, const AccessGroups& groups, SlotMap& slots,
           std::vector<ValueInfo>& values);

 private:
  struct NextAccess {
    bool is_get = false;
    bool is_set = false;    // and nothing reads the slot before
    uint32_t faults = 0;    // faults_.size() at that set
    uint32_t ways_out = 0;  // between it and the block's end
  };
  [[nodiscard]] uint32_t last_fault_before(const NextAccess& next) const;
  void forget_touched(const ir::HelperDesc& desc, const SlotMap& slots);

  std::vector<NextAccess> next_;  // by slot
  std::vector<uint32_t> faults_;  // positions of the block's faulting ops, backwards
};

}  // namespace panda::x64
