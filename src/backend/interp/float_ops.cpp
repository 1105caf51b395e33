// Floating point. The host's SSE under the guest's MXCSR is the definition: results, NaNs, rounding
// and sticky flags are the processor's own.
#pragma GCC target("sse4.2")
#include <smmintrin.h>

#include <array>
#include <utility>

#include "backend/interp/step.h"
#include "base/soft_float.h"

namespace panda::interp::ops {
namespace {

// Single and double precision under one set of names; scalars are lane 0.
struct Single {
  using V = __m128;
  static V from(const Reg& r) { return _mm_castsi128_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(&r))); }
};
struct Double {
  using V = __m128d;
  static V from(const Reg& r) { return _mm_castsi128_pd(_mm_load_si128(reinterpret_cast<const __m128i*>(&r))); }
};

// An operand, produced where it stands in the code: otherwise the compiler may run an operation
// that a branch leaves out (and raise its flags), since it does not know of MXCSR.
template <typename V>
V here(V v) {
  __asm__ volatile("" : "+x"(v));
  return v;
}
__m128 ps(const Frame& f, const Step& s, unsigned k) { return here(Single::from(f.reg(s, k))); }
__m128d pd(const Frame& f, const Step& s, unsigned k) { return here(Double::from(f.reg(s, k))); }
__m128i si(const Frame& f, const Step& s, unsigned k) {
  return here(_mm_load_si128(reinterpret_cast<const __m128i*>(&f.reg(s, k))));
}

void put(Frame& f, const Step& s, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(&f.regs[s.dst]), v); }
void put(Frame& f, const Step& s, __m128 v) { put(f, s, _mm_castps_si128(v)); }
void put(Frame& f, const Step& s, __m128d v) { put(f, s, _mm_castpd_si128(v)); }
// Lane 0 alone.
void put_scalar(Frame& f, const Step& s, __m128 v) {
  f.define(s, Reg{static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(v))), 0});
}
void put_scalar(Frame& f, const Step& s, __m128d v) {
  f.define(s, Reg{static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_castpd_si128(v))), 0});
}

bool is_single(const Step& s) { return s.type == ir::Type::F32; }
bool from_single(const Step& s) { return s.from == ir::Type::F32; }

// The immediate of an instruction is part of its encoding: one function per value.
template <template <int> typename Op, typename Function, int... I>
constexpr std::array<Function, sizeof...(I)> by_immediate(std::integer_sequence<int, I...>) {
  return {&Op<I>::run...};
}

template <int I>
struct RoundSs {
  static __m128 run(__m128 a) { return _mm_round_ss(a, a, I); }
};
template <int I>
struct RoundSd {
  static __m128d run(__m128d a) { return _mm_round_sd(a, a, I); }
};
template <int I>
struct RoundPs {
  static __m128 run(__m128 a) { return _mm_round_ps(a, I); }
};
template <int I>
struct RoundPd {
  static __m128d run(__m128d a) { return _mm_round_pd(a, I); }
};
template <int I>
struct DotPs {
  static __m128 run(__m128 a, __m128 b) { return _mm_dp_ps(a, b, I); }
};
template <int I>
struct DotPd {
  static __m128d run(__m128d a, __m128d b) { return _mm_dp_pd(a, b, I); }
};

using UnaryPs = __m128 (*)(__m128);
using UnaryPd = __m128d (*)(__m128d);
using BinaryPs = __m128 (*)(__m128, __m128);
using BinaryPd = __m128d (*)(__m128d, __m128d);
constexpr auto kRoundSs = by_immediate<RoundSs, UnaryPs>(std::make_integer_sequence<int, 16>());
constexpr auto kRoundSd = by_immediate<RoundSd, UnaryPd>(std::make_integer_sequence<int, 16>());
constexpr auto kRoundPs = by_immediate<RoundPs, UnaryPs>(std::make_integer_sequence<int, 16>());
constexpr auto kRoundPd = by_immediate<RoundPd, UnaryPd>(std::make_integer_sequence<int, 16>());
constexpr auto kDotPs = by_immediate<DotPs, BinaryPs>(std::make_integer_sequence<int, 256>());
constexpr auto kDotPd = by_immediate<DotPd, BinaryPd>(std::make_integer_sequence<int, 256>());

