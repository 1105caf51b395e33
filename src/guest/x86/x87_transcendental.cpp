// FSIN and kin (SDM vol. 1, 8.3.7), computed in software (float128.h) and rounded once by the
// guest's rounding mode, so that a recording replays bit for bit on any host. Not modelled: the
// wrapped result of an unmasked overflow or underflow, which is stored as if masked.
#include <cmath>

#include "guest/x86/float128.h"
#include "guest/x86/x87_arith.h"
#include "guest/x86/x87_helpers.h"

namespace panda::x86::x87 {
namespace {

enum class Class : uint8_t { Zero, Denormal, Normal, Infinity, NaN };  // NaN: unsupported formats too

Class classify(const Fpu& f, unsigned i) {
  const floatx80& v = f.reg(i).d;
  const unsigned exponent = v.high & 0x7fffu;
  if (exponent == 0) return v.low == 0 ? Class::Zero : Class::Denormal;
  if (v.low >> 63 == 0) return Class::NaN;
  if (exponent == 0x7fff) return v.low << 1 == 0 ? Class::Infinity : Class::NaN;
  return Class::Normal;
}

unsigned rounding(const Fpu& f) { return f.s.fpuc >> 10 & 3; }

void clear_c2(const Fpu& f) { f.s.fpus = static_cast<uint16_t>(f.s.fpus & ~kFpC2); }

// An outcome: the value, and the status bits as the host would show them.
struct Outcome {
  long double value;
  unsigned status;
};

Outcome invalid() { return {indefinite(), kFpIE}; }

Outcome rounded(const Fpu& f, Float128 v, unsigned status = 0) {
  const Rounded r = round_to_x87(v, rounding(f));
  return {r.value, r.status | status};
}

// The same for a value that is known to be irrational, though it may not look so in 128 bits.
Outcome rounded_inexact(const Fpu& f, Float128 v, unsigned status = 0) { return rounded(f, v, status | kFpPE); }

// The NaN that an operation on these gives, as the host's addition chooses it.
Outcome nan_of(const Fpu& f, long double a, long double b) {
  const HostRun r = run_fadd(static_cast<uint16_t>(f.s.fpuc | kFpExceptions), a, b);
  return {r.value, r.status & 1u};
}

unsigned denormal_flag(Class a, Class b = Class::Normal) {
  return a == Class::Denormal || b == Class::Denormal ? kFpDE : 0u;
}

// Two operands: the result replaces ST(1), and ST(0) is popped.
template <typename F>
void binary(void* state, F compute) {
  const Fpu f(state);
  if (f.empty(0) || f.empty(1)) {
    if (!f.stack_fault(false)) return;
    f.set(1, indefinite());
    return f.pop();
  }
  const Class x = classify(f, 0), y = classify(f, 1);
  const Outcome r = x == Class::NaN || y == Class::NaN ? nan_of(f, f.st(0), f.st(1)) : compute(f, x, y);
  if (!f.commit(static_cast<uint16_t>(r.status))) return;
  f.set(1, r.value);
  f.pop();
}

Outcome log_product(Float128 log2, bool log_infinite, Class y, const Fpu& f) {
  const bool log_zero = log2 == 0;
  if ((log_infinite && y == Class::Zero) || (log_zero && !log_infinite && y == Class::Infinity)) return invalid();
  return rounded(f, log2 * to_float128(f.st(1)));
}

constexpr double kInfinity = __builtin_inf();

// Trigonometric functions: common checks. True: go on with a finite ST(0) below 2^63.
bool trig_ready(const Fpu& f, bool pushes) {
  clear_c2(f);
  if (f.empty(0)) {
    if (f.stack_fault(false)) {
      f.set(0, indefinite());
      if (pushes) f.push(indefinite());
    }
    return false;
  }
  if (pushes && !f.empty(7)) {
    if (f.stack_fault(true)) {
      f.set(0, indefinite());
      f.push(indefinite());
    }
    return false;
  }
  const Class c = classify(f, 0);
  if (c == Class::NaN || c == Class::Infinity) {
    const Outcome r = c == Class::NaN ? nan_of(f, f.st(0), f.st(0)) : invalid();
    if (!f.commit(static_cast<uint16_t>(r.status))) return false;
    f.set(0, r.value);
    if (pushes) f.push(r.value);
    return false;
  }
  if ((f.reg(0).d.high & 0x7fff) >= 0x3fff + 63) {
    f.clear_c1();
    f.s.fpus = static_cast<uint16_t>(f.s.fpus | kFpC2);
    return false;
  }
  return true;
}

}  // namespace

void f2xm1(void* state) noexcept {
  const Fpu f(state);
  if (f.empty(0)) {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  const DefaultMxcsr scope;
  const long double x = f.st(0);
  Outcome r{x, 0};
  switch (classify(f, 0)) {
    case Class::Zero:
      break;
    case Class::NaN:
      r = nan_of(f, x, x);
      break;
    case Class::Infinity:
      r.value = std::signbit(x) ? -1.0L : x;
      break;
    default:
      // Undefined beyond 1: there the value stays.
      if (x >= -1 && x <= 1) r = rounded(f, exp2_minus1_128(x), denormal_flag(classify(f, 0)));
      break;
  }
  if (f.commit(static_cast<uint16_t>(r.status))) f.set(0, r.value);
}

void fyl2x(void* state) noexcept {
  const DefaultMxcsr scope;
  binary(state, [](const Fpu& f, Class x, Class y) -> Outcome {
    if (x != Class::Zero && std::signbit(f.st(0))) return invalid();
    if (x == Class::Zero) {
      if (y == Class::Zero) return invalid();
      const long double v = std::signbit(f.st(1)) ? kInfinity : -kInfinity;
      return {v, y == Class::Infinity ? 0u : kFpZE | denormal_flag(y)};
    }
    if (x == Class::Infinity) return log_product(kInfinity, true, y, f);
    if (y == Class::Infinity || y == Class::Zero) return log_product(log2_times_128(f.st(0), 1), false, y, f);
    return rounded(f, log2_times_128(f.st(0), f.st(1)), denormal_flag(x, y));
  });
}

void fyl2xp1(void* state) noexcept {
  const DefaultMxcsr scope;
  binary(state, [](const Fpu& f, Class x, Class y) -> Outcome {
    const long double v = f.st(0);
    if (x == Class::Infinity) return std::signbit(v) ? invalid() : log_product(kInfinity, true, y, f);
    if (x == Class::Zero) return log_product(to_float128(v), false, y, f);
    if (v <= -1) return invalid();
    if (y == Class::Infinity || y == Class::Zero) return log_product(log2_plus1_times_128(v, 1), false, y, f);
    return rounded(f, log2_plus1_times_128(v, f.st(1)), denormal_flag(x, y));
  });
}

void fpatan(void* state) noexcept {
  const DefaultMxcsr scope;
  binary(state, [](const Fpu& f, Class x, Class y) -> Outcome {
    const bool left = std::signbit(f.st(0)), below = std::signbit(f.st(1));
    const auto angle = [&](int quarters) {
      return rounded_inexact(f, pi_times_128(below ? -quarters : quarters), denormal_flag(x, y));
    };
    const Outcome zero{below ? -0.0L : 0.0L, denormal_flag(x, y)};
    if (y == Class::Infinity) return x == Class::Infinity ? angle(left ? 3 : 1) : angle(2);
    if (x == Class::Infinity || y == Class::Zero) return left ? angle(4) : zero;
    if (x == Class::Zero) return angle(2);
    return rounded_inexact(f, arctangent_128(f.st(1), f.st(0)), denormal_flag(x, y));
  });
}

void fsin(void* state) noexcept {
  const Fpu f(state);
  if (!trig_ready(f, false)) return;
  const Class c = classify(f, 0);
  if (c == Class::Zero) return f.clear_c1();
  const DefaultMxcsr scope;
  const Outcome r = rounded_inexact(f, sine_cosine_128(f.st(0)).sine, denormal_flag(c));
  if (f.commit(static_cast<uint16_t>(r.status))) f.set(0, r.value);
}

void fcos(void* state) noexcept {
  const Fpu f(state);
  if (!trig_ready(f, false)) return;
  const DefaultMxcsr scope;
  const Class c = classify(f, 0);
  const Float128 v = sine_cosine_128(f.st(0)).cosine;
  const Outcome r = c == Class::Zero ? rounded(f, v) : rounded_inexact(f, v, denormal_flag(c));
  if (f.commit(static_cast<uint16_t>(r.status))) f.set(0, r.value);
}

void fsincos(void* state) noexcept {
  const Fpu f(state);
  if (!trig_ready(f, true)) return;
  const DefaultMxcsr scope;
  const Class c = classify(f, 0);
  const SineCosine v = sine_cosine_128(f.st(0));
  const Outcome sine = c == Class::Zero ? Outcome{f.st(0), 0} : rounded_inexact(f, v.sine, denormal_flag(c));
  const Outcome cosine = rounded(f, v.cosine);
  if (!f.commit(static_cast<uint16_t>((sine.status & ~kFpC1) | cosine.status))) return;
  f.set(0, sine.value);
  f.push(cosine.value);
}

void fptan(void* state) noexcept {
  const Fpu f(state);
  if (!trig_ready(f, true)) return;
  const DefaultMxcsr scope;
  const Class c = classify(f, 0);
  Outcome r{f.st(0), 0};
  if (c != Class::Zero) {
    const SineCosine v = sine_cosine_128(f.st(0));
    r = rounded_inexact(f, v.sine / v.cosine, denormal_flag(c));
  }
  if (!f.commit(static_cast<uint16_t>(r.status))) return;
  f.set(0, r.value);
  f.push(1);
}

}  // namespace panda::x86::x87
