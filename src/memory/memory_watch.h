// Sees what C++ code is about to change in RAM and in the soft TLBs, so that a checker can undo a
// unit and run it again. While a watch is set, a store of translated code takes the slow path (and
// so is seen here) unless the watch itself cleared kTlbSlow in the entry's write tag. On the guest's
// thread. See backend/check.
#pragma once

#include <cstdint>

namespace panda {

class MemoryWatch {
 public:
  virtual ~MemoryWatch() = default;
  // [host, host + size), inside one page of RAM. address and mode: what the guest stored to; kNoMode
  // where it is no store through a soft TLB (page walks, DMA).
  static constexpr unsigned kNoMode = ~0u;
  virtual void before_write(uint8_t* host, uint64_t size, uint64_t address, unsigned mode) noexcept = 0;
  // The entry of `address` in the TLB of `mode`.
  virtual void before_fill(uint64_t address, unsigned mode) noexcept = 0;
  // Many entries go.
  virtual void before_flush() noexcept = 0;
};

}  // namespace panda
