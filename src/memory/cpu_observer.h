// Events inside the CPU that analyses may see and change, beyond what is compiled into
// translations. A front end calls these through VcpuContext::observer, which is null where nobody
// listens. On the guest's thread.
#pragma once

#include <cstdint>

namespace panda {

struct VcpuContext;

class CpuObserver {
 public:
  virtual ~CpuObserver() = default;
  // The address space identifier (x86: CR3) is about to change. True: it keeps its old value.
  virtual bool asid_changes(VcpuContext&, uint64_t /*old_value*/, uint64_t /*new_value*/) noexcept { return false; }
  // A hypercall-like instruction (x86: CPUID). True: handled, the registers hold the results.
  virtual bool hypercall(VcpuContext&) noexcept { return false; }
  // An exception is about to be delivered; returns the vector to deliver, or -1 to squash it.
  virtual int32_t exception(VcpuContext&, int32_t vector) noexcept { return vector; }
  // The CPU has taken an external interrupt off its controller and is about to deliver it; returns the vector to
  // deliver, or -1 to drop it.
  virtual int32_t interrupt(VcpuContext&, int32_t vector) noexcept { return vector; }
};

}  // namespace panda
