// The lazy arithmetic flags (CcOp in state.h) made real, and EFLAGS as a whole.
#include <bit>

#include "guest/x86/state.h"

namespace panda::x86 {

namespace {

// All flags that depend on the result alone: ZF, SF, PF.
template <typename T>
uint32_t of_result(T r) {
  uint32_t f = 0;
  if (r == 0) f |= kZF;
  if (r >> (sizeof(T) * 8 - 1) != 0) f |= kSF;
  if (std::popcount(static_cast<uint8_t>(r)) % 2 == 0) f |= kPF_;
  return f;
}

template <typename T>
bool top(T v) {
  return (v >> (sizeof(T) * 8 - 1) & 1) != 0;
}

template <typename T>
uint32_t flags_of(uint32_t base, T r, T b, T carry_in) {
  uint32_t f = of_result(r);
  constexpr T kTop = static_cast<T>(T{1} << (sizeof(T) * 8 - 1));
  switch (base) {
    case kCcAdd:
    case kCcAdc: {
      const T c = base == kCcAdc ? static_cast<T>(carry_in & 1) : T{0};
      const T a = static_cast<T>(r - b - c);
      if (c != 0 ? r <= a : r < a) f |= kCF;
      if (((a ^ b ^ r) & 0x10) != 0) f |= kAF;
      if (top(static_cast<T>((a ^ r) & (b ^ r)))) f |= kOF_;
      break;
    }
    case kCcSub:
    case kCcSbb: {
      const T c = base == kCcSbb ? static_cast<T>(carry_in & 1) : T{0};
      const T a = static_cast<T>(r + b + c);
      if (c != 0 ? a <= b : a < b) f |= kCF;
      if (((a ^ b ^ r) & 0x10) != 0) f |= kAF;
      if (top(static_cast<T>((a ^ b) & (a ^ r)))) f |= kOF_;
      break;
    }
    case kCcInc:
      if ((b & 1) != 0) f |= kCF;
      if ((r & 0xf) == 0) f |= kAF;
      if (r == kTop) f |= kOF_;
      break;
    case kCcDec:
      if ((b & 1) != 0) f |= kCF;
      if ((r & 0xf) == 0xf) f |= kAF;
      if (r == static_cast<T>(kTop - 1)) f |= kOF_;
      break;
    case kCcShl:
      if (top(b)) f |= kCF;
      if (top(static_cast<T>(b ^ r))) f |= kOF_;
      break;
    case kCcSar:
      if ((b & 1) != 0) f |= kCF;
      if (top(static_cast<T>(b ^ r))) f |= kOF_;
      break;
    case kCcMul:
      if (b != 0) f |= kCF | kOF_;
      break;
    default:
      break;  // kCcLogic
  }
  return f;
}

}  // namespace

uint32_t compute_flags(uint32_t cc_op, uint64_t dst, uint64_t src, uint64_t src2) {
  const uint32_t base = cc_op & ~3u;
  if (base == kCcFlags) return static_cast<uint32_t>(src) & kArithmeticFlags;
  switch (cc_op & 3) {
    case 0:
      return flags_of(base, static_cast<uint8_t>(dst), static_cast<uint8_t>(src), static_cast<uint8_t>(src2));
    case 1:
      return flags_of(base, static_cast<uint16_t>(dst), static_cast<uint16_t>(src), static_cast<uint16_t>(src2));
    case 2:
      return flags_of(base, static_cast<uint32_t>(dst), static_cast<uint32_t>(src), static_cast<uint32_t>(src2));
    default:
      return flags_of(base, dst, src, src2);
  }
}

uint32_t Cpu::eflags() const {
  const uint32_t arithmetic = compute_flags(s_.cc_op, s_.cc_dst, s_.cc_src, s_.cc_src2);
  const uint32_t system = static_cast<uint32_t>(s_.eflags) & ~(kArithmeticFlags | kDF_);
  return system | arithmetic | (s_.df < 0 ? kDF_ : 0) | 2;
}

void Cpu::set_eflags(uint32_t v) {
  s_.cc_op = kCcFlags;
  s_.cc_src = v & kArithmeticFlags;
  s_.cc_dst = 0;
  s_.cc_src2 = 0;
  s_.df = (v & kDF_) != 0 ? -1 : 1;
  s_.eflags = (v & ~(kArithmeticFlags | kDF_)) | 2;
}

}  // namespace panda::x86
