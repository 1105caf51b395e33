#include "plugin/crossing_callbacks.h"

#include "base/host_fp.h"

namespace panda::plugin {
namespace {

constexpr uint64_t mask_of(unsigned size) { return size >= 8 ? ~uint64_t{0} : (uint64_t{1} << 8 * size) - 1; }

}  // namespace

template <typename... Args>
void CrossingCallbacks::fire(unsigned type, Args... args) {
  if (!host_.registry().active(type)) return;
  const HostFp fp(host_.engine().cpu().host_mxcsr);
  host_.instrumentation().synchronise();
  host_.registry().call_all(type, host_.engine().cpu().state(), args...);
}

template <typename... Args>
bool CrossingCallbacks::any_true(unsigned type, Args... args) {
  if (!host_.registry().active(type)) return false;
  const HostFp fp(host_.engine().cpu().host_mxcsr);
  host_.instrumentation().synchronise();
  bool result = false;
  host_.registry().call(
      type, nullptr,
      [&](uint64_t answer) {
        result = (answer & 0xff) != 0;
        return result;
      },
      host_.engine().cpu().state(), args...);
  return result;
}

void CrossingCallbacks::refuse(std::string_view what) {
  PluginHost& host = host_;
  host.complain_once(nullptr, what, fmt::format("a plugin {}: in a replay the recorded value stays", what));
}

uint64_t CrossingCallbacks::virtual_address() {
  return host_.engine().cpu().device_address & host_.target().address_mask;
}

uint64_t CrossingCallbacks::mmio_read(GuestPhysAddr address, unsigned size) {
  const bool assigned = inner_.mmio_assigned(address, size);
  uint64_t value = inner_.mmio_read(address, size);
  if (!assigned) {
    uint64_t supplied = replaying_ ? mask_of(size) : value;
    host_.instrumentation().synchronise();
    const uint64_t pc = host_.instrumentation().current_pc();
    if (any_true(PANDA_CB_UNASSIGNED_IO_READ, pc, address.value, uint64_t{size}, &supplied)) {
      supplied &= mask_of(size);
      if (!replaying_)
        value = supplied;
      else if (supplied != value)
        refuse("supplies the value of an unassigned read");
    }
  }
  uint64_t seen = value;
  fire(PANDA_CB_MMIO_AFTER_READ, address.value, virtual_address(), uint64_t{size}, &seen);
  seen &= mask_of(size);
  if (seen == value) return value;
  if (!replaying_) return seen;
  // The plugin that made the recording changed the value in the log already, and does so again.
  if (host_.registry().active(PANDA_CB_MMIO_AFTER_READ)) refuse("changes a value read from a device");
  return value;
}

void CrossingCallbacks::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
  const bool assigned = inner_.mmio_assigned(address, size);
  uint64_t seen = value;
  fire(PANDA_CB_MMIO_BEFORE_WRITE, address.value, virtual_address(), uint64_t{size}, &seen);
  value = seen & mask_of(size);
  if (!assigned) {
    host_.instrumentation().synchronise();
    const uint64_t pc = host_.instrumentation().current_pc();
    any_true(PANDA_CB_UNASSIGNED_IO_WRITE, pc, address.value, uint64_t{size}, value);
  }
  inner_.mmio_write(address, size, value);
}

// Each under its name of today, and under that of the older documents, whose arguments come in another order.
void CrossingCallbacks::dma(unsigned type, unsigned old_type, GuestPhysAddr address, std::span<const uint8_t> bytes) {
  fire(type, bytes.data(), address.value, uint64_t{bytes.size()}, uint64_t{1});
  fire(old_type, uint64_t{1}, bytes.data(), address.value, uint64_t{bytes.size()});
}
void CrossingCallbacks::before_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) {
  dma(PANDA_CB_REPLAY_BEFORE_DMA, PANDA_CB_REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM, address, bytes);
}
void CrossingCallbacks::after_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) {
  dma(PANDA_CB_REPLAY_AFTER_DMA, PANDA_CB_REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM, address, bytes);
}

// The FIFO address names the place that a byte stays at: no memory of the guest.
void CrossingCallbacks::serial_traffic(const SerialTraffic& t) {
  const bool out = t.kind == SerialTraffic::Kind::Sent;
  const uint64_t fifo = uint64_t{t.port} << 16 | (out ? 0x100u : 0u) | t.slot;
  const uint64_t port = t.port, value = t.value;
  switch (t.kind) {
    case SerialTraffic::Kind::Received:
      fire(PANDA_CB_REPLAY_SERIAL_RECEIVE, fifo, value);
      break;
    case SerialTraffic::Kind::Read:
      fire(PANDA_CB_REPLAY_SERIAL_READ, fifo, port, value);
      break;
    case SerialTraffic::Kind::Sent:
      fire(PANDA_CB_REPLAY_SERIAL_WRITE, fifo, port, value);
      fire(PANDA_CB_REPLAY_SERIAL_SEND, fifo, value);
      break;
  }
}

}  // namespace panda::plugin
