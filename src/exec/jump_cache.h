// Translations by virtual pc, one table per CPU mode (pc base and mode bits) and address space, so that a
// jump looks at nothing but its pc. Translated code reads the table of where it runs through
// VcpuContext::jump_cache; select() and enter_space() exchange it. Some two dozen tables are kept. All
// address spaces share a mode's table as long as it holds global pages' translations alone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "exec/translation_unit.h"
#include "memory/vcpu_context.h"

namespace panda::exec {

class JumpCache {
 public:
  explicit JumpCache(VcpuContext& cpu) : cpu_(cpu) { exchange(0, 0); }

  // The units found from now on are those of the key's mode.
  void select(const UnitKey& key) {
    const Place& now = places_[current_index_];
    if (now.pc_base != key.pc_base || now.flags != key.flags) exchange(key.pc_base, key.flags);
  }
  // ... and of this address space (GuestMemory's id of it).
  void enter_space(uint64_t id) {
    if (space_ == id) return;
    space_ = id;
    const Place& now = places_[current_index_];
    if (now.space != kShared) exchange(now.pc_base, now.flags);
  }
  [[nodiscard]] TranslationUnit* find(uint64_t pc) const {
    const uint64_t index = jump_cache_index(pc);
    return current_->entries[index].pc == pc ? current_->units[index] : nullptr;
  }
  // The unit must be of the selected mode. global: it is found there in every address space.
  void remember(TranslationUnit& unit, bool global);
  void forget_unit(const TranslationUnit& unit);
  void forget_all();
  [[nodiscard]] size_t host_bytes() const;

 private:
  static constexpr uint64_t kShared = ~uint64_t{0};
  struct Place {
    bool used = false;
    uint64_t pc_base = 0, flags = 0;
    uint64_t space = kShared;
    [[nodiscard]] bool of_mode(uint64_t base, uint64_t mode_flags) const {
      return used && pc_base == base && flags == mode_flags;
    }
  };
  struct Table {
    std::vector<JumpCacheEntry> entries;
    std::vector<TranslationUnit*> units;  // of the entries
    std::vector<uint32_t> filled;
    std::vector<uint8_t> listed;  // by entry: in filled
  };
  static constexpr size_t kTables = 24;

  void exchange(uint64_t pc_base, uint64_t flags);
  [[nodiscard]] bool fits(size_t table, uint64_t pc_base, uint64_t flags) const {
    const Place& p = places_[table];
    return p.of_mode(pc_base, flags) && (p.space == kShared || p.space == space_);
  }
  [[nodiscard]] size_t take_over(uint64_t pc_base, uint64_t flags);
  static void clear(Table& table);

  VcpuContext& cpu_;
  std::array<Place, kTables> places_{};  // of the tables
  std::array<uint64_t, kTables> last_selected_{};
  std::array<size_t, kTables> successor_{};  // which table was selected after it the last time
  std::array<std::unique_ptr<Table>, kTables> tables_;
  size_t current_index_ = 0;
  Table* current_ = nullptr;
  uint64_t selections_ = 0;
  uint64_t space_ = 0;
};

}  // namespace panda::exec