__m128 compare_ss(__m128 a, __m128 b, uint64_t predicate) {
  switch (predicate & 7) {
    case 0:
      return _mm_cmpeq_ss(a, b);
    case 1:
      return _mm_cmplt_ss(a, b);
    case 2:
      return _mm_cmple_ss(a, b);
    case 3:
      return _mm_cmpunord_ss(a, b);
    case 4:
      return _mm_cmpneq_ss(a, b);
    case 5:
      return _mm_cmpnlt_ss(a, b);
    case 6:
      return _mm_cmpnle_ss(a, b);
    default:
      return _mm_cmpord_ss(a, b);
  }
}
__m128d compare_sd(__m128d a, __m128d b, uint64_t predicate) {
  switch (predicate & 7) {
    case 0:
      return _mm_cmpeq_sd(a, b);
    case 1:
      return _mm_cmplt_sd(a, b);
    case 2:
      return _mm_cmple_sd(a, b);
    case 3:
      return _mm_cmpunord_sd(a, b);
    case 4:
      return _mm_cmpneq_sd(a, b);
    case 5:
      return _mm_cmpnlt_sd(a, b);
    case 6:
      return _mm_cmpnle_sd(a, b);
    default:
      return _mm_cmpord_sd(a, b);
  }
}
__m128 compare_ps(__m128 a, __m128 b, uint64_t predicate) {
  switch (predicate & 7) {
    case 0:
      return _mm_cmpeq_ps(a, b);
    case 1:
      return _mm_cmplt_ps(a, b);
    case 2:
      return _mm_cmple_ps(a, b);
    case 3:
      return _mm_cmpunord_ps(a, b);
    case 4:
      return _mm_cmpneq_ps(a, b);
    case 5:
      return _mm_cmpnlt_ps(a, b);
    case 6:
      return _mm_cmpnle_ps(a, b);
    default:
      return _mm_cmpord_ps(a, b);
  }
}
__m128d compare_pd(__m128d a, __m128d b, uint64_t predicate) {
  switch (predicate & 7) {
    case 0:
      return _mm_cmpeq_pd(a, b);
    case 1:
      return _mm_cmplt_pd(a, b);
    case 2:
      return _mm_cmple_pd(a, b);
    case 3:
      return _mm_cmpunord_pd(a, b);
    case 4:
      return _mm_cmpneq_pd(a, b);
    case 5:
      return _mm_cmpnlt_pd(a, b);
    case 6:
      return _mm_cmpnle_pd(a, b);
    default:
      return _mm_cmpord_pd(a, b);
  }
}

// Written as instructions: the compiler holds addition and multiplication to be commutative, but
// which of two NaNs comes out depends on the order of the operands.
#define ORDERED(name, V, instruction)                           \
  V name(V a, V b) {                                            \
    __asm__ volatile(instruction " %1, %0" : "+x"(a) : "x"(b)); \
    return a;                                                   \
  }
ORDERED(add_ss, __m128, "addss")
ORDERED(add_sd, __m128d, "addsd")
ORDERED(add_ps, __m128, "addps")
ORDERED(add_pd, __m128d, "addpd")
ORDERED(mul_ss, __m128, "mulss")
ORDERED(mul_sd, __m128d, "mulsd")
ORDERED(mul_ps, __m128, "mulps")
ORDERED(mul_pd, __m128d, "mulpd")
#undef ORDERED

// UCOMIS and COMIS set ZF, PF and CF; read as the processor left them.
#define COMPARE_FLAGS(instruction, a, b, flags) \
  __asm__ volatile(instruction " %2, %1\n\tlahf\n\tmovzbl %%ah, %0" : "=a"(flags) : "x"(a), "x"(b) : "cc")

}  // namespace

