// The I/O bus: which device answers at which port or MMIO address. What nobody answers reads as
// all ones and swallows writes. A port access that is wider than the device's bus interface, or
// that leaves its range, is split into bytes from the lowest port up, as an ISA bridge does; an
// MMIO access goes to the device that holds its first byte, whole.
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"

namespace panda::device {

[[nodiscard]] constexpr uint64_t all_ones(unsigned size_bytes) {
  return size_bytes >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * size_bytes)) - 1;
}

class PortDevice {
 public:
  virtual ~PortDevice() = default;
  // port: absolute; size_bytes: 1, or up to the width given to IoBus::add_ports.
  virtual uint32_t port_read(uint16_t port, unsigned size_bytes) = 0;
  virtual void port_write(uint16_t port, unsigned size_bytes, uint32_t value) = 0;
};

class MmioDevice {
 public:
  virtual ~MmioDevice() = default;
  // offset: from the start of the range; size_bytes: 1, 2, 4 or 8.
  virtual uint64_t mmio_read(uint64_t offset, unsigned size_bytes) = 0;
  virtual void mmio_write(uint64_t offset, unsigned size_bytes, uint64_t value) = 0;
};

class IoBus {
 public:
  IoBus();

  // Devices outlive the bus's use. Ranges must not overlap.
  void add_ports(uint16_t first, unsigned count, PortDevice& device, unsigned width_bytes = 1);
  void add_mmio(GuestPhysAddr first, uint64_t size_bytes, MmioDevice& device);

  [[nodiscard]] uint32_t port_read(uint16_t port, unsigned size_bytes);
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value);
  [[nodiscard]] uint64_t mmio_read(GuestPhysAddr address, unsigned size_bytes);
  void mmio_write(GuestPhysAddr address, unsigned size_bytes, uint64_t value);
  [[nodiscard]] bool has_mmio(GuestPhysAddr address) const { return find(address.value) != nullptr; }

 private:
  struct PortRange {
    PortDevice* device;
    unsigned width_bytes;
  };
  struct MmioRange {
    uint64_t first;
    uint64_t size_bytes;
    MmioDevice* device;
  };
  // The range that serves the whole access at once, or nullptr.
  [[nodiscard]] const PortRange* whole(uint16_t port, unsigned size_bytes) const;
  [[nodiscard]] const MmioRange* find(uint64_t address) const;

  std::vector<PortRange> port_ranges_;
  std::vector<uint8_t> port_map_;  // by port: index into port_ranges_ plus one
  std::vector<MmioRange> mmio_ranges_;
};

}  // namespace panda::device
