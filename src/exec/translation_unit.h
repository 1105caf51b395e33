// A translation and what the engine knows of it.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/ir.h"

namespace panda::exec {

// What a translation depends on besides the bytes: where they are and the CPU mode. The front end
// derives it from the guest state (Frontend::current_key).
struct UnitKey {
  uint64_t pc = 0;       // linear address of the first instruction (fetch address)
  uint64_t pc_base = 0;  // linear address minus the pc register (x86: CS base)
  uint64_t flags = 0;    // the front end's mode bits: everything translation depends on
  friend bool operator==(const UnitKey&, const UnitKey&) = default;
};

// Translations of one place that differ in what they are for.
enum Variant : uint32_t {
  kNormal = 0,
  kExact = 1,        // one instruction alone
  kExactResume = 2,  // the same, for an instruction whose instrumentation has fired already
  kRegion = 3,       // a hot path through several normal units (region_former.h)
  kCapped = 0x100,   // + n: at most n instructions, to stop at an exact count
  kRest = 0x10000,   // + n: the last n instructions of a block that was left in its middle, or the next n of them
};

// What carries on a block that began in another unit.
[[nodiscard]] constexpr bool continues_block(uint32_t variant) { return variant == kExactResume || variant >= kRest; }

struct TranslationUnit {
  UnitKey key;
  uint64_t phys = 0;        // physical address of the first instruction
  uint64_t phys_next = 0;   // physical page of the second page it lies on, or 0
  uint32_t size = 0;        // guest bytes
  uint32_t insn_count = 0;  // guest instructions
  uint32_t variant = 0;     // Variant, or kCapped + the number of instructions it was cut to
  bool exact = false;       // a single instruction, may cross the line
  bool valid = true;        // false: dropped, freed as soon as nothing runs

  const void* code = nullptr;  // the back end's entry
  uint64_t code_size = 0;
  void* backend_data = nullptr;  // the back end's own

  std::vector<ir::GuestInsn> insns;  // pc and refund by index, for exact state on early exits

  struct ExitLink {
    TranslationUnit* to = nullptr;
    bool counted = false;   // linked until it was taken so often:
    int32_t countdown = 0;  // below zero: `to` is hot. Translated code counts in it.
  };
  std::vector<ExitLink> exits;  // by exit number
  struct Incoming {
    TranslationUnit* from;
    uint32_t index;
  };
  std::vector<Incoming> incoming;

  // Of a region: the guest code it is made of, all on one page. Else it is [phys, phys + size).
  struct Part {
    uint64_t phys = 0;
    uint32_t size = 0;
  };
  std::vector<Part> parts;
  TranslationUnit* region = nullptr;  // that runs instead of this unit
  TranslationUnit* base = nullptr;    // of a region: the unit it runs instead of
  bool region_refused = false;        // there is no point in trying (again)

  // the cache's own
  TranslationUnit* next_in_bucket = nullptr;
  size_t index = 0;

  void* plugin_tb = nullptr;  // the plugin API's TranslationBlock for it
};

}  // namespace panda::exec
