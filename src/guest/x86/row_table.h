// Finds the translator of a decoded instruction. A mnemonic may have rows in several chapters
// (MOV of control registers, MOVSD the string and the SSE one, PADDB on MMX and XMM registers):
// the operands decide which chapter is asked first.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "guest/x86/decoder.h"
#include "guest/x86/rows.h"

namespace panda::x86 {

enum class Chapter : uint8_t { Integer, Control, String, System, X87, Mmx, Sse, Avx };
inline constexpr unsigned kChapterCount = 8;

struct FoundRow {
  const Row* row = nullptr;  // null: not implemented
  Chapter chapter = Chapter::Integer;
};

class RowTable {
 public:
  RowTable();
  [[nodiscard]] FoundRow find(const DecodedInsn& decoded) const;

 private:
  std::array<std::vector<const Row*>, kChapterCount> by_mnemonic_;
};

}  // namespace panda::x86
