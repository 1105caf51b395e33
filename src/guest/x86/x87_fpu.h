// The x87 register stack and its exceptions, as helpers see them (SDM vol. 1, chapter 8).
//
// A helper first tries the host's x87 with the control word it already has, if that is the guest's
// too (kFpuControlDefault), on values loaded from the state. The host's exception flags are left
// to accumulate, since clearing them costs more than an addition: only where the host shows a flag
// that the guest does not have yet is the operation repeated from a clean status word, under the
// guest's control word with its exceptions unmasked as the guest has them. The host then shows
// exactly what the guest's status word must take over, whether the instruction was carried out,
// and (unmasked overflow and underflow) the wrapped result.
#pragma once

#include <cstdint>
#include <cstring>

#include "guest/x86/fpu_state.h"
#include "guest/x86/state.h"

namespace panda::x86 {

// What the host's FPU made of an operation: the result and the status word of that operation alone.
struct HostRun {
  long double value;
  long double second;  // FPTAN and kin
  uint16_t status;
};

inline constexpr uint16_t kHostControl = kFpuControlDefault;  // what the host's C++ code runs under

[[nodiscard]] inline long double make_f80(uint64_t low, uint16_t high) {
  struct {
    uint64_t low;
    uint16_t high;
  } raw{low, high};
  long double v;
  __asm__("fldt %1" : "=t"(v) : "m"(raw));
  return v;
}
[[nodiscard]] inline long double indefinite() { return make_f80(0xc000000000000000, 0xffff); }

// The host's status word. `after` makes it stand behind the computation of that value.
[[nodiscard]] inline uint16_t host_status(long double after) {
  uint16_t sw;
  __asm__ volatile("fnstsw %0" : "=a"(sw) : "t"(after));
  return sw;
}

class Fpu {
 public:
  explicit Fpu(void* state) : s(*static_cast<State*>(state)) {}

  State& s;

  [[nodiscard]] unsigned phys(unsigned i) const { return (s.fpstt + i) & 7; }
  [[nodiscard]] FPReg& reg(unsigned i) const { return s.fpregs[phys(i)]; }
  [[nodiscard]] bool empty(unsigned i) const { return s.fptags[phys(i)] != 0; }
  [[nodiscard]] long double st(unsigned i) const {
    long double v;
    __asm__("fldt %1" : "=t"(v) : "m"(reg(i).d));
    return v;
  }
  // Keeps the tag: for a register that is known to be valid.
  void put(unsigned i, long double v) const { __asm__("fstpt %0" : "=m"(reg(i).d) : "t"(v) : "st"); }
  void set(unsigned i, long double v) const {
    put(i, v);
    s.fptags[phys(i)] = 0;
  }
  void pop() const {
    s.fptags[s.fpstt & 7] = 1;
    s.fpstt = (s.fpstt + 1) & 7;
  }
  void push(long double v) const {
    s.fpstt = (s.fpstt - 1) & 7;
    set(0, v);
  }

  [[nodiscard]] bool plain() const { return s.fpuc == kFpuControlDefault; }
  // The fast path's test: no flag that the guest does not have. Takes over C1.
  [[nodiscard]] bool accept(uint16_t host) const {
    if ((host & ~s.fpus & kFpExceptions) != 0) return false;
    s.fpus = static_cast<uint16_t>((s.fpus & ~kFpC1) | (host & kFpC1));
    return true;
  }
  void clear_c1() const { s.fpus = static_cast<uint16_t>(s.fpus & ~kFpC1); }
  void set_conditions(uint16_t conditions) const {
    s.fpus = static_cast<uint16_t>((s.fpus & ~kFpConditions) | (conditions & kFpConditions));
  }
  // Adds exception flags; ES and B where one of them is unmasked.
  void raise_flags(unsigned flags) const {
    s.fpus = static_cast<uint16_t>(s.fpus | flags);
    if ((s.fpus & ~s.fpuc & kFpExceptions) != 0) s.fpus = static_cast<uint16_t>(s.fpus | kFpES | kFpB);
  }
  // Takes over flags and C1 of an exact run. False: an unmasked invalid-operand, denormal or
  // zero-divide exception, so that the destination stays as it is.
  [[nodiscard]] bool commit(uint16_t host) const {
    s.fpus = static_cast<uint16_t>((s.fpus & ~kFpC1) | (host & kFpC1));
    raise_flags(host & kFpExceptions);
    return (host & ~s.fpuc & (kFpIE | kFpDE | kFpZE)) == 0;
  }
  // True: masked, go on with the indefinite value.
  [[nodiscard]] bool stack_fault(bool overflow) const {
    s.fpus = static_cast<uint16_t>((s.fpus & ~kFpC1) | (overflow ? kFpC1 : 0));
    raise_flags(kFpIE | kFpSF);
    return (s.fpuc & kFpIE) != 0;
  }
  // Pushes, with the response to an overflow of the stack.
  void push_checked(long double v) const {
    if (!empty(7)) [[unlikely]] {
      if (stack_fault(true)) push(indefinite());
      return;
    }
    clear_c1();
    push(v);
  }
};

// Defines `name(control, a, b)`: `insn` on the host with a in ST(0), b in ST(1) and an empty
// status word, under `control`. FNINIT leaves the host as C++ code expects it, whatever happened.
#define PANDA_X87_RUN(name, insn)                                                                      \
  inline HostRun name(uint16_t control, long double a, long double b) noexcept {                       \
    HostRun r;                                                                                         \
    const uint16_t host = kHostControl;                                                                \
    __asm__ volatile("fnclex\n fldt %[b]\n fldt %[a]\n fldcw %[control]\n " insn                       \
                     "\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n fninit\n"        \
                     : [value] "=m"(r.value), [status] "=m"(r.status)                                  \
                     : [a] "m"(a), [b] "m"(b), [control] "m"(control), [host] "m"(host)                \
                     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"); \
    r.second = 0;                                                                                      \
    return r;                                                                                          \
  }

}  // namespace panda::x86
