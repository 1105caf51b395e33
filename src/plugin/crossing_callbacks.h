// Callbacks of what crosses the line: device memory, accesses that no device answers, and in a replay DMA
// and the serial port. Stands directly before the devices or, in a replay, before the log; a recorder goes
// around it, so that what plugins change while recording is what is recorded. In a replay the log is right:
// a plugin that wants something else is told so, and the replay goes on as recorded.
#pragma once

#include "memory/outside.h"
#include "plugin/plugin_host.h"
#include "replay/replay_observer.h"

namespace panda::plugin {

class CrossingCallbacks final : public Outside, public replay::ReplayObserver {
 public:
  // Both outlive it. inner: the devices, or the log.
  CrossingCallbacks(Outside& inner, PluginHost& host, bool replaying)
      : inner_(inner), host_(host), replaying_(replaying) {}

  uint64_t port_read(uint16_t port, unsigned size) override { return inner_.port_read(port, size); }
  void port_write(uint16_t port, unsigned size, uint64_t value) override { inner_.port_write(port, size, value); }
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;
  bool mmio_assigned(GuestPhysAddr address, unsigned size) override { return inner_.mmio_assigned(address, size); }
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override {
    return inner_.register_read(kind, index);
  }
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override {
    return inner_.register_write(kind, index, value);
  }
  InsnCount next_event(InsnCount now) override { return inner_.next_event(now); }
  void service(InsnCount now) override { inner_.service(now); }
  bool interrupt_pending() override { return inner_.interrupt_pending(); }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override { return inner_.acknowledge_interrupt(now); }
  bool idle(InsnCount now) override { return inner_.idle(now); }
  bool stop_requested() override { return inner_.stop_requested(); }

  // ReplayObserver
  void before_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) override;
  void after_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) override;
  void serial_traffic(const SerialTraffic& traffic) override;

 private:
  template <typename... Args>
  void fire(unsigned type, Args... args);
  template <typename... Args>
  bool any_true(unsigned type, Args... args);  // until the first that returns true
  void dma(unsigned type, unsigned old_type, GuestPhysAddr address, std::span<const uint8_t> bytes);
  void refuse(std::string_view what);
  [[nodiscard]] uint64_t virtual_address();

  Outside& inner_;
  PluginHost& host_;
  bool replaying_;
};

}  // namespace panda::plugin
