// x87 arithmetic and compares with every kind of operand. Templates, because each instruction form
// is a helper of its own: the operation and the operand kind cost nothing at run time.
#pragma once

#include <bit>
#include <cstdint>

#include "guest/x86/x87_fpu.h"

namespace panda::x86::x87 {

enum class Arith : uint8_t { Add, Mul, Sub, SubR, Div, DivR };  // R: source minus (over) destination
enum class Source : uint8_t { F32, F64, I16, I32 };

template <Arith op>
[[gnu::always_inline]] inline long double compute(long double a, long double b) {
  if constexpr (op == Arith::Add) return a + b;
  if constexpr (op == Arith::Mul) return a * b;
  if constexpr (op == Arith::Sub) return a - b;
  if constexpr (op == Arith::SubR) return b - a;
  if constexpr (op == Arith::Div) return a / b;
  if constexpr (op == Arith::DivR) return b / a;
}

PANDA_X87_RUN(run_fadd, "fadd %%st(1), %%st")
PANDA_X87_RUN(run_fmul, "fmul %%st(1), %%st")
PANDA_X87_RUN(run_fsub, "fsub %%st(1), %%st")
PANDA_X87_RUN(run_fsubr, "fsubr %%st(1), %%st")
PANDA_X87_RUN(run_fdiv, "fdiv %%st(1), %%st")
PANDA_X87_RUN(run_fdivr, "fdivr %%st(1), %%st")
PANDA_X87_RUN(run_fcom, "fcom %%st(1)")
PANDA_X87_RUN(run_fucom, "fucom %%st(1)")

// The same with a memory operand, whose conversion can raise flags too.
#define PANDA_X87_RUN_MEMORY(name, insn)                                                        \
  template <typename T>                                                                         \
  inline HostRun name(uint16_t control, long double a, T b) noexcept {                          \
    HostRun r;                                                                                  \
    const uint16_t host = kHostControl;                                                         \
    __asm__ volatile("fnclex\n fldt %[a]\n fldcw %[control]\n " insn                            \
                     "\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n fninit\n" \
                     : [value] "=m"(r.value), [status] "=m"(r.status)                           \
                     : [a] "m"(a), [b] "m"(b), [control] "m"(control), [host] "m"(host)         \
                     : "st", "st(1)", "memory");                                                \
    r.second = 0;                                                                               \
    return r;                                                                                   \
  }
#define PANDA_X87_RUN_MEMORY2(name, insn)         \
  PANDA_X87_RUN_MEMORY(name##_m32, insn "s %[b]") \
  PANDA_X87_RUN_MEMORY(name##_m64, insn "l %[b]")
PANDA_X87_RUN_MEMORY2(run_fadd, "fadd")
PANDA_X87_RUN_MEMORY2(run_fmul, "fmul")
PANDA_X87_RUN_MEMORY2(run_fsub, "fsub")
PANDA_X87_RUN_MEMORY2(run_fsubr, "fsubr")
PANDA_X87_RUN_MEMORY2(run_fdiv, "fdiv")
PANDA_X87_RUN_MEMORY2(run_fdivr, "fdivr")
PANDA_X87_RUN_MEMORY2(run_fcom, "fcom")
#undef PANDA_X87_RUN_MEMORY2
#undef PANDA_X87_RUN_MEMORY

template <Arith op>
HostRun run_exact(uint16_t control, long double a, long double b) {
  switch (op) {
    case Arith::Add:
      return run_fadd(control, a, b);
    case Arith::Mul:
      return run_fmul(control, a, b);
    case Arith::Sub:
      return run_fsub(control, a, b);
    case Arith::SubR:
      return run_fsubr(control, a, b);
    case Arith::Div:
      return run_fdiv(control, a, b);
    case Arith::DivR:
      return run_fdivr(control, a, b);
  }
  __builtin_unreachable();
}

template <Arith op>
HostRun run_exact_memory(uint16_t control, long double a, uint32_t b) {
  switch (op) {
    case Arith::Add:
      return run_fadd_m32(control, a, b);
    case Arith::Mul:
      return run_fmul_m32(control, a, b);
    case Arith::Sub:
      return run_fsub_m32(control, a, b);
    case Arith::SubR:
      return run_fsubr_m32(control, a, b);
    case Arith::Div:
      return run_fdiv_m32(control, a, b);
    case Arith::DivR:
      return run_fdivr_m32(control, a, b);
  }
  __builtin_unreachable();
}

template <Arith op>
HostRun run_exact_memory(uint16_t control, long double a, uint64_t b) {
  switch (op) {
    case Arith::Add:
      return run_fadd_m64(control, a, b);
    case Arith::Mul:
      return run_fmul_m64(control, a, b);
    case Arith::Sub:
      return run_fsub_m64(control, a, b);
    case Arith::SubR:
      return run_fsubr_m64(control, a, b);
    case Arith::Div:
      return run_fdiv_m64(control, a, b);
    case Arith::DivR:
      return run_fdivr_m64(control, a, b);
  }
  __builtin_unreachable();
}

// Stores the result of an exact run. False: an unmasked exception kept the destination.
inline bool finish(const Fpu& f, unsigned dst, const HostRun& r) {
  if (!f.commit(r.status)) return false;
  f.set(dst, r.value);
  return true;
}

template <Arith op>
[[gnu::noinline]] bool arith_slow(const Fpu& f, unsigned dst, unsigned src) {
  if (f.empty(dst) || f.empty(src)) {
    if (!f.stack_fault(false)) return false;
    f.set(dst, indefinite());
    return true;
  }
  return finish(f, dst, run_exact<op>(f.s.fpuc, f.st(dst), f.st(src)));
}

// ST(dst) = ST(dst) op ST(src)
template <Arith op, bool pop>
void arith_st(void* state, uint32_t dst, uint32_t src) noexcept {
  const Fpu f(state);
  if (f.plain() && !f.empty(dst) && !f.empty(src)) [[likely]] {
    const long double r = compute<op>(f.st(dst), f.st(src));
    if (f.accept(host_status(r))) [[likely]] {
      f.put(dst, r);
      if (pop) f.pop();
      return;
    }
  }
  if (arith_slow<op>(f, dst, src) && pop) f.pop();
}

template <Source kind>
using SourceBits = std::conditional_t<kind == Source::F64, uint64_t, uint32_t>;

// The value of a memory operand as the x87 loads it; raises what a load raises on the host.
template <Source kind>
[[gnu::always_inline]] inline long double load_source(SourceBits<kind> bits) {
  long double v;
  if constexpr (kind == Source::F32) __asm__ volatile("flds %1" : "=t"(v) : "m"(bits));
  if constexpr (kind == Source::F64) __asm__ volatile("fldl %1" : "=t"(v) : "m"(bits));
  if constexpr (kind == Source::I32) __asm__ volatile("fildl %1" : "=t"(v) : "m"(bits));
  if constexpr (kind == Source::I16) {
    const auto word = static_cast<int16_t>(bits);
    __asm__ volatile("filds %1" : "=t"(v) : "m"(word));
  }
  return v;
}

template <Arith op, Source kind>
[[gnu::noinline]] void arith_memory_slow(const Fpu& f, SourceBits<kind> bits) {
  if (f.empty(0)) {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  if constexpr (kind == Source::F32 || kind == Source::F64) {
    finish(f, 0, run_exact_memory<op>(f.s.fpuc, f.st(0), bits));
  } else {
    finish(f, 0, run_exact<op>(f.s.fpuc, f.st(0), load_source<kind>(bits)));
  }
}

// ST(0) = ST(0) op memory
template <Arith op, Source kind>
void arith_memory(void* state, SourceBits<kind> bits) noexcept {
  const Fpu f(state);
  if (f.plain() && !f.empty(0)) [[likely]] {
    const long double r = compute<op>(f.st(0), load_source<kind>(bits));
    if (f.accept(host_status(r))) [[likely]] {
      f.put(0, r);
      return;
    }
  }
  arith_memory_slow<op, kind>(f, bits);
}

// --- compares. Conditions go to C3, C2 and C0.
inline constexpr uint16_t kUnordered = kFpC3 | kFpC2 | kFpC0;

template <bool quiet>
[[gnu::always_inline]] inline uint16_t host_compare(long double a, long double b) {
  uint16_t sw;
  if constexpr (quiet)
    __asm__ volatile("fucom %2\n fnstsw %0" : "=a"(sw) : "t"(a), "f"(b));
  else
    __asm__ volatile("fcom %2\n fnstsw %0" : "=a"(sw) : "t"(a), "f"(b));
  return sw;
}

// False: an unmasked exception. The conditions are set all the same, but nothing is popped, and
// FCOMI leaves EFLAGS alone (as processors do; the SDM leaves the first open).
inline bool finish_compare(const Fpu& f, const HostRun& r, uint16_t& conditions) {
  conditions = r.status & kUnordered;
  const bool done = f.commit(r.status);
  f.clear_c1();
  return done;
}

template <bool quiet>
bool compare_st(const Fpu& f, unsigned i, uint16_t& conditions) {
  if (f.empty(0) || f.empty(i)) [[unlikely]] {
    conditions = kUnordered;
    return f.stack_fault(false);
  }
  if (f.plain()) [[likely]] {
    const uint16_t sw = host_compare<quiet>(f.st(0), f.st(i));
    if (f.accept(sw)) [[likely]] {
      f.clear_c1();
      conditions = sw & kUnordered;
      return true;
    }
  }
  const auto run = quiet ? run_fucom : run_fcom;
  return finish_compare(f, run(f.s.fpuc, f.st(0), f.st(i)), conditions);
}

// FCOM, FUCOM and their popping forms
template <bool quiet, unsigned pops>
void compare(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  uint16_t conditions;
  const bool done = compare_st<quiet>(f, i, conditions);
  f.set_conditions(conditions);
  if (!done) return;
  for (unsigned n = 0; n < pops; ++n) f.pop();
}

template <Source kind, bool pop>
void compare_memory(void* state, SourceBits<kind> bits) noexcept {
  const Fpu f(state);
  uint16_t conditions = kUnordered;
  bool done = false;
  if (f.empty(0)) [[unlikely]] {
    done = f.stack_fault(false);
  } else {
    if (f.plain()) [[likely]] {
      const uint16_t sw = host_compare<false>(f.st(0), load_source<kind>(bits));
      if (f.accept(sw)) [[likely]] {
        f.set_conditions(sw & kUnordered);
        if (pop) f.pop();
        return;
      }
    }
    HostRun r;
    if constexpr (kind == Source::F32)
      r = run_fcom_m32(f.s.fpuc, f.st(0), bits);
    else if constexpr (kind == Source::F64)
      r = run_fcom_m64(f.s.fpuc, f.st(0), bits);
    else
      r = run_fcom(f.s.fpuc, f.st(0), load_source<kind>(bits));
    done = finish_compare(f, r, conditions);
  }
  f.set_conditions(conditions);
  if (pop && done) f.pop();
}

// FCOMI, FUCOMI: the result is EFLAGS bits (the arithmetic flags that it does not set are cleared).
// Bit 31: stopped by an unmasked exception, EFLAGS stay.
inline constexpr uint32_t kCompareStopped = 0x80000000;
template <bool quiet, bool pop>
uint32_t compare_eflags(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  uint16_t conditions;
  if (!compare_st<quiet>(f, i, conditions)) return kCompareStopped;
  if (pop) f.pop();
  return ((conditions & kFpC0) ? kCF : 0u) | ((conditions & kFpC2) ? kPF_ : 0u) | ((conditions & kFpC3) ? kZF : 0u);
}

}  // namespace panda::x86::x87
