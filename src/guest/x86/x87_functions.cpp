// Square root, rounding, scaling, remainders and FXTRACT: exact or correctly rounded operations,
// which the host's x87 does as every other one.
#include "guest/x86/x87_arith.h"
#include "guest/x86/x87_helpers.h"

namespace panda::x86::x87 {
namespace {

PANDA_X87_RUN(run_fsqrt, "fsqrt")
PANDA_X87_RUN(run_frndint, "frndint")
PANDA_X87_RUN(run_fscale, "fscale")
PANDA_X87_RUN(run_fprem, "fprem")
PANDA_X87_RUN(run_fprem1, "fprem1")

// ST(0) = f(ST(0))
void unary_slow(const Fpu& f, HostRun (*run)(uint16_t, long double, long double) noexcept) {
  if (f.empty(0)) {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  finish(f, 0, run(f.s.fpuc, f.st(0), 0));
}

// ST(0) = f(ST(0), ST(1)), with the conditions that the host sets.
void remainder(void* state, HostRun (*run)(uint16_t, long double, long double) noexcept) {
  const Fpu f(state);
  if (f.empty(0) || f.empty(1)) {
    if (f.stack_fault(false)) f.set(0, indefinite());
    f.s.fpus = static_cast<uint16_t>(f.s.fpus & ~kFpC2);
    return;
  }
  const HostRun r = run(f.s.fpuc, f.st(0), f.st(1));
  const bool done = finish(f, 0, r);
  // Where there is no quotient (a NaN, or stopped) C2 and C1 are cleared, and its other bits stay.
  if (!done || r.value != r.value)
    f.s.fpus = static_cast<uint16_t>(f.s.fpus & ~(kFpC1 | kFpC2));
  else
    f.set_conditions(r.status);
}

}  // namespace

void fsqrt(void* state) noexcept {
  const Fpu f(state);
  if (f.plain() && !f.empty(0)) [[likely]] {
    long double r = f.st(0);
    __asm__ volatile("fsqrt" : "+t"(r));
    if (f.accept(host_status(r))) [[likely]]
      return f.put(0, r);
  }
  unary_slow(f, run_fsqrt);
}

void frndint(void* state) noexcept {
  const Fpu f(state);
  if (f.plain() && !f.empty(0)) [[likely]] {
    long double r = f.st(0);
    __asm__ volatile("frndint" : "+t"(r));
    if (f.accept(host_status(r))) [[likely]]
      return f.put(0, r);
  }
  unary_slow(f, run_frndint);
}

void fscale(void* state) noexcept {
  const Fpu f(state);
  if (f.empty(0) || f.empty(1)) {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  finish(f, 0, run_fscale(f.s.fpuc, f.st(0), f.st(1)));
}

void fprem(void* state) noexcept { remainder(state, run_fprem); }
void fprem1(void* state) noexcept { remainder(state, run_fprem1); }

// ST(0) = exponent, then the significand is pushed (SDM vol. 2, FXTRACT).
void fxtract(void* state) noexcept {
  const Fpu f(state);
  if (f.empty(0) || !f.empty(7)) {
    if (!f.stack_fault(!f.empty(0))) return;
    f.set(0, indefinite());
    f.push(indefinite());
    return;
  }
  f.clear_c1();
  const uint64_t low = f.reg(0).d.low;
  const uint16_t high = f.reg(0).d.high;
  const unsigned exponent = high & 0x7fff;
  const auto sign = static_cast<uint16_t>(high & 0x8000);
  const bool unsupported = exponent != 0 && low >> 63 == 0;
  if (unsupported || (exponent == 0x7fff && low << 1 != 0)) {  // NaN
    const bool quiet = !unsupported && (low & 0x4000000000000000) != 0;
    if (!quiet) {
      f.raise_flags(kFpIE);
      if ((f.s.fpuc & kFpIE) == 0) return;
    }
    const long double v = unsupported ? indefinite() : make_f80(low | 0x4000000000000000, high);
    f.put(0, v);
    f.push(v);
  } else if (exponent == 0x7fff) {  // infinity
    f.put(0, make_f80(0x8000000000000000, 0x7fff));
    f.push(make_f80(0x8000000000000000, high));
  } else if (low == 0) {
    f.raise_flags(kFpZE);
    if ((f.s.fpuc & kFpZE) == 0) return;
    f.put(0, make_f80(0x8000000000000000, 0xffff));
    f.push(make_f80(0, sign));
  } else {
    unsigned shift = 0;
    if (exponent == 0) {
      f.raise_flags(kFpDE);
      if ((f.s.fpuc & kFpDE) == 0) return;
      shift = static_cast<unsigned>(__builtin_clzll(low));
    }
    const int unbiased = static_cast<int>(exponent == 0 ? 1 : exponent) - 0x3fff - static_cast<int>(shift);
    f.put(0, static_cast<long double>(unbiased));
    f.push(make_f80(low << shift, static_cast<uint16_t>(sign | 0x3fff)));
  }
}

}  // namespace panda::x86::x87
