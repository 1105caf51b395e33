// The world around a CPU that instruction tests run on: there is none.
#pragma once

#include <cstdint>
#include <optional>

#include "memory/cpu_observer.h"
#include "memory/outside.h"

namespace panda::x86test {

// Nothing outside; remembers the exception and stops the engine at it.
class Nothing : public Outside, public CpuObserver {
 public:
  int32_t vector = -1;

  uint64_t port_read(uint16_t, unsigned) override { return ~uint64_t{0}; }
  void port_write(uint16_t, unsigned, uint64_t) override {}
  uint64_t mmio_read(GuestPhysAddr, unsigned) override { return ~uint64_t{0}; }
  void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override { return std::nullopt; }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return false; }
  InsnCount next_event(InsnCount) override { return InsnCount(~uint64_t{0}); }
  void service(InsnCount) override {}
  bool interrupt_pending() override { return false; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override { return std::nullopt; }
  bool idle(InsnCount) override { return false; }
  bool stop_requested() override { return vector >= 0; }
  int32_t exception(VcpuContext&, int32_t v) noexcept override {
    vector = v;
    return -1;
  }
};

}  // namespace panda::x86test
