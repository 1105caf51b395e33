// Translated code takes the host's x87 exception flags to be the guest's (backend/x64/x87_stack.h).
// C++ code that may raise others on its behalf, as a plugin's callback with a long double in it, has one
// of these around it.
#pragma once

#include <cstdint>

namespace panda {

class KeepX87Flags {
 public:
  KeepX87Flags() : before_(flags()) {}
  ~KeepX87Flags() {
    if ((flags() & ~before_) != 0) __asm__ volatile("fnclex");  // too few do no harm: they are in the guest's state
  }
  KeepX87Flags(const KeepX87Flags&) = delete;
  KeepX87Flags& operator=(const KeepX87Flags&) = delete;

 private:
  [[nodiscard]] static uint16_t flags() {
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    return status & 0x3f;
  }
  uint16_t before_;
};

}  // namespace panda
