#include "exec/jump_cache.h"

namespace panda::exec {
namespace {

constexpr uint8_t kLocal = 1, kGlobal = 2;
constexpr size_t kEntries = size_t{1} << kJumpCacheBits;

}  // namespace

void JumpCache::exchange(const Mode& mode) {
  size_t at = 0, oldest = 0;
  while (at < kTables && (tables_[at] == nullptr || modes_[at] != mode)) at++;
  if (at == kTables) {
    for (size_t i = 0; i < kTables; i++) {
      if (last_selected_[i] < last_selected_[oldest]) oldest = i;
    }
    at = oldest;
    modes_[at] = mode;
    if (tables_[at] == nullptr) {
      tables_[at] = std::make_unique<Table>();
      Table& fresh = *tables_[at];
      fresh.entries = empty_jumps();
      fresh.units.resize(kEntries);
      fresh.listed.resize(kEntries);
    }
    clear(*tables_[at], tables_[at]->local, kLocal);
    clear(*tables_[at], tables_[at]->global, kGlobal);
  }
  last_selected_[at] = ++selections_;
  current_index_ = at;
  current_ = tables_[at].get();
  cpu_.jump_cache = current_->entries.data();
}

void JumpCache::remember(TranslationUnit& unit, bool global) {
  const uint64_t pc = unit.key.pc - unit.key.pc_base;
  const uint64_t index = jump_cache_index(pc);
  const uint8_t kind = global ? kGlobal : kLocal;
  Table& t = *current_;
  if ((t.listed[index] & kind) == 0) {
    t.listed[index] = static_cast<uint8_t>(t.listed[index] | kind);
    (global ? t.global : t.local).push_back(static_cast<uint32_t>(index));
  }
  t.entries[index] = {pc, unit.code};
  t.units[index] = &unit;
}

// The entry stays listed as used: an empty one is cleared again without harm.
void JumpCache::forget_unit(const TranslationUnit& unit) {
  const uint64_t index = jump_cache_index(unit.key.pc - unit.key.pc_base);
  for (auto& t : tables_) {
    if (t == nullptr || t->units[index] != &unit) continue;
    t->entries[index] = empty_jump(index);
    t->units[index] = nullptr;
  }
}

void JumpCache::clear(Table& table, std::vector<uint32_t>& list, uint8_t kind) {
  for (const uint32_t index : list) {
    table.entries[index] = empty_jump(index);
    table.units[index] = nullptr;
    table.listed[index] = static_cast<uint8_t>(table.listed[index] & ~kind);
  }
  list.clear();
}

void JumpCache::forget_local() {
  for (auto& t : tables_) {
    if (t != nullptr) clear(*t, t->local, kLocal);
  }
}

void JumpCache::forget_all() {
  forget_local();
  for (auto& t : tables_) {
    if (t != nullptr) clear(*t, t->global, kGlobal);
  }
}

}  // namespace panda::exec
