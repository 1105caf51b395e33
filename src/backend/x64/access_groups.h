// Loads and stores of a block whose addresses are one value plus constants need one TLB check: the
// first checks the range that all of them touch and keeps a host pointer to its beginning; the others
// use that. Where the check fails (the range straddles pages, or not all of it may be accessed
// directly), the pointer is null and each access is made by itself, out of line.
//
// The pointer stays right until the end of the block or the next helper call: nothing between those
// takes a mapping away, except that an access which fills a TLB entry may evict the page's, and then
// the slow path sets the pointers to null (so that what the TLB holds, and with it each page walk, is
// the same as if every access had looked there).
#pragma once

#include <cstdint>
#include <vector>

#include "ir/ir.h"

namespace panda::x64 {

struct AccessGroup {
  ir::ValueId root = ir::kNoValue;  // I32 or I64: what the addresses have in common
  int64_t first = 0;                // the range begins at root + first, in the root's width
  uint32_t span = 0;                // bytes
  uint32_t last = 0;                // index of the last member
  uint32_t members = 0;             // still to come, while lowering
  uint8_t mode = 0;
  bool narrow = false;  // the address is the zero-extended 32-bit sum
  bool write = false;   // some member needs the page writable
};

class AccessGroups {
 public:
  void begin_unit(const ir::Unit& unit);
  void run(const ir::Unit& unit, const ir::Block& block);

  // The access's group, or null. Valid until the next block.
  [[nodiscard]] AccessGroup* of(uint32_t index) {
    const Member& m = members_[index];
    return m.group == kNone ? nullptr : &groups_[m.group];
  }
  [[nodiscard]] const AccessGroup* of(uint32_t index) const { return const_cast<AccessGroups*>(this)->of(index); }
  [[nodiscard]] uint16_t number_of(uint32_t index) const { return members_[index].group; }
  // The address, as distance from the root.
  [[nodiscard]] int64_t displacement(uint32_t index) const { return members_[index].displacement; }

 private:
  static constexpr uint16_t kNone = 0xffff;
  struct Member {
    int64_t displacement = 0;
    uint16_t group = kNone;
  };
  struct Address {
    ir::ValueId root;
    int64_t displacement;
    bool narrow;
  };
  struct Slot {
    uint32_t stamp = 0;  // block_ where `value` is of this block
    ir::ValueId value = ir::kNoValue;
  };
  [[nodiscard]] Address split(const ir::Unit& unit, ir::ValueId address) const;
  [[nodiscard]] bool same_value(const ir::Unit& unit, ir::ValueId a, ir::ValueId b, unsigned depth) const;
  [[nodiscard]] Slot& slot(uint64_t offset);
  void forget(const ir::StateRange& written);
  void add(const ir::Unit& unit, uint32_t index);

  std::vector<Member> members_;         // by instruction
  std::vector<ir::ValueId> canonical_;  // by instruction: what a get is known to come to, else itself
  std::vector<Slot> slots_;             // by offset
  std::vector<uint16_t> touched_;       // slots of this block
  uint32_t block_ = 0;                  // counts blocks
  std::vector<AccessGroup> groups_;
  std::vector<uint16_t> open_;
};

}  // namespace panda::x64
