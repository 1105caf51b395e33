// The translations that exist: found by physical address and mode, by page for self-modifying code,
// and by virtual pc in the jump cache. Physical keys let translations survive address-space
// switches. A dropped unit stays in memory until bury(), since it may be the one that is running.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "exec/backend.h"
#include "exec/instrumenter.h"
#include "exec/translation_unit.h"
#include "memory/guest_memory.h"

namespace panda::exec {

class UnitCache {
 public:
  UnitCache(Backend& backend, GuestMemory& memory, VcpuContext& cpu);

  void set_instrumenter(Instrumenter* instrumenter) { instrumenter_ = instrumenter; }

  [[nodiscard]] TranslationUnit* find(const UnitKey& key, uint64_t phys, uint32_t variant) const;
  TranslationUnit& insert(std::unique_ptr<TranslationUnit> unit);
  void link(TranslationUnit& from, uint32_t exit, TranslationUnit& to);
  // In the jump cache. global: forget_local_jumps() may keep it.
  void remember_jump(TranslationUnit& unit, bool global);
  [[nodiscard]] TranslationUnit* find_jump(uint64_t pc, uint32_t context) const {
    const JumpCacheEntry& e = jump_cache_[jump_cache_index(pc)];
    return e.pc == pc && e.context == context ? static_cast<TranslationUnit*>(e.unit) : nullptr;
  }

  [[nodiscard]] bool overlaps(uint64_t phys, uint64_t size) const;
  unsigned invalidate(uint64_t phys, uint64_t size);  // how many units went
  void forget_jumps();                                // virtual mappings changed
  void forget_local_jumps();                          // those of global pages did not
  void bury();                                        // nothing runs: free what was dropped
  void clear();                                       // nothing runs: everything goes, the back end's code too

  // A small number for (pc_base, flags): what Unit::context_id tags the jump cache with.
  uint32_t context_id(const UnitKey& key);

 private:
  struct Page {
    std::vector<TranslationUnit*> units;
    uint64_t covered = 0;  // one bit per 64 bytes that some unit overlaps; may say too much
  };

  [[nodiscard]] size_t bucket_of(const UnitKey& key, uint64_t phys, uint32_t variant) const;
  void grow();
  void drop(TranslationUnit& unit);
  void clear_jumps(std::vector<uint32_t>& list, uint8_t kind);
  void add_to_page(uint64_t page, TranslationUnit& unit);
  void remove_from_page(uint64_t page, TranslationUnit& unit);

  Backend& backend_;
  GuestMemory& memory_;
  VcpuContext& cpu_;
  Instrumenter* instrumenter_ = nullptr;
  std::vector<TranslationUnit*> buckets_;  // chained through TranslationUnit::next_in_bucket
  std::vector<std::unique_ptr<TranslationUnit>> units_;
  std::vector<std::unique_ptr<TranslationUnit>> graveyard_;
  std::unordered_map<uint64_t, Page> pages_;  // by physical page
  std::vector<JumpCacheEntry> jump_cache_;
  // Entries in use, those of global pages by themselves; one that has been both is in both.
  std::vector<uint32_t> local_jumps_;
  std::vector<uint32_t> global_jumps_;
  std::vector<uint8_t> listed_;  // by entry: kLocal, kGlobal
  struct Context {
    uint64_t pc_base = 0, flags = 0;
    uint32_t id = 0;
  };
  static constexpr size_t kRecentContexts = 16;
  std::array<Context, kRecentContexts> recent_contexts_{};  // a front to contexts_
  std::map<std::pair<uint64_t, uint64_t>, uint32_t> contexts_;  // (pc_base, flags)
};

// The bytes of `unit` on physical page `page`: [begin, end) as physical addresses.
struct PhysRange {
  uint64_t begin, end;
};
[[nodiscard]] PhysRange range_on_page(const TranslationUnit& unit, uint64_t page);

}  // namespace panda::exec
