// The translations that exist: found by physical address and mode, by page for self-modifying code,
// and by virtual pc in the jump cache. Physical keys let translations survive address-space
// switches. A dropped unit stays in memory until bury(), since it may be the one that is running.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "exec/backend.h"
#include "exec/instrumenter.h"
#include "exec/jump_cache.h"
#include "exec/translation_unit.h"
#include "memory/guest_memory.h"

namespace panda::exec {

class UnitCache {
 public:
  UnitCache(Backend& backend, GuestMemory& memory, VcpuContext& cpu);

  void set_instrumenter(Instrumenter* instrumenter) { instrumenter_ = instrumenter; }

  [[nodiscard]] TranslationUnit* find(const UnitKey& key, uint64_t phys, uint32_t variant) const;
  TranslationUnit& insert(std::unique_ptr<TranslationUnit> unit);
  // countdown: how often the exit is taken until it counts as hot (ExitLink); 0: it is not counted.
  void link(TranslationUnit& from, uint32_t exit, TranslationUnit& to, int32_t countdown);
  void link_for_ever(TranslationUnit& from, uint32_t exit);  // a linked exit is counted no longer
  // All exits lead to the engine; and as they are linked again.
  void cut(TranslationUnit& unit);
  void mend(TranslationUnit& unit);
  void replace_by_region(TranslationUnit& base, TranslationUnit& region);  // wherever base was gone to
  [[nodiscard]] JumpCache& jumps() { return jumps_; }

  [[nodiscard]] bool overlaps(uint64_t phys, uint64_t size) const;
  unsigned invalidate(uint64_t phys, uint64_t size);  // how many units went
  // Nothing runs: the unit's code is released, whether it was dropped before or not. Its other memory stays
  // until bury().
  void evict(TranslationUnit& unit);
  // Nothing runs: frees what was dropped, but for `but`.
  void bury(const TranslationUnit* but = nullptr) {
    if (!graveyard_.empty()) empty_graveyard(but);
  }
  void clear();  // nothing runs: everything goes, the back end's code too

  [[nodiscard]] size_t units() const { return units_.size(); }
  // Of ours, for what is there: the units, their lists and the tables they are found by.
  [[nodiscard]] size_t host_bytes() const;

 private:
  struct Page {
    std::vector<TranslationUnit*> units;
    uint64_t covered = 0;  // one bit per 64 bytes that some unit overlaps; may say too much
  };

  [[nodiscard]] size_t bucket_of(const UnitKey& key, uint64_t phys, uint32_t variant) const;
  void grow();
  void drop(TranslationUnit& unit, bool evicted);
  void empty_graveyard(const TranslationUnit* but);
  void release(TranslationUnit& unit);
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
  JumpCache jumps_;
};

}  // namespace panda::exec
