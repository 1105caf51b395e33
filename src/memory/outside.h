// The line around CPU and RAM: all that is nondeterministic reaches the guest through this
// interface, or through DMA that the implementer does between two instructions. Live it is the
// devices; while recording, a recorder around them; in replay, the log.
//
// All calls come on the guest's thread. port/mmio/register calls come from inside an exact unit,
// so VcpuContext::completed() is the exact count of the access.
#pragma once

#include <cstdint>
#include <optional>

#include "base/types.h"

namespace panda {

// CPU-side registers whose owner is outside the line (x86: the local APIC's).
enum class OutsideRegister : uint32_t { ApicBase, TaskPriority, TscDeadline, X2Apic };

class Outside {
 public:
  virtual ~Outside() = default;

  // size: 1, 2, 4 (8 for MMIO too). Values are zero-extended.
  virtual uint64_t port_read(uint16_t port, unsigned size) = 0;
  virtual void port_write(uint16_t port, unsigned size, uint64_t value) = 0;
  virtual uint64_t mmio_read(GuestPhysAddr address, unsigned size) = 0;
  virtual void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) = 0;
  // Is there a device at the address? Asked before such an access, and only then, for recorders and analyses.
  virtual bool mmio_assigned(GuestPhysAddr, unsigned /*size*/) { return true; }
  // index: the register's number within its kind (X2Apic: MSR - 0x800). nullopt / false: the guest
  // gets the fault that the architecture prescribes.
  virtual std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) = 0;
  virtual bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) = 0;

  // --- called by the engine between two instructions, at `now`
  // The count at which service() must be called next (a timer is due, a logged event happens).
  virtual InsnCount next_event(InsnCount now) = 0;
  // Runs what is due: timers, host input, DMA, clock adjustments. May change RAM and raise interrupts.
  virtual void service(InsnCount now) = 0;
  // An external interrupt is offered to the CPU. Cheap: asked at every dispatch.
  virtual bool interrupt_pending() = 0;
  // The CPU takes it: its vector, or nullopt where it went away (spurious handled inside).
  virtual std::optional<uint8_t> acknowledge_interrupt(InsnCount now) = 0;
  // The guest waits in HLT with nothing pending: let time pass until something may be. Returns
  // false where nothing ever can (the engine stops the machine).
  virtual bool idle(InsnCount now) = 0;
  // The machine should leave the run loop (monitor stop, power-off, reset, end of replay).
  virtual bool stop_requested() = 0;
};

}  // namespace panda
