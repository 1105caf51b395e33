// The engine's part of a virtual CPU, laid out for translated code. It stands immediately before
// the guest's CPU state in memory; the JIT keeps one host register on the guest state and reaches
// both, these fields by negative displacement. Nothing here is guest architecture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace panda {

class GuestMemory;
class Outside;
class VirtualClock;
class CpuObserver;
class AccessObserver;

inline constexpr unsigned kMmuModes = 4;

// Soft TLB entry. A tag is the page's virtual address where an access may go straight to
// `addend + address`, otherwise it has low bits set and never matches.
struct TlbEntry {
  uint64_t read_tag = ~uint64_t{0};
  uint64_t write_tag = ~uint64_t{0};
  uint64_t addend = 0;     // host address minus guest virtual address
  uint64_t phys_page = 0;  // guest physical address of the page (for the slow path and callbacks)
};
inline constexpr unsigned kTlbEntryBits = 5;
static_assert(sizeof(TlbEntry) == 1u << kTlbEntryBits);
// Tag bits below the page bits.
inline constexpr uint64_t kTlbMmio = 2;  // not RAM (kTlbSlow is set too)
inline constexpr uint64_t kTlbSlow = 1;  // mapped and permitted, but go through the slow path: MMIO, code, watched

// One MMU mode's. Its size is a constant and it lies within VcpuContext, so that translated code needs
// no load to find an entry; what it costs to flush depends on what was filled, not on the size.
inline constexpr unsigned kTlbEntries = 8192;
inline constexpr uint64_t kTlbIndexMask = uint64_t{kTlbEntries - 1} << kTlbEntryBits;  // of an entry's byte offset
struct TlbTable {
  [[nodiscard]] static constexpr uint64_t offset_of(uint64_t address) {
    return (address >> (12 - kTlbEntryBits)) & kTlbIndexMask;
  }
  [[nodiscard]] TlbEntry& at(uint64_t address) { return entries[offset_of(address) >> kTlbEntryBits]; }

  TlbEntry entries[kTlbEntries];
};

// Where a jump out of a page finds its translation, by the pc register's value. The table holds
// translations of the CPU mode that is running alone; the engine exchanges it when the mode changes.
struct JumpCacheEntry {
  uint64_t pc = 0;             // of an empty entry: one that does not belong here
  const void* code = nullptr;  // TranslationUnit::code
};
inline constexpr unsigned kJumpCacheBits = 13;
inline constexpr uint64_t kJumpCacheMask = (uint64_t{1} << kJumpCacheBits) - 1;
[[nodiscard]] constexpr uint64_t jump_cache_index(uint64_t pc) { return (pc ^ (pc >> 4)) & kJumpCacheMask; }
[[nodiscard]] constexpr JumpCacheEntry empty_jump(uint64_t index) { return {uint64_t{index == 0}, nullptr}; }
[[nodiscard]] inline std::vector<JumpCacheEntry> empty_jumps() {
  std::vector<JumpCacheEntry> table(size_t{1} << kJumpCacheBits);
  table[0] = empty_jump(0);
  return table;
}

// Why translated code must be left at once. A helper or slow path sets it; 0 means go on.
enum class ExitRequest : uint32_t {
  None = 0,
  Fault,        // a guest exception is pending in the guest state: deliver it
  Restart,      // run the current instruction again in an exact unit: it crosses the line or changes running code
  Retranslate,  // as Restart; and the unit was made for a state that has changed: it is dropped
  Dispatch,     // back to the engine with the state as the helper left it (pc slot included); the
                // current instruction counts as completed
};

// Linear addresses that the guest's debug registers watch. Pages that have some are accessed through
// the slow path; an access that touches one runs in an exact unit and leaves its bit in watch_hits.
struct Watch {
  uint64_t address = 0;
  uint32_t size = 0;
  uint16_t bit = 0;    // in watch_hits
  bool reads = false;  // else writes alone
  friend bool operator==(const Watch&, const Watch&) = default;
};
inline constexpr unsigned kMaxWatches = 4;

struct alignas(64) VcpuContext {
  TlbTable tlb[kMmuModes];
  // Cold.
  GuestMemory* memory = nullptr;
  Outside* outside = nullptr;
  VirtualClock* clock = nullptr;
  CpuObserver* observer = nullptr;  // may be null
  void* engine = nullptr;           // exec::Engine
  void* frontend = nullptr;         // exec::Frontend
  uint64_t scratch[6] = {};         // [0..1]: 16-byte operands of the slow path; the rest is the back end's own
  uint32_t host_mxcsr = 0x1f80;     // what C++ code runs under
  uint32_t guest_mxcsr = 0x1f80;    // what translated code runs under (exceptions masked); sticky flags come back here
  // Where translated code goes on between two units whose link the guest's mode decides (exit_dispatch):
  // the code to run, or null where the engine must look.
  const void* (*next_code)(void* state) noexcept = nullptr;
  uint16_t host_fpcw = 0x37f;          // the x87 control word that C++ code runs under
  AccessObserver* accesses = nullptr;  // may be null; where it is set, no access may go unreported
  uint64_t device_address = 0;         // virtual, of the device memory access that is being made
  uint32_t watch_count = 0;
  uint32_t watch_hits = 0;
  Watch watches[kMaxWatches];
  // Hot: within a one-byte displacement of the guest state.
  uint64_t count_limit = 0;  // instruction count at which budget reaches 0
  JumpCacheEntry* jump_cache = nullptr;
  uint32_t unused_hot = 0;
  uint32_t exit_request = 0;  // ExitRequest
  int64_t budget = 0;         // guest instructions that may still run before the engine must look
  uint64_t exact = 0;         // 1 while an exact unit runs: crossing the line is allowed

  // The guest state begins where the context ends.
  [[nodiscard]] void* state() { return this + 1; }
  [[nodiscard]] static VcpuContext& of(void* state) { return *(static_cast<VcpuContext*>(state) - 1); }
  [[nodiscard]] static const VcpuContext& of(const void* state) {
    return *(static_cast<const VcpuContext*>(state) - 1);
  }
  // Does any watch touch [address, +size)?
  [[nodiscard]] bool watched(uint64_t address, uint64_t size) const {
    for (unsigned i = 0; i < watch_count; i++) {
      if (watches[i].address < address + size && address < watches[i].address + watches[i].size) return true;
    }
    return false;
  }
  void request(ExitRequest r) { exit_request = static_cast<uint32_t>(r); }
  // Guest instructions completed. Right between units, and inside an exact unit (where the
  // budget has paid for the running instruction, which is not complete).
  [[nodiscard]] uint64_t completed() const { return count_limit - static_cast<uint64_t>(budget) - exact; }
};

}  // namespace panda
