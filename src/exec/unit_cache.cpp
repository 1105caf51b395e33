#include "exec/unit_cache.h"

#include <algorithm>

#include "base/check.h"

namespace panda::exec {
namespace {

constexpr size_t kFirstBuckets = 1 << 14;

uint64_t covered_bits(uint64_t begin, uint64_t end) {
  const auto first = static_cast<unsigned>(begin % kPageSize / 64);
  const auto last = static_cast<unsigned>((end - 1) % kPageSize / 64);
  const uint64_t up_to_last = last == 63 ? ~uint64_t{0} : (uint64_t{1} << (last + 1)) - 1;
  return up_to_last & ~((uint64_t{1} << first) - 1);
}

}  // namespace

namespace {

// The bytes of `unit` on physical page `page`: [begin, end) as physical addresses.
struct PhysRange {
  uint64_t begin, end;
};

PhysRange range_on_page(const TranslationUnit& unit, uint64_t page) {
  const uint64_t size = std::max<uint64_t>(unit.size, 1);
  const uint64_t page_end = (unit.phys & kPageMask) + kPageSize;
  const uint64_t end = unit.phys + size;
  if (page == (unit.phys & kPageMask)) return {unit.phys, std::min(end, page_end)};
  return {unit.phys_next, unit.phys_next + (end - page_end)};
}

// Calls f(begin, end) for each piece of the unit's code on the page; stops and says so where it returns true.
template <typename F>
bool any_piece(const TranslationUnit& unit, uint64_t page, F f) {
  if (unit.parts.empty()) {
    const PhysRange r = range_on_page(unit, page);
    return f(r.begin, r.end);
  }
  return std::ranges::any_of(unit.parts, [&](const auto& part) { return f(part.phys, part.phys + part.size); });
}

bool overlaps_unit(const TranslationUnit& unit, uint64_t page, uint64_t phys, uint64_t size) {
  return any_piece(unit, page, [&](uint64_t begin, uint64_t end) { return begin < phys + size && phys < end; });
}

uint64_t covered_by(const TranslationUnit& unit, uint64_t page) {
  uint64_t bits = 0;
  any_piece(unit, page, [&](uint64_t begin, uint64_t end) {
    bits |= covered_bits(begin, end);
    return false;
  });
  return bits;
}

}  // namespace

UnitCache::UnitCache(Backend& backend, GuestMemory& memory, VcpuContext& cpu)
    : backend_(backend), memory_(memory), cpu_(cpu), buckets_(kFirstBuckets), jumps_(cpu) {}

size_t UnitCache::bucket_of(const UnitKey& key, uint64_t phys, uint32_t variant) const {
  uint64_t h = phys * 0x9e3779b97f4a7c15u ^ key.pc * 0xc2b2ae3d27d4eb4fu ^ key.flags * 0x165667b19e3779f9u ^ variant;
  h ^= h >> 29;
  return static_cast<size_t>(h) & (buckets_.size() - 1);
}

TranslationUnit* UnitCache::find(const UnitKey& key, uint64_t phys, uint32_t variant) const {
  for (TranslationUnit* u = buckets_[bucket_of(key, phys, variant)]; u != nullptr; u = u->next_in_bucket) {
    if (u->phys == phys && u->key == key && u->variant == variant) return u;
  }
  return nullptr;
}

void UnitCache::grow() {
  buckets_.assign(buckets_.size() * 2, nullptr);
  for (auto& u : units_) {
    TranslationUnit*& head = buckets_[bucket_of(u->key, u->phys, u->variant)];
    u->next_in_bucket = head;
    head = u.get();
  }
}

void UnitCache::add_to_page(uint64_t page, TranslationUnit& unit) {
  Page& p = pages_[page];
  p.units.push_back(&unit);
  p.covered |= covered_by(unit, page);
  memory_.mark_code_page(cpu_, page);
}

void UnitCache::remove_from_page(uint64_t page, TranslationUnit& unit) {
  const auto it = pages_.find(page);
  PANDA_CHECK(it != pages_.end());
  std::erase(it->second.units, &unit);
  it->second.covered = 0;
  for (const TranslationUnit* u : it->second.units) it->second.covered |= covered_by(*u, page);
  if (it->second.units.empty()) {
    pages_.erase(it);
    memory_.clear_code_page(page);
  }
}

TranslationUnit& UnitCache::insert(std::unique_ptr<TranslationUnit> unit) {
  if (units_.size() >= buckets_.size()) grow();
  TranslationUnit& u = *unit;
  u.index = units_.size();
  units_.push_back(std::move(unit));
  TranslationUnit*& head = buckets_[bucket_of(u.key, u.phys, u.variant)];
  u.next_in_bucket = head;
  head = &u;
  add_to_page(u.phys & kPageMask, u);
  if (u.phys_next != 0) add_to_page(u.phys_next, u);
  return u;
}

void UnitCache::link(TranslationUnit& from, uint32_t exit, TranslationUnit& to, int32_t countdown) {
  TranslationUnit::ExitLink& link = from.exits[exit];
  PANDA_CHECK(from.valid && to.valid && link.to == nullptr);
  link = {&to, countdown > 0, countdown};
  to.incoming.push_back({&from, exit});
  backend_.link(from, exit, to, link.counted);
}

void UnitCache::link_for_ever(TranslationUnit& from, uint32_t exit) {
  TranslationUnit::ExitLink& link = from.exits[exit];
  backend_.unlink(from, exit);
  link.counted = false;
  backend_.link(from, exit, *link.to, false);
}

void UnitCache::cut(TranslationUnit& unit) {
  for (uint32_t i = 0; i < unit.exits.size(); i++) {
    if (unit.exits[i].to != nullptr) backend_.unlink(unit, i);
  }
}

void UnitCache::mend(TranslationUnit& unit) {
  for (uint32_t i = 0; i < unit.exits.size(); i++) {
    const TranslationUnit::ExitLink& link = unit.exits[i];
    if (link.to != nullptr) backend_.link(unit, i, *link.to, link.counted);
  }
}

void UnitCache::replace_by_region(TranslationUnit& base, TranslationUnit& region) {
  base.region = &region;
  region.base = &base;
  jumps_.forget_unit(base);
  std::vector<TranslationUnit::Incoming> incoming;
  incoming.swap(base.incoming);
  for (const auto& in : incoming) {
    backend_.unlink(*in.from, in.index);
    in.from->exits[in.index].to = nullptr;
    link(*in.from, in.index, region, 0);
  }
}

bool UnitCache::overlaps(uint64_t phys, uint64_t size) const {
  const uint64_t page = phys & kPageMask;
  const auto it = pages_.find(page);
  if (it == pages_.end() || (it->second.covered & covered_bits(phys, phys + size)) == 0) return false;
  return std::ranges::any_of(it->second.units,
                             [&](const TranslationUnit* u) { return overlaps_unit(*u, page, phys, size); });
}

unsigned UnitCache::invalidate(uint64_t phys, uint64_t size) {
  const uint64_t page = phys & kPageMask;
  const auto it = pages_.find(page);
  if (it == pages_.end()) return 0;
  std::vector<TranslationUnit*> hit;
  for (TranslationUnit* u : it->second.units) {
    if (overlaps_unit(*u, page, phys, size)) hit.push_back(u);
  }
  for (TranslationUnit* u : hit) {
    if (u->valid) drop(*u, false);  // a region goes with its base
  }
  return static_cast<unsigned>(hit.size());
}

void UnitCache::drop(TranslationUnit& unit, bool evicted) {
  unit.valid = false;
  if (unit.region != nullptr) drop(*unit.region, evicted);
  if (unit.base != nullptr) {
    unit.base->region = nullptr;
    unit.base = nullptr;
  }
  for (const auto& in : unit.incoming) {
    backend_.unlink(*in.from, in.index);
    in.from->exits[in.index].to = nullptr;
  }
  unit.incoming.clear();
  for (uint32_t i = 0; i < unit.exits.size(); i++) {
    TranslationUnit* to = unit.exits[i].to;
    if (to == nullptr) continue;
    backend_.unlink(unit, i);
    unit.exits[i].to = nullptr;
    std::erase_if(to->incoming, [&](const auto& in) { return in.from == &unit; });
  }
  jumps_.forget_unit(unit);
  TranslationUnit** link = &buckets_[bucket_of(unit.key, unit.phys, unit.variant)];
  while (*link != &unit) link = &(*link)->next_in_bucket;
  *link = unit.next_in_bucket;
  remove_from_page(unit.phys & kPageMask, unit);
  if (unit.phys_next != 0) remove_from_page(unit.phys_next, unit);
  if (instrumenter_ != nullptr) instrumenter_->unit_dropped(unit, evicted);
  const size_t index = unit.index;
  graveyard_.push_back(std::move(units_[index]));
  if (index + 1 != units_.size()) {
    units_[index] = std::move(units_.back());
    units_[index]->index = index;
  }
  units_.pop_back();
}

void UnitCache::release(TranslationUnit& unit) {
  if (unit.code != nullptr) backend_.release(unit);
}

void UnitCache::evict(TranslationUnit& unit) {
  if (unit.valid) drop(unit, true);
  release(unit);
}

void UnitCache::empty_graveyard(const TranslationUnit* but) {
  std::erase_if(graveyard_, [&](const auto& u) {
    if (u.get() == but) return false;
    release(*u);
    return true;
  });
}

size_t UnitCache::host_bytes() const {
  size_t bytes =
      buckets_.capacity() * sizeof(buckets_[0]) + units_.capacity() * sizeof(units_[0]) + jumps_.host_bytes();
  for (const auto& u : units_) {
    bytes += sizeof(TranslationUnit) + u->insns.capacity() * sizeof(u->insns[0]) +
             u->exits.capacity() * sizeof(u->exits[0]) + u->incoming.capacity() * sizeof(u->incoming[0]) +
             u->parts.capacity() * sizeof(u->parts[0]);
  }
  for (const auto& [page, p] : pages_) bytes += sizeof(page) + sizeof(Page) + p.units.capacity() * sizeof(p.units[0]);
  return bytes;
}

void UnitCache::clear() {
  bury();
  if (instrumenter_ != nullptr) {
    for (auto& u : units_) instrumenter_->unit_dropped(*u, false);
  }
  for (auto& u : units_) release(*u);
  units_.clear();
  std::fill(buckets_.begin(), buckets_.end(), nullptr);
  for (const auto& [page, unused] : pages_) memory_.clear_code_page(page);
  pages_.clear();
  jumps_.forget_all();
  backend_.reset();
}

}  // namespace panda::exec
