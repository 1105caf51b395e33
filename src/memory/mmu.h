// What the memory layer asks of a guest architecture.
#pragma once

#include <cstdint>

namespace panda {

struct VcpuContext;

enum class Access : uint8_t { Read, Write, Fetch };

struct Translation {
  uint64_t phys = 0;      // physical address of the page (4 KiB granule of whatever size it is)
  bool readable = false;  // what further accesses by the same mode may do without asking again;
  bool writable = false;  // writable only where the dirty bit is set already
  bool global = false;    // GuestMemory::enter_space() keeps it
  // The page table entries that say so, in RAM, as they are after the walk. Not for probes.
  static constexpr unsigned kMaxSteps = 4;
  struct Step {
    const uint8_t* host;
    uint64_t value;
  };
  bool may_be_kept = true;  // for when its address space becomes active again
  uint8_t step_bytes = 8;   // 4 or 8
  uint8_t step_count = 0;
  Step steps[kMaxSteps] = {};
};

class Mmu {
 public:
  virtual ~Mmu() = default;
  // Translates for an access of `mode`. On failure the guest's fault is pending in its state,
  // VcpuContext::exit_request is Fault, and false is returned. With `probe` nothing is raised and
  // no accessed or dirty bit is set (debuggers, plugins).
  virtual bool translate(VcpuContext& cpu, uint64_t address, Access access, unsigned mode, bool probe,
                         Translation& out) noexcept = 0;
  // An access that the guest required to be aligned (MemInfo::align) was not: raises its fault.
  virtual void misaligned(VcpuContext& cpu, uint64_t address, Access access) noexcept = 0;
  // The same where the instruction itself asked (MemInfo::strict).
  virtual void misaligned_operand(VcpuContext& cpu, uint64_t address, Access access) noexcept {
    misaligned(cpu, address, access);
  }
};

}  // namespace panda
