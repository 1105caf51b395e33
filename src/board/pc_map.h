// Where things are on the PC board: what the wiring, the ACPI tables and the e820 map must agree on.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/guest_memory.h"

namespace panda::board {

inline constexpr uint64_t kMinRamBytes = uint64_t{64} << 20;
inline constexpr uint64_t kMaxRamBytes = uint64_t{512} << 30;  // half of what 40 physical address bits reach
inline constexpr uint64_t kLowRamEnd = 0xc000'0000;            // RAM stops here at the latest; devices above
inline constexpr uint64_t kHighRamBase = 0x1'0000'0000;
inline constexpr uint64_t kBaseMemoryEnd = 0x9fc00;  // where a BIOS would keep its data
inline constexpr uint64_t kBiosAreaBase = 0xe0000;   // ACPI tables
inline constexpr uint64_t kExtendedMemoryBase = 0x100000;

inline constexpr uint32_t kLocalApicBase = 0xfee0'0000;
inline constexpr uint32_t kIoApicBase = 0xfec0'0000;
inline constexpr uint16_t kCom1Base = 0x3f8, kCom2Base = 0x2f8, kPmBase = 0x600;
inline constexpr unsigned kTimerIrq = 0, kCom2Irq = 3, kCom1Irq = 4, kRtcIrq = 8, kSciIrq = 9;
inline constexpr unsigned kTimerGsi = 2;  // IRQ 0 arrives at the I/O APIC's pin 2, all others at their number
inline constexpr uint8_t kIoApicId = 1;

// RAM from 0 up to 3 GiB, the rest from 4 GiB on. `ram_bytes` is a multiple of the page size.
[[nodiscard]] std::vector<RamRange> pc_ram_layout(uint64_t ram_bytes);

struct E820Entry {
  uint64_t base = 0;
  uint64_t size_bytes = 0;
  uint32_t type = 0;  // 1 usable, 2 reserved
};
[[nodiscard]] std::vector<E820Entry> pc_e820(uint64_t ram_bytes);

}  // namespace panda::board
