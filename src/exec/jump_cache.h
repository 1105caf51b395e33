// Translations by virtual pc, one table per CPU mode (pc base and mode bits), so that a jump looks at
// nothing but its pc. Translated code reads the table of the mode it runs in through
// VcpuContext::jump_cache; select() exchanges it. A handful of modes keep their tables.
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
  explicit JumpCache(VcpuContext& cpu) : cpu_(cpu) { exchange({}); }

  // The units found from now on are those of the key's mode.
  void select(const UnitKey& key) {
    const Mode mode{key.pc_base, key.flags};
    if (modes_[current_index_] != mode) exchange(mode);
  }
  [[nodiscard]] TranslationUnit* find(uint64_t pc) const {
    const uint64_t index = jump_cache_index(pc);
    return current_->entries[index].pc == pc ? current_->units[index] : nullptr;
  }
  // The unit must be of the selected context. global: forget_local() may keep it.
  void remember(TranslationUnit& unit, bool global);
  void forget_unit(const TranslationUnit& unit);
  void forget_all();
  void forget_local();

 private:
  struct Mode {
    uint64_t pc_base = 0, flags = 0;
    friend bool operator==(const Mode&, const Mode&) = default;
  };
  struct Table {
    std::vector<JumpCacheEntry> entries;
    std::vector<TranslationUnit*> units;  // of the entries
    // Entries in use, those of global pages by themselves; one that has been both is in both.
    std::vector<uint32_t> local, global;
    std::vector<uint8_t> listed;  // by entry: kLocal, kGlobal
  };
  static constexpr size_t kTables = 8;

  void exchange(const Mode& mode);
  static void clear(Table& table, std::vector<uint32_t>& list, uint8_t kind);

  VcpuContext& cpu_;
  std::array<Mode, kTables> modes_{};               // of the tables
  std::array<uint64_t, kTables> last_selected_{};
  std::array<std::unique_ptr<Table>, kTables> tables_;
  size_t current_index_ = 0;
  Table* current_ = nullptr;
  uint64_t selections_ = 0;
};

}  // namespace panda::exec
