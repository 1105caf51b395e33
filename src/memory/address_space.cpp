#include "memory/address_space.h"

namespace panda {
namespace {

// More pages than this are dearer to bring back than those used of them are to look up.
constexpr size_t kMaxPages = 1024;

}  // namespace

void TableWords::clear() {
  if (words_.empty()) return;
  words_.clear();
  std::memset(heads_.data(), 0xff, heads_.size() * sizeof heads_[0]);
}

size_t TableWords::head_of(const Word& word) const {
  const uint64_t hash = (reinterpret_cast<uintptr_t>(word.at) >> 3 ^ word.mask >> 63) * 0x9e37'79b9'7f4a'7c15;
  size_t at = hash >> (64 - kHeadBits);
  while (heads_[at] != kNone && (words_[heads_[at]].at != word.at || words_[heads_[at]].mask != word.mask)) {
    at = (at + 1) % kHeads;
  }
  return at;
}

// An entry that changes is noted anew: its old value stays for those that were derived from it.
uint16_t TableWords::note(const Word& word) {
  const size_t head = head_of(word);
  if (heads_[head] != kNone && words_[heads_[head]].value == word.value) return heads_[head];
  if (words_.size() >= kMaxWords) return kNone;
  heads_[head] = static_cast<uint16_t>(words_.size());
  words_.push_back(word);
  return heads_[head];
}

bool TableWords::note(const Translation& t, Path& path) {
  path.fill(kNone);
  if (!t.may_be_kept) return false;
  for (unsigned i = 0; i < t.step_count; i++) {
    const auto address = reinterpret_cast<uintptr_t>(t.steps[i].host);
    Word word{t.steps[i].host, ~uint64_t{0}, t.steps[i].value};
    if (t.step_bytes == 4) {
      const unsigned shift = address % 8 * 8;
      word = {t.steps[i].host - address % 8, uint64_t{0xffff'ffff} << shift, t.steps[i].value << shift};
    }
    path[i] = note(word);
    if (path[i] == kNone) return false;
  }
  return true;
}

bool TableWords::unchanged(const Path& path) const {
  for (const uint16_t i : path) {
    if (i == kNone) break;
    if ((words_[i].load() & words_[i].mask) != words_[i].value) return false;
  }
  return true;
}

TableWords::Path TableWords::adopt(const TableWords& from, const Path& path, std::vector<uint16_t>& moved) {
  Path own;
  own.fill(kNone);
  for (size_t i = 0; i < path.size() && path[i] != kNone; i++) {
    uint16_t& to = moved[path[i]];
    if (to == kNone) {
      const Word& word = from.words_[path[i]];
      const size_t head = head_of(word);
      to = static_cast<uint16_t>(words_.size());
      words_.push_back(word);
      heads_[head] = to;
    }
    own[i] = to;
  }
  return own;
}

void AddressSpace::clear_pages() {
  entries.clear();
  pages.clear();
  words.clear();
  upkeep.clear();
  not_kept = 0;
}

bool AddressSpace::clear_fetched() {
  bool any = false;
  for (FetchMap& map : fetched) {
    if (map.empty()) continue;
    map.clear();
    any = true;
  }
  fetch_words.clear();
  fetch_upkeep.clear();
  fetched_not_kept = 0;
  return any;
}

template <typename Keep>
void AddressSpace::keep_pages(Keep keep) {
  TableWords kept_words;
  std::vector<uint16_t> moved(words.size(), TableWords::kNone);
  size_t kept = 0;
  for (size_t i = 0; i < pages.size(); i++) {
    if (!keep(pages[i])) continue;
    entries[kept] = entries[i];
    pages[kept] = {pages[i].slot, true, kept_words.adopt(words, pages[i].path, moved)};
    kept++;
  }
  entries.resize(kept);
  pages.resize(kept);
  words = std::move(kept_words);
  not_kept = 0;
}

template <typename Keep>
bool AddressSpace::keep_fetched(Keep keep) {
  TableWords kept_words;
  std::vector<uint16_t> moved(fetch_words.size(), TableWords::kNone);
  bool all = true;
  for (FetchMap& map : fetched) {
    for (auto it = map.begin(); it != map.end();) {
      if (keep(it->second)) {
        it->second.path = kept_words.adopt(fetch_words, it->second.path, moved);
        ++it;
      } else {
        it = map.erase(it);
        all = false;
      }
    }
  }
  fetch_words = std::move(kept_words);
  fetched_not_kept = 0;
  return all;
}

bool AddressSpace::put_away() {
  if (pages.size() > kMaxPages || upkeep.worn(pages.size() + words.size()))
    clear_pages();
  else if (not_kept != 0)
    keep_pages([](const Page& p) { return p.kept; });
  if (fetch_upkeep.worn(fetch_words.size())) return !clear_fetched();
  return fetched_not_kept == 0 || keep_fetched([](const Fetched& f) { return f.kept; });
}

bool AddressSpace::refresh() {
  if (!words.unchanged()) keep_pages([this](const Page& p) { return words.unchanged(p.path); });
  if (fetch_words.unchanged()) return true;
  return keep_fetched([this](const Fetched& f) { return fetch_words.unchanged(f.path); });
}

}  // namespace panda
