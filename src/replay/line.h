// The deterministic side of the line, as recorder and replayer need it: what they read to stamp and
// digest, and what they change when something comes in.
#pragma once

#include "base/virtual_clock.h"
#include "exec/engine.h"
#include "exec/frontend.h"
#include "memory/guest_memory.h"
#include "memory/vcpu_context.h"

namespace panda::replay {

struct Line {
  VcpuContext& cpu;
  exec::Frontend& frontend;
  GuestMemory& memory;
  VirtualClock& clock;

  [[nodiscard]] static Line of(exec::Engine& engine) {
    return {engine.cpu(), engine.frontend(), engine.memory(), engine.clock()};
  }
  [[nodiscard]] InsnCount count() const { return InsnCount(cpu.completed()); }
};

}  // namespace panda::replay
