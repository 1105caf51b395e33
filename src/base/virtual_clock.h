// Guest time as a function of the instruction count: now = count * ns_per_insn + offset, in whole
// nanoseconds. The offset moves only by adjustments that cross the line (idle skips, the pull
// towards the host's clock) and are logged. ns_per_insn is 2^shift (QEMU's -icount shift=N).
#pragma once

#include <cstdint>

#include "base/types.h"

namespace panda {

class VirtualClock {
 public:
  explicit VirtualClock(unsigned shift = 0) : shift_(shift) {}

  [[nodiscard]] VirtualNs now(InsnCount count) const { return VirtualNs((count.value << shift_) + offset_); }
  // The first count at which now() >= when.
  [[nodiscard]] InsnCount count_at(VirtualNs when) const {
    if (when.value <= offset_) return InsnCount(0);
    return InsnCount((when.value - offset_ + (uint64_t{1} << shift_) - 1) >> shift_);
  }
  [[nodiscard]] unsigned shift() const { return shift_; }
  void set_shift(unsigned shift) { shift_ = shift; }
  [[nodiscard]] uint64_t offset_ns() const { return offset_; }
  void set_offset_ns(uint64_t offset) { offset_ = offset; }

 private:
  unsigned shift_;
  uint64_t offset_ = 0;  // modulo 2^64: may go back below count << shift
};

inline constexpr uint64_t kTscHz = 1'000'000'000;  // the guest TSC ticks once per virtual nanosecond

}  // namespace panda
