// Who wants to see the guest's memory accesses that C++ code makes: those of helpers and of exception
// delivery (memory/access.h: load_guest, store_guest). Accesses of translated code report themselves
// (ir::AccessHook), and so do not come here even where they take the slow path. On the guest's thread.
#pragma once

#include <cstdint>

namespace panda {

struct VcpuContext;

struct GuestAccess {
  uint64_t address = 0;  // virtual
  unsigned size = 0;     // bytes
  unsigned mode = 0;     // MMU mode
  bool store = false;
};

class AccessObserver {
 public:
  virtual ~AccessObserver() = default;
  // It may yet fault, or have to be made again in an exact unit. data: what is stored; null for a load.
  virtual void before_access(VcpuContext&, const GuestAccess&, const void* data) noexcept = 0;
  // It was made. data: what was loaded or stored.
  virtual void after_access(VcpuContext&, const GuestAccess&, const void* data) noexcept = 0;
};

}  // namespace panda
