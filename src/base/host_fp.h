// Translated code runs under the guest's floating-point environment: the host's MXCSR is the guest's, and the
// exception flags of the host's x87 are taken to be the guest's (backend/x64/x87_stack.h). C++ code that may compute
// in floating point while translated code waits for it, as a plugin's callback does, has one of these around it.
#pragma once

#include <xmmintrin.h>

#include <cstdint>

namespace panda {

class HostFp {
 public:
  explicit HostFp(uint32_t host_mxcsr) : guest_mxcsr_(_mm_getcsr()), x87_flags_(x87_flags()) { _mm_setcsr(host_mxcsr); }
  ~HostFp() {
    _mm_setcsr(guest_mxcsr_);
    if ((x87_flags() & ~x87_flags_) != 0)
      __asm__ volatile("fnclex");  // too few do no harm: they are in the guest's state
  }
  HostFp(const HostFp&) = delete;
  HostFp& operator=(const HostFp&) = delete;

 private:
  [[nodiscard]] static uint16_t x87_flags() {
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    return status & 0x3f;
  }
  uint32_t guest_mxcsr_;
  uint16_t x87_flags_;
};

}  // namespace panda
