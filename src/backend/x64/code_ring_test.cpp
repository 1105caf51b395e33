#include "backend/x64/code_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

namespace panda::x64 {
namespace {

using exec::TranslationUnit;

constexpr size_t kBegin = 48, kEnd = 4096 + 48;

class CodeRingTest : public ::testing::Test {
 protected:
  PieceHeader& add(TranslationUnit& unit, size_t bytes) { return ring_.add(unit, ring_.position() + bytes, 0); }

  alignas(16) uint8_t area_[kEnd + 64];
  CodeRing ring_{area_, kBegin, kEnd};
  TranslationUnit units_[64];
};

TEST_F(CodeRingTest, WhatIsLargerThanTheAreaNeverFits) {
  EXPECT_TRUE(ring_.reserve(4096));
  EXPECT_FALSE(ring_.reserve(4097));
  EXPECT_EQ(ring_.in_the_way(), nullptr);
}

TEST_F(CodeRingTest, TheOldestGiveWayAndNoMoreThanNeeded) {
  PieceHeader* pieces[4];
  for (int i = 0; i < 4; i++) {
    ASSERT_TRUE(ring_.reserve(1024));
    pieces[i] = &add(units_[i], 1024);
  }
  EXPECT_EQ(ring_.used_bytes(), 4096u);
  ASSERT_FALSE(ring_.reserve(1500));
  EXPECT_EQ(ring_.in_the_way(), &units_[0]);
  ring_.release(*pieces[0]);
  ASSERT_FALSE(ring_.reserve(1500));
  EXPECT_EQ(ring_.in_the_way(), &units_[1]);
  ring_.release(*pieces[1]);
  ASSERT_TRUE(ring_.reserve(1500));
  EXPECT_EQ(ring_.position(), kBegin);
  add(units_[4], 100);  // less than was reserved: what is left of the gap is used next
  EXPECT_EQ(ring_.position(), kBegin + 112);
  EXPECT_TRUE(ring_.reserve(2048 - 112));
  EXPECT_FALSE(ring_.reserve(2048 - 111));
  EXPECT_EQ(ring_.in_the_way(), &units_[2]);
  EXPECT_EQ(ring_.used_bytes(), 2048u + 112);
}

TEST_F(CodeRingTest, ReleasedPiecesAreSteppedOver) {
  for (int i = 0; i < 8; i++) {
    ASSERT_TRUE(ring_.reserve(512));
    PieceHeader& piece = add(units_[i], 512);
    if (i != 5) ring_.release(piece);
  }
  ASSERT_TRUE(ring_.reserve(5 * 512));
  EXPECT_FALSE(ring_.reserve(5 * 512 + 1));
  EXPECT_EQ(ring_.in_the_way(), &units_[5]);
}

// Nothing that lives is ever written over, whatever is released in between.
TEST_F(CodeRingTest, LivingPiecesStayWhole) {
  std::mt19937_64 random(1);
  struct Living {
    std::unique_ptr<TranslationUnit> unit;
    PieceHeader* piece;
    uint8_t fill;
  };
  std::deque<Living> living;
  uint64_t evicted = 0;
  const auto check = [](const Living& l) {
    ASSERT_EQ(l.piece->unit, l.unit.get());
    const auto* bytes = reinterpret_cast<const uint8_t*>(l.piece);
    for (size_t i = sizeof(PieceHeader); i < l.piece->bytes; i++) ASSERT_EQ(bytes[i], l.fill);
  };
  for (int round = 0; round < 20000; round++) {
    const size_t bytes = sizeof(PieceHeader) + 16 * (random() % 20), reserved = bytes + random() % 500;
    while (!ring_.reserve(reserved)) {
      ASSERT_NE(ring_.in_the_way(), nullptr);
      // FIFO, but for those that went by themselves.
      ASSERT_EQ(living.front().unit.get(), ring_.in_the_way());
      ring_.release(*living.front().piece);
      living.pop_front();
      evicted++;
    }
    auto unit = std::make_unique<TranslationUnit>();
    PieceHeader& piece = add(*unit, bytes);
    const auto fill = static_cast<uint8_t>(random());
    std::fill_n(reinterpret_cast<uint8_t*>(&piece + 1), bytes - sizeof(PieceHeader), fill);
    living.push_back({std::move(unit), &piece, fill});
    if (random() % 4 == 0) {
      const auto which = static_cast<std::ptrdiff_t>(random() % living.size());
      ring_.release(*living[static_cast<size_t>(which)].piece);
      living.erase(living.begin() + which);
    }
    size_t used = 0;
    for (const Living& l : living) {
      check(l);
      if (HasFatalFailure()) return;
      used += l.piece->bytes;
    }
    ASSERT_EQ(used, ring_.used_bytes());
    if (random() % 5000 == 0) {
      living.clear();
      ring_.clear();
    }
  }
  EXPECT_GT(evicted, 5000u);
}

}  // namespace
}  // namespace panda::x64
