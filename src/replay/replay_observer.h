// What a replay lets come in, for who wants to see it come. On the guest's thread.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "memory/serial_traffic.h"

namespace panda::replay {

class ReplayObserver {
 public:
  virtual ~ReplayObserver() = default;
  // A device writes RAM: before and after.
  virtual void before_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) = 0;
  virtual void after_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) = 0;
  virtual void serial_traffic(const SerialTraffic& traffic) = 0;
};

}  // namespace panda::replay
