// Translations of one address space, kept while another one is active. A load of the page table base
// drops all translations that are not global, so those of a space that comes back may be used again only
// where the page tables would yield the very same: each translation names the page table entries that it
// was derived from, and they are compared when the space becomes active (GuestMemory::enter_space()).
// Who writes to page tables therefore tells nobody, and a walk that is saved would have changed nothing:
// the accessed and dirty bits that it would set are among what is compared.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "memory/mmu.h"
#include "memory/vcpu_context.h"

namespace panda {

// Page table entries with the values that they had.
class TableWords {
 public:
  static constexpr uint16_t kNone = 0xffff;
  using Path = std::array<uint16_t, Translation::kMaxSteps>;  // of one walk; kNone: shorter

  TableWords() : heads_(kHeads, kNone) {}

  void clear();
  // False: there is no room, or the translation must not be kept.
  bool note(const Translation& t, Path& path);
  [[nodiscard]] bool unchanged() const {
    uint64_t difference = 0;
    for (const Word& w : words_) difference |= (w.load() & w.mask) ^ w.value;
    return difference == 0;
  }
  [[nodiscard]] bool unchanged(const Path& path) const;
  // Takes the path's words over from another table; moved: where each of its words has gone, kNone at first.
  Path adopt(const TableWords& from, const Path& path, std::vector<uint16_t>& moved);
  [[nodiscard]] size_t size() const { return words_.size(); }

 private:
  struct Word {
    const uint8_t* at;  // eight bytes; mask tells which of them are the entry
    uint64_t mask, value;
    [[nodiscard]] uint64_t load() const {
      uint64_t v;
      std::memcpy(&v, at, sizeof v);
      return v;
    }
  };
  static constexpr unsigned kHeadBits = 11;
  static constexpr size_t kHeads = size_t{1} << kHeadBits, kMaxWords = 1400;

  uint16_t note(const Word& word);
  [[nodiscard]] size_t head_of(const Word& word) const;

  std::vector<Word> words_;
  std::vector<uint16_t> heads_;  // open addressing, by address: the latest of those that differ in value
};

// Decides when what is brought back each time has grown beyond what is used each time: the set is then
// dropped and learnt anew.
class Upkeep {
 public:
  explicit Upkeep(uint64_t rounds) : rounds_(rounds) {}
  void clear() { first_ = spent_ = 0; }
  // The set is put away with this size. True: drop it.
  bool worn(uint64_t size) {
    if (first_ == 0) first_ = size < 32 ? 32 : size;
    spent_ += size;
    return spent_ > first_ * rounds_;
  }

 private:
  uint64_t rounds_, first_ = 0, spent_ = 0;
};

struct AddressSpace {
  // What the space is known by: the architecture's page table base and all else that a load of it reads.
  using Key = std::array<uint64_t, 5>;
  struct Page {
    uint32_t slot;  // number of the soft TLB's entry over all modes
    bool kept;
    TableWords::Path path;
  };
  struct Fetched {
    uint64_t phys;
    bool kept;
    TableWords::Path path;
  };
  using FetchMap = std::unordered_map<uint64_t, Fetched>;  // by virtual page

  bool named = false;  // else it can never come back
  Key key{};
  uint64_t id = 0;  // changes when a fetched page's mapping goes
  uint64_t last_entered = 0;

  // pages[i] is about entries[i], which the soft TLB holds too while the space is active.
  std::vector<TlbEntry> entries;
  std::vector<Page> pages;
  TableWords words;
  Upkeep upkeep{128};
  size_t not_kept = 0;

  // Every page fetched from. It evicts nothing, because how often a page is looked up depends on
  // chaining and unit sizes: a walk that one back end made and another did not would set an accessed
  // bit in one of them alone.
  std::array<FetchMap, kMmuModes> fetched;
  TableWords fetch_words;
  Upkeep fetch_upkeep{1024};
  size_t fetched_not_kept = 0;

  void clear_pages();
  bool clear_fetched();  // false: there were none
  // The space is no longer active. False: fetched pages are gone.
  bool put_away();
  // Drops what the page tables no longer say. False: fetched pages are gone.
  bool refresh();

 private:
  template <typename Keep>
  void keep_pages(Keep keep);
  template <typename Keep>
  bool keep_fetched(Keep keep);
};

}  // namespace panda
