// Finds what is hot and makes regions of it: one unit for the path that execution takes from there on.
//
// Every unit is first a straight line of code. An exit that leads backwards, or out of a region, is counted while it
// is linked (ExitLink::countdown); when it has been taken often enough, the engine sees it again. From that moment the
// path is followed: the units that run one after the other, each with its exits cut, until it comes back to where it
// began, leaves the page, meets a unit that loops by itself or has a region already, or grows too long. A region is
// that path as one block of IR with ways out in the middle, so that slots stay in registers, flags that are
// overwritten are never made, and accesses share checks across what used to be ends of units.
//
// All of it is the host's affair: which regions exist changes no count and no state of the guest.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/translation_unit.h"

namespace panda::exec {

class UnitCache;

class RegionFormer {
 public:
  explicit RegionFormer(UnitCache& cache) : cache_(cache) {}

  // Exits are counted from `threshold` down; 0: no regions.
  void set_threshold(int32_t threshold) { threshold_ = threshold; }
  // What a new link is to be counted from; 0: it need not be.
  [[nodiscard]] int32_t countdown(const TranslationUnit& from, const TranslationUnit& to) const;

  // --- following a path. The engine says which units run and how each is left.
  [[nodiscard]] bool following() const { return !path_.empty(); }
  void begin(TranslationUnit& head);
  // `path().back()` was left to `next`. False: the path is complete without it.
  [[nodiscard]] bool goes_on(TranslationUnit& next);
  [[nodiscard]] const std::vector<TranslationUnit*>& path() const { return path_; }
  [[nodiscard]] bool closes() const { return closes_; }
  void stop();    // the exits are linked again
  void check() {  // stops where a unit of the path was dropped; before it is freed
    if (!path_.empty()) check_path();
  }
  void refuse(TranslationUnit& head);  // its incoming links are counted no longer
  void drop() { path_.clear(); }       // every unit is gone

 private:
  void check_path();

  static constexpr size_t kMaxUnits = 24;
  static constexpr uint32_t kMaxInsns = 200;

  UnitCache& cache_;
  int32_t threshold_ = 0;
  std::vector<TranslationUnit*> path_;
  uint32_t insns_ = 0;
  bool closes_ = false;
};

}  // namespace panda::exec
