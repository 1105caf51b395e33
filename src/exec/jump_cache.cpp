#include "exec/jump_cache.h"

namespace panda::exec {
namespace {

constexpr size_t kEntries = size_t{1} << kJumpCacheBits;

}  // namespace

void JumpCache::exchange(uint64_t pc_base, uint64_t flags) {
  size_t at = successor_[current_index_];
  if (!fits(at, pc_base, flags)) {
    at = 0;
    while (at < kTables && !fits(at, pc_base, flags)) at++;
    if (at == kTables) at = take_over(pc_base, flags);
    successor_[current_index_] = at;
  }
  last_selected_[at] = ++selections_;
  current_index_ = at;
  current_ = tables_[at].get();
  cpu_.jump_cache = current_->entries.data();
}

// The table that was not selected for the longest time, emptied.
size_t JumpCache::take_over(uint64_t pc_base, uint64_t flags) {
  size_t oldest = 0;
  bool shared = true;  // no other address space has one of this mode for itself
  for (size_t i = 0; i < kTables; i++) {
    if (last_selected_[i] < last_selected_[oldest]) oldest = i;
  }
  for (size_t i = 0; i < kTables; i++) {
    if (i != oldest && places_[i].of_mode(pc_base, flags)) shared = false;
  }
  if (tables_[oldest] == nullptr) {
    tables_[oldest] = std::make_unique<Table>();
    Table& fresh = *tables_[oldest];
    fresh.entries = empty_jumps();
    fresh.units.resize(kEntries);
    fresh.listed.resize(kEntries);
  }
  clear(*tables_[oldest]);
  places_[oldest] = {true, pc_base, flags, shared ? kShared : space_};
  return oldest;
}

void JumpCache::remember(TranslationUnit& unit, bool global) {
  const uint64_t pc = unit.key.pc - unit.key.pc_base;
  const uint64_t index = jump_cache_index(pc);
  Table& t = *current_;
  if (!global) places_[current_index_].space = space_;
  if (t.listed[index] == 0) {
    t.listed[index] = 1;
    t.filled.push_back(static_cast<uint32_t>(index));
  }
  t.entries[index] = {pc, unit.code};
  t.units[index] = &unit;
}

// The entry stays listed as used: an empty one is cleared again without harm.
void JumpCache::forget_unit(const TranslationUnit& unit) {
  const uint64_t index = jump_cache_index(unit.key.pc - unit.key.pc_base);
  for (size_t i = 0; i < kTables; i++) {
    if (!places_[i].of_mode(unit.key.pc_base, unit.key.flags)) continue;
    Table& t = *tables_[i];
    if (t.units[index] != &unit) continue;
    t.entries[index] = empty_jump(index);
    t.units[index] = nullptr;
  }
}

void JumpCache::clear(Table& table) {
  for (const uint32_t index : table.filled) {
    table.entries[index] = empty_jump(index);
    table.units[index] = nullptr;
    table.listed[index] = 0;
  }
  table.filled.clear();
}

size_t JumpCache::host_bytes() const {
  size_t bytes = 0;
  for (const auto& t : tables_) {
    if (t == nullptr) continue;
    bytes += t->entries.capacity() * sizeof(t->entries[0]) + t->units.capacity() * sizeof(t->units[0]) +
             t->filled.capacity() * sizeof(t->filled[0]) + t->listed.capacity();
  }
  return bytes;
}

void JumpCache::forget_all() {
  for (size_t i = 0; i < kTables; i++) {
    if (!places_[i].used) continue;
    clear(*tables_[i]);
    places_[i].space = kShared;
    if (i == current_index_) continue;
    places_[i].used = false;
    last_selected_[i] = 0;
  }
}

}  // namespace panda::exec
