#include "device/bus.h"

#include "base/check.h"

namespace panda::device {

IoBus::IoBus() : port_map_(0x10000, 0) {}

void IoBus::add_ports(uint16_t first, unsigned count, PortDevice& device, unsigned width_bytes) {
  PANDA_CHECK(first + count <= 0x10000 && port_ranges_.size() < 255);
  port_ranges_.push_back({&device, width_bytes});
  for (unsigned i = 0; i < count; ++i) {
    PANDA_CHECK(port_map_[first + i] == 0);
    port_map_[first + i] = static_cast<uint8_t>(port_ranges_.size());
  }
}

void IoBus::add_mmio(GuestPhysAddr first, uint64_t size_bytes, MmioDevice& device) {
  mmio_ranges_.push_back({first.value, size_bytes, &device});
}

const IoBus::PortRange* IoBus::whole(uint16_t port, unsigned size_bytes) const {
  if (port + size_bytes > 0x10000) return nullptr;
  const uint8_t index = port_map_[port];
  if (index == 0 || size_bytes > port_ranges_[index - 1u].width_bytes) return nullptr;
  for (unsigned i = 1; i < size_bytes; ++i)
    if (port_map_[port + i] != index) return nullptr;
  return &port_ranges_[index - 1u];
}

uint32_t IoBus::port_read(uint16_t port, unsigned size_bytes) {
  if (const PortRange* range = whole(port, size_bytes))
    return range->device->port_read(port, size_bytes) & static_cast<uint32_t>(all_ones(size_bytes));
  if (size_bytes == 1) return 0xff;
  uint32_t value = 0;
  for (unsigned i = 0; i < size_bytes; ++i)
    value |= (port + i > 0xffff ? 0xffu : port_read(static_cast<uint16_t>(port + i), 1)) << (8 * i);
  return value;
}

void IoBus::port_write(uint16_t port, unsigned size_bytes, uint32_t value) {
  if (const PortRange* range = whole(port, size_bytes))
    return range->device->port_write(port, size_bytes, value & static_cast<uint32_t>(all_ones(size_bytes)));
  if (size_bytes == 1) return;
  for (unsigned i = 0; i < size_bytes && port + i <= 0xffff; ++i)
    port_write(static_cast<uint16_t>(port + i), 1, (value >> (8 * i)) & 0xff);
}

const IoBus::MmioRange* IoBus::find(uint64_t address) const {
  for (const MmioRange& r : mmio_ranges_)
    if (address - r.first < r.size_bytes) return &r;
  return nullptr;
}

uint64_t IoBus::mmio_read(GuestPhysAddr address, unsigned size_bytes) {
  const MmioRange* r = find(address.value);
  if (r == nullptr) return all_ones(size_bytes);
  return r->device->mmio_read(address.value - r->first, size_bytes) & all_ones(size_bytes);
}

void IoBus::mmio_write(GuestPhysAddr address, unsigned size_bytes, uint64_t value) {
  if (const MmioRange* r = find(address.value))
    r->device->mmio_write(address.value - r->first, size_bytes, value & all_ones(size_bytes));
}

}  // namespace panda::device
