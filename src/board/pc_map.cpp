#include "board/pc_map.h"

#include <algorithm>

namespace panda::board {

std::vector<RamRange> pc_ram_layout(uint64_t ram_bytes) {
  const uint64_t low = std::min(ram_bytes, kLowRamEnd);
  std::vector<RamRange> ranges{{.phys = 0, .size = low, .offset = 0}};
  if (ram_bytes > low) ranges.push_back({.phys = kHighRamBase, .size = ram_bytes - low, .offset = low});
  return ranges;
}

std::vector<E820Entry> pc_e820(uint64_t ram_bytes) {
  constexpr uint32_t kUsable = 1, kReserved = 2;
  const uint64_t low = std::min(ram_bytes, kLowRamEnd);
  std::vector<E820Entry> map{
      {0, kBaseMemoryEnd, kUsable},
      {kBaseMemoryEnd, 0xa0000 - kBaseMemoryEnd, kReserved},
      {kBiosAreaBase, kExtendedMemoryBase - kBiosAreaBase, kReserved},
  };
  if (low > kExtendedMemoryBase) map.push_back({kExtendedMemoryBase, low - kExtendedMemoryBase, kUsable});
  if (ram_bytes > low) map.push_back({kHighRamBase, ram_bytes - low, kUsable});
  return map;
}

}  // namespace panda::board
