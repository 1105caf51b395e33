#include "guest/x86/row_table.h"

#include <span>

namespace panda::x86 {

namespace {

constexpr Chapter kUsualOrder[] = {Chapter::Integer, Chapter::Control, Chapter::System, Chapter::X87,
                                   Chapter::Sse,     Chapter::Mmx,     Chapter::Avx,    Chapter::String};
constexpr Chapter kSystemFirst[] = {Chapter::System, Chapter::Integer, Chapter::Control};
constexpr Chapter kStringFirst[] = {Chapter::String, Chapter::System};
constexpr Chapter kMmxFirst[] = {Chapter::Mmx, Chapter::Sse};

std::span<const Chapter> order(const DecodedInsn& decoded) {
  if (decoded.insn.meta.category == ZYDIS_CATEGORY_STRINGOP ||
      decoded.insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) {
    return kStringFirst;
  }
  for (unsigned i = 0; i < decoded.insn.operand_count_visible; ++i) {
    const ZydisDecodedOperand& op = decoded.ops[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(op.reg.value)) {
      case ZYDIS_REGCLASS_SEGMENT:
      case ZYDIS_REGCLASS_CONTROL:
      case ZYDIS_REGCLASS_DEBUG:
      case ZYDIS_REGCLASS_TEST:
        return kSystemFirst;
      case ZYDIS_REGCLASS_MMX:
        return kMmxFirst;
      default:
        break;
    }
  }
  // Far jumps, calls and returns share their mnemonics with the near ones.
  if (decoded.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return kSystemFirst;
  return kUsualOrder;
}

}  // namespace

RowTable::RowTable() {
  const std::span<const Row> chapters[kChapterCount] = {integer_rows(), control_rows(), string_rows(), system_rows(),
                                                        x87_rows(),     mmx_rows(),     sse_rows(),    avx_rows()};
  for (unsigned c = 0; c < kChapterCount; ++c) {
    by_mnemonic_[c].resize(ZYDIS_MNEMONIC_MAX_VALUE + 1, nullptr);
    for (const Row& row : chapters[c]) by_mnemonic_[c][row.mnemonic] = &row;
  }
}

FoundRow RowTable::find(const DecodedInsn& decoded) const {
  for (const Chapter chapter : order(decoded)) {
    const Row* row = by_mnemonic_[static_cast<unsigned>(chapter)][decoded.insn.mnemonic];
    if (row != nullptr) return {row, chapter};
  }
  return {};
}

}  // namespace panda::x86
