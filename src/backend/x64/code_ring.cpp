#include "backend/x64/code_ring.h"

#include "base/check.h"

namespace panda::x64 {
namespace {

size_t aligned(size_t offset) { return (offset + kPieceAlignment - 1) & ~size_t{kPieceAlignment - 1}; }

}  // namespace

CodeRing::CodeRing(uint8_t* area, size_t begin, size_t end)
    : area_(area), begin_(aligned(begin)), end_(end & ~size_t{kPieceAlignment - 1}) {
  PANDA_CHECK(begin_ < end_);
  clear();
}

void CodeRing::clear() {
  position_ = begin_;
  free_to_ = old_end_ = end_;
  used_ = 0;
  in_the_way_ = nullptr;
}

bool CodeRing::reserve(size_t bytes) {
  in_the_way_ = nullptr;
  if (bytes > capacity_bytes()) return false;
  while (free_to_ - position_ < bytes) {
    if (free_to_ < old_end_) {
      const PieceHeader& next = piece_at(free_to_);
      if (next.unit != nullptr) {
        in_the_way_ = next.unit;
        return false;
      }
      free_to_ += next.bytes;
    } else if (free_to_ < end_) {
      free_to_ = old_end_ = end_;
    } else {
      old_end_ = position_;
      position_ = free_to_ = begin_;
    }
  }
  return true;
}

PieceHeader& CodeRing::add(exec::TranslationUnit& unit, size_t end, uint32_t exits) {
  end = aligned(end);
  PANDA_CHECK(end <= free_to_);
  PieceHeader& piece = piece_at(position_);
  piece = {&unit, static_cast<uint32_t>(end - position_), exits};
  used_ += piece.bytes;
  position_ = end;
  return piece;
}

void CodeRing::release(PieceHeader& piece) {
  piece.unit = nullptr;
  used_ -= piece.bytes;
}

}  // namespace panda::x64
