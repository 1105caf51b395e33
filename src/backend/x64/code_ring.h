// Where in the code area the next unit goes. The area fills front to back and then begins again at the
// front: there the oldest units give way one by one, just as many as the next one needs room for. What is
// behind and ahead of that gap stays as it is. A unit that was released in between leaves its room when
// the gap reaches it.
//
// Each unit's piece begins with a PieceHeader, so that the ring needs no memory of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exec/translation_unit.h"

namespace panda::x64 {

struct PieceHeader {
  exec::TranslationUnit* unit;  // null: released
  uint32_t bytes;               // of the piece, header included
  uint32_t exits;               // of the unit's ExitJumps, from the header on
};
inline constexpr uint32_t kPieceAlignment = 16;
static_assert(sizeof(PieceHeader) == kPieceAlignment);

class CodeRing {
 public:
  // Pieces lie in [begin, end) of `area`, which outlives this.
  CodeRing(uint8_t* area, size_t begin, size_t end);

  // Moves position() to where `bytes` are free. False: in_the_way() must be released first, or, where that
  // is null, the area is smaller than that.
  [[nodiscard]] bool reserve(size_t bytes);
  [[nodiscard]] exec::TranslationUnit* in_the_way() const { return in_the_way_; }
  [[nodiscard]] uint32_t position() const { return static_cast<uint32_t>(position_); }
  // A piece for `unit` begins at position() and ends at `end`, which lies within what was reserved.
  PieceHeader& add(exec::TranslationUnit& unit, size_t end, uint32_t exits);
  void release(PieceHeader& piece);
  void clear();

  [[nodiscard]] size_t capacity_bytes() const { return end_ - begin_; }
  [[nodiscard]] size_t used_bytes() const { return used_; }  // by pieces that were not released

 private:
  [[nodiscard]] PieceHeader& piece_at(size_t offset) const { return *reinterpret_cast<PieceHeader*>(area_ + offset); }

  uint8_t* area_;
  size_t begin_, end_;
  size_t position_;
  size_t free_to_;  // nothing lives in [position_, free_to_)
  size_t old_end_;  // pieces of the last round lie in [free_to_, old_end_); none: old_end_ == free_to_
  size_t used_ = 0;
  exec::TranslationUnit* in_the_way_ = nullptr;
};

}  // namespace panda::x64