#define SCALAR2(name, intrinsic)                                  \
  void name(Frame& f, const Step& s) noexcept {                   \
    f.enter_guest_fp();                                           \
    if (is_single(s))                                             \
      put_scalar(f, s, intrinsic##_ss(ps(f, s, 0), ps(f, s, 1))); \
    else                                                          \
      put_scalar(f, s, intrinsic##_sd(pd(f, s, 0), pd(f, s, 1))); \
  }
SCALAR2(fadd, add)
SCALAR2(fsub, _mm_sub)
SCALAR2(fmul, mul)
SCALAR2(fdiv, _mm_div)
SCALAR2(fmin, _mm_min)
SCALAR2(fmax, _mm_max)
#undef SCALAR2

void fsqrt(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  if (is_single(s))
    put_scalar(f, s, _mm_sqrt_ss(ps(f, s, 0)));
  else
    put_scalar(f, s, _mm_sqrt_sd(pd(f, s, 0), pd(f, s, 0)));
}
void fround(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  if (is_single(s))
    put_scalar(f, s, kRoundSs[s.imm & 15](ps(f, s, 0)));
  else
    put_scalar(f, s, kRoundSd[s.imm & 15](pd(f, s, 0)));
}
void fcmp_mask(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  if (is_single(s))
    put_scalar(f, s, compare_ss(ps(f, s, 0), ps(f, s, 1), s.imm));
  else
    put_scalar(f, s, compare_sd(pd(f, s, 0), pd(f, s, 1), s.imm));
}

void fucomi(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  uint32_t flags = 0;
  if (from_single(s))
    COMPARE_FLAGS("ucomiss", ps(f, s, 0), ps(f, s, 1), flags);
  else
    COMPARE_FLAGS("ucomisd", pd(f, s, 0), pd(f, s, 1), flags);
  f.define(s, flags & 0x45u);
}
void fcomi(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  uint32_t flags = 0;
  if (from_single(s))
    COMPARE_FLAGS("comiss", ps(f, s, 0), ps(f, s, 1), flags);
  else
    COMPARE_FLAGS("comisd", pd(f, s, 0), pd(f, s, 1), flags);
  f.define(s, flags & 0x45u);
}
#undef COMPARE_FLAGS

void f32_to_f64(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  put_scalar(f, s, _mm_cvtss_sd(_mm_setzero_pd(), ps(f, s, 0)));
}
void f64_to_f32(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  put_scalar(f, s, _mm_cvtsd_ss(_mm_setzero_ps(), pd(f, s, 0)));
}
void int_to_f32(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  put_scalar(f, s, _mm_cvtsi64_ss(_mm_setzero_ps(), sign_extended(f.arg(s, 0), s.from)));
}
void int_to_f64(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  put_scalar(f, s, _mm_cvtsi64_sd(_mm_setzero_pd(), sign_extended(f.arg(s, 0), s.from)));
}
void float_to_int(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  const bool wide = s.type == ir::Type::I64;
  if (from_single(s)) {
    if (wide)
      f.define(s, static_cast<uint64_t>(_mm_cvtss_si64(ps(f, s, 0))));
    else
      f.define(s, static_cast<uint32_t>(_mm_cvtss_si32(ps(f, s, 0))));
  } else {
    if (wide)
      f.define(s, static_cast<uint64_t>(_mm_cvtsd_si64(pd(f, s, 0))));
    else
      f.define(s, static_cast<uint32_t>(_mm_cvtsd_si32(pd(f, s, 0))));
  }
}
void float_to_int_trunc(Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  const bool wide = s.type == ir::Type::I64;
  if (from_single(s)) {
    if (wide)
      f.define(s, static_cast<uint64_t>(_mm_cvttss_si64(ps(f, s, 0))));
    else
      f.define(s, static_cast<uint32_t>(_mm_cvttss_si32(ps(f, s, 0))));
  } else {
    if (wide)
      f.define(s, static_cast<uint64_t>(_mm_cvttsd_si64(pd(f, s, 0))));
    else
      f.define(s, static_cast<uint32_t>(_mm_cvttsd_si32(pd(f, s, 0))));
  }
}

// --- V128

#define PACKED(name, expression)                \
  void name(Frame& f, const Step& s) noexcept { \
    f.enter_guest_fp();                         \
    put(f, s, expression);                      \
  }
#define PACKED2(name, intrinsic)                               \
  PACKED(name##_f32, intrinsic##_ps(ps(f, s, 0), ps(f, s, 1))) \
  PACKED(name##_f64, intrinsic##_pd(pd(f, s, 0), pd(f, s, 1)))
PACKED2(vadd, add)
PACKED2(vsub, _mm_sub)
PACKED2(vmul, mul)
PACKED2(vdiv, _mm_div)
PACKED2(vmin, _mm_min)
PACKED2(vmax, _mm_max)
PACKED2(vaddsub, _mm_addsub)
PACKED2(vhadd, _mm_hadd)
PACKED2(vhsub, _mm_hsub)
PACKED(vsqrt_f32, _mm_sqrt_ps(ps(f, s, 0)))
PACKED(vsqrt_f64, _mm_sqrt_pd(pd(f, s, 0)))
PACKED(vcmp_f32, compare_ps(ps(f, s, 0), ps(f, s, 1), s.imm))
PACKED(vcmp_f64, compare_pd(pd(f, s, 0), pd(f, s, 1), s.imm))
PACKED(vdp_f32, kDotPs[s.imm & 0xff](ps(f, s, 0), ps(f, s, 1)))
PACKED(vdp_f64, kDotPd[s.imm & 0xff](pd(f, s, 0), pd(f, s, 1)))
PACKED(vround_f32, kRoundPs[s.imm & 15](ps(f, s, 0)))
PACKED(vround_f64, kRoundPd[s.imm & 15](pd(f, s, 0)))
PACKED(vcvt_s32_f32, _mm_cvtepi32_ps(si(f, s, 0)))
PACKED(vcvt_f32_s32, _mm_cvtps_epi32(ps(f, s, 0)))
PACKED(vcvtt_f32_s32, _mm_cvttps_epi32(ps(f, s, 0)))
PACKED(vcvt_s32_f64, _mm_cvtepi32_pd(si(f, s, 0)))
PACKED(vcvt_f64_s32, _mm_cvtpd_epi32(pd(f, s, 0)))
PACKED(vcvtt_f64_s32, _mm_cvttpd_epi32(pd(f, s, 0)))
PACKED(vcvt_f32_f64, _mm_cvtps_pd(ps(f, s, 0)))
PACKED(vcvt_f64_f32, _mm_cvtpd_ps(pd(f, s, 0)))
#undef PACKED
#undef PACKED2

namespace {
// In integers: judges the processors that have an instruction for it.
void soft(Frame& f, const Step& s, SoftOp op) {
  f.enter_guest_fp();
  uint32_t mxcsr = _mm_getcsr();
  SoftVector operands[3];
  for (unsigned k = 0; k < s.nargs; k++) operands[k] = {f.reg(s, k).lo, f.reg(s, k).hi};
  const SoftVector r = soft_vector_op(op, static_cast<uint8_t>(s.imm), operands[0], operands[1], operands[2], mxcsr);
  f.define(s, Reg{r.low, r.high});
  _mm_setcsr(mxcsr);
}
}  // namespace

void ffma(Frame& f, const Step& s) noexcept { soft(f, s, is_single(s) ? SoftOp::Fma32 : SoftOp::Fma64); }
void vfma_f32(Frame& f, const Step& s) noexcept { soft(f, s, SoftOp::Fma32x4); }
void vfma_f64(Frame& f, const Step& s) noexcept { soft(f, s, SoftOp::Fma64x2); }
void vcvt_f16_f32(Frame& f, const Step& s) noexcept { soft(f, s, SoftOp::HalfToFloat); }
void vcvt_f32_f16(Frame& f, const Step& s) noexcept { soft(f, s, SoftOp::FloatToHalf); }

}  // namespace panda::interp::ops
