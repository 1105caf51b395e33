#include "exec/region_former.h"

#include <algorithm>

#include "base/types.h"
#include "exec/unit_cache.h"

namespace panda::exec {
namespace {

bool loops(const TranslationUnit& unit) {
  return std::ranges::any_of(unit.exits, [&](const auto& exit) { return exit.to == &unit; });
}

// May it begin a region, or be a part of one?
bool is_plain(const TranslationUnit& unit) {
  return unit.variant == kNormal && !unit.exact && unit.valid && unit.phys_next == 0 && unit.region == nullptr &&
         unit.insn_count != 0;
}

}  // namespace

int32_t RegionFormer::countdown(const TranslationUnit& from, const TranslationUnit& to) const {
  if (threshold_ == 0 || &from == &to || !is_plain(to) || to.region_refused || from.insns.empty()) return 0;
  if (from.variant == kRegion) return threshold_;
  return from.variant == kNormal && to.key.pc - to.key.pc_base <= from.insns.back().pc ? threshold_ : 0;
}

void RegionFormer::begin(TranslationUnit& head) {
  stop();
  if (!is_plain(head) || head.region_refused || loops(head)) return refuse(head);
  path_.push_back(&head);
  insns_ = head.insn_count;
  closes_ = false;
  cache_.cut(head);
}

bool RegionFormer::goes_on(TranslationUnit& next) {
  if (&next == path_.front()) {
    closes_ = true;
    return false;
  }
  if (!is_plain(next) || loops(next) || path_.size() >= kMaxUnits || insns_ + next.insn_count > kMaxInsns) return false;
  if (((next.key.pc ^ path_.front()->key.pc) & kPageMask) != 0 || std::ranges::count(path_, &next) != 0) return false;
  cache_.mend(*path_.back());
  path_.push_back(&next);
  insns_ += next.insn_count;
  cache_.cut(next);
  return true;
}

void RegionFormer::check_path() {
  if (!std::ranges::all_of(path_, [](const TranslationUnit* unit) { return unit->valid; })) stop();
}

void RegionFormer::stop() {
  if (path_.empty()) return;
  if (path_.back()->valid) cache_.mend(*path_.back());
  for (const auto& in : path_.front()->incoming) in.from->exits[in.index].countdown = threshold_;
  path_.clear();
}

void RegionFormer::refuse(TranslationUnit& head) {
  head.region_refused = true;
  for (const auto& in : head.incoming) {
    if (in.from->exits[in.index].counted) cache_.link_for_ever(*in.from, in.index);
  }
}

}  // namespace panda::exec
