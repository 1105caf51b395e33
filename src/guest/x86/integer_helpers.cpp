#include "guest/x86/integer_helpers.h"

#include <bit>

#include "guest/x86/system.h"
#include "memory/outside.h"

namespace panda::x86 {

namespace {

using ir::HelperDesc;
using ir::StateRange;
using ir::Type;

template <typename F>
const void* address_of(F* function) {
  return reinterpret_cast<const void*>(function);
}

// ---- faults

void raise_packed(Cpu cpu, uint32_t packed) noexcept {
  std::optional<uint16_t> code;
  if ((packed & 0x100) != 0) code = static_cast<uint16_t>(packed >> 16);
  raise(cpu, static_cast<Vector>(packed & 0xff), code);
}

void helper_raise(void* state, uint32_t packed) noexcept { raise_packed(Cpu(state), packed); }

void helper_raise_if(void* state, uint32_t condition, uint32_t packed) noexcept {
  if ((condition & 1) != 0) raise_packed(Cpu(state), packed);
}

void helper_software_int(void* state, uint32_t vector, uint64_t next_eip) noexcept {
  raise_software(Cpu(state), static_cast<uint8_t>(vector), next_eip);
}

void helper_int3(void* state, uint64_t next_eip) noexcept { raise_trap(Cpu(state), kBP, next_eip); }

void helper_int1(void* state, uint64_t next_eip) noexcept { raise_int1(Cpu(state), next_eip); }

void helper_into(void* state, uint32_t condition, uint64_t next_eip) noexcept {
  if ((condition & 1) != 0) raise_trap(Cpu(state), kOF, next_eip);
}

void helper_check_segment(void* state, uint32_t seg, uint64_t offset, uint32_t access) noexcept {
  check_segment(Cpu(state), seg, offset, access & 0xffff, (access >> 16) != 0);
}

void helper_check_target(void* state, uint64_t eip) noexcept {
  Cpu cpu(state);
  if (eip > cpu.s().segs[R_CS].limit) raise(cpu, kGP, uint16_t{0});
}

// ---- flags

uint32_t helper_flags(void*, uint32_t cc_op, uint64_t dst, uint64_t src, uint64_t src2) noexcept {
  return compute_flags(cc_op, dst, src, src2);
}

uint32_t helper_carry(void*, uint32_t cc_op, uint64_t dst, uint64_t src, uint64_t src2) noexcept {
  return compute_flags(cc_op, dst, src, src2) & kCF;
}

// After CMP and SUB, which most conditions follow. pair: condition code >> 1; not parity.
template <typename T>
bool condition_after_sub(unsigned pair, uint64_t dst, uint64_t src) {
  const auto r = static_cast<T>(dst), b = static_cast<T>(src), a = static_cast<T>(r + b);
  using Signed = std::make_signed_t<T>;
  const auto sa = static_cast<Signed>(a), sb = static_cast<Signed>(b), sr = static_cast<Signed>(r);
  switch (pair) {
    case 0:
      return (sa < sb) != (sr < 0);
    case 1:
      return a < b;
    case 2:
      return r == 0;
    case 3:
      return a <= b;
    case 4:
      return sr < 0;
    case 6:
      return sa < sb;
    default:
      return sa <= sb;
  }
}

bool condition_after_sub(unsigned width, unsigned pair, uint64_t dst, uint64_t src) {
  switch (width) {
    case 0:
      return condition_after_sub<uint8_t>(pair, dst, src);
    case 1:
      return condition_after_sub<uint16_t>(pair, dst, src);
    case 2:
      return condition_after_sub<uint32_t>(pair, dst, src);
    default:
      return condition_after_sub<uint64_t>(pair, dst, src);
  }
}

uint32_t helper_condition(void*, uint32_t packed, uint64_t dst, uint64_t src, uint64_t src2) noexcept {
  constexpr unsigned kParity = 5;
  const unsigned pair = packed >> 17 & 7;
  if ((packed & 0xfffc) == kCcSub && pair != kParity) {
    return condition_after_sub(packed & 3, pair, dst, src) != ((packed >> 16 & 1) != 0) ? 1 : 0;
  }
  const uint32_t f = compute_flags(packed & 0xffff, dst, src, src2);
  const bool of = (f & kOF_) != 0;
  const bool sf = (f & kSF) != 0;
  bool result = false;
  switch (pair) {
    case 0:
      result = of;
      break;
    case 1:
      result = (f & kCF) != 0;
      break;
    case 2:
      result = (f & kZF) != 0;
      break;
    case 3:
      result = (f & (kCF | kZF)) != 0;
      break;
    case 4:
      result = sf;
      break;
    case 5:
      result = (f & kPF_) != 0;
      break;
    case 6:
      result = sf != of;
      break;
    default:
      result = sf != of || (f & kZF) != 0;
      break;
  }
  return result != ((packed >> 16 & 1) != 0) ? 1 : 0;
}

// ---- division

void helper_div8(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const uint64_t rax = cpu.reg(R_EAX);
  const uint32_t dividend = rax & 0xffff;
  divisor &= 0xff;
  if (divisor == 0 || dividend / divisor > 0xff) {
    raise(cpu, kDE);
    return;
  }
  cpu.set_reg(R_EAX, (rax & ~uint64_t{0xffff}) | (dividend % divisor) << 8 | dividend / divisor);
}

void helper_idiv8(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const uint64_t rax = cpu.reg(R_EAX);
  const int32_t dividend = static_cast<int16_t>(rax);
  const int32_t d = static_cast<int8_t>(divisor);
  if (d == 0 || dividend / d != static_cast<int8_t>(dividend / d)) {
    raise(cpu, kDE);
    return;
  }
  const auto quotient = static_cast<uint8_t>(dividend / d);
  const auto remainder = static_cast<uint8_t>(dividend % d);
  cpu.set_reg(R_EAX, (rax & ~uint64_t{0xffff}) | uint64_t{remainder} << 8 | quotient);
}

void set_pair16(Cpu cpu, uint16_t quotient, uint16_t remainder) {
  cpu.set_reg(R_EAX, (cpu.reg(R_EAX) & ~uint64_t{0xffff}) | quotient);
  cpu.set_reg(R_EDX, (cpu.reg(R_EDX) & ~uint64_t{0xffff}) | remainder);
}

void helper_div16(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const uint32_t dividend = static_cast<uint32_t>(cpu.reg(R_EDX) & 0xffff) << 16 | (cpu.reg(R_EAX) & 0xffff);
  divisor &= 0xffff;
  if (divisor == 0 || dividend / divisor > 0xffff) {
    raise(cpu, kDE);
    return;
  }
  set_pair16(cpu, static_cast<uint16_t>(dividend / divisor), static_cast<uint16_t>(dividend % divisor));
}

void helper_idiv16(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const auto dividend = static_cast<int64_t>(
      static_cast<int32_t>(static_cast<uint32_t>(cpu.reg(R_EDX) & 0xffff) << 16 | (cpu.reg(R_EAX) & 0xffff)));
  const int64_t d = static_cast<int16_t>(divisor);
  if (d == 0 || dividend / d != static_cast<int16_t>(dividend / d)) {
    raise(cpu, kDE);
    return;
  }
  set_pair16(cpu, static_cast<uint16_t>(dividend / d), static_cast<uint16_t>(dividend % d));
}

void helper_div32(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const uint64_t dividend = cpu.reg(R_EDX) << 32 | (cpu.reg(R_EAX) & 0xffff'ffff);
  if (divisor == 0 || dividend / divisor > 0xffff'ffff) {
    raise(cpu, kDE);
    return;
  }
  cpu.set_reg(R_EAX, dividend / divisor);
  cpu.set_reg(R_EDX, dividend % divisor);
}

void helper_idiv32(void* state, uint32_t divisor) noexcept {
  Cpu cpu(state);
  const auto dividend = static_cast<int64_t>(cpu.reg(R_EDX) << 32 | (cpu.reg(R_EAX) & 0xffff'ffff));
  const int64_t d = static_cast<int32_t>(divisor);
  if (d == 0 || (dividend == INT64_MIN && d == -1) || dividend / d != static_cast<int32_t>(dividend / d)) {
    raise(cpu, kDE);
    return;
  }
  cpu.set_reg(R_EAX, static_cast<uint32_t>(dividend / d));
  cpu.set_reg(R_EDX, static_cast<uint32_t>(dividend % d));
}

__extension__ using Uint128 = unsigned __int128;

void helper_div64(void* state, uint64_t divisor) noexcept {
  Cpu cpu(state);
  const uint64_t high = cpu.reg(R_EDX);
  const uint64_t low = cpu.reg(R_EAX);
  if (divisor == 0 || high >= divisor) {
    raise(cpu, kDE);
    return;
  }
  if (high == 0) {
    cpu.set_reg(R_EAX, low / divisor);
    cpu.set_reg(R_EDX, low % divisor);
    return;
  }
  const Uint128 dividend = static_cast<Uint128>(high) << 64 | low;
  cpu.set_reg(R_EAX, static_cast<uint64_t>(dividend / divisor));
  cpu.set_reg(R_EDX, static_cast<uint64_t>(dividend % divisor));
}

void helper_idiv64(void* state, uint64_t divisor) noexcept {
  Cpu cpu(state);
  const Uint128 raw = static_cast<Uint128>(cpu.reg(R_EDX)) << 64 | cpu.reg(R_EAX);
  const bool negative = static_cast<int64_t>(cpu.reg(R_EDX)) < 0;
  const bool divisor_negative = static_cast<int64_t>(divisor) < 0;
  const Uint128 dividend = negative ? -raw : raw;
  const uint64_t d = divisor_negative ? -divisor : divisor;
  // The quotient's magnitude must fit: up to 2^63 where it is negative, else 2^63 - 1.
  const bool quotient_negative = negative != divisor_negative;
  const Uint128 largest = (static_cast<Uint128>(1) << 63) - (quotient_negative ? 0 : 1);
  if (d == 0 || dividend / d > largest) {
    raise(cpu, kDE);
    return;
  }
  const auto quotient = static_cast<uint64_t>(dividend / d);
  const auto remainder = static_cast<uint64_t>(dividend % d);
  cpu.set_reg(R_EAX, quotient_negative ? -quotient : quotient);
  cpu.set_reg(R_EDX, negative ? -remainder : remainder);
}

// ---- rotates through carry: a bit at a time, since counts are small

struct Rotated {
  uint64_t value;
  uint32_t flags;
};

Rotated rotate_carry(uint64_t value, uint32_t packed, uint32_t flags, bool left) {
  const unsigned width = packed >> 8;
  const unsigned count = (packed & (width == 64 ? 63 : 31)) % (width + 1);
  const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  value &= mask;
  uint64_t carry = flags & kCF;
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t out = left ? value >> (width - 1) : value & 1;
    value = left ? (value << 1 | carry) & mask : value >> 1 | carry << (width - 1);
    carry = out;
  }
  if ((packed & (width == 64 ? 63 : 31)) == 0) return {value, flags};
  const uint64_t top = value >> (width - 1) & 1;
  const uint64_t overflow = left ? top ^ carry : top ^ (value >> (width - 2) & 1);
  return {value, (flags & ~(kCF | kOF_)) | static_cast<uint32_t>(carry) | (overflow != 0 ? kOF_ : 0)};
}

uint64_t helper_rcl_value(void*, uint64_t v, uint32_t packed, uint32_t flags) noexcept {
  return rotate_carry(v, packed, flags, true).value;
}
uint32_t helper_rcl_flags(void*, uint64_t v, uint32_t packed, uint32_t flags) noexcept {
  return rotate_carry(v, packed, flags, true).flags;
}
uint64_t helper_rcr_value(void*, uint64_t v, uint32_t packed, uint32_t flags) noexcept {
  return rotate_carry(v, packed, flags, false).value;
}
uint32_t helper_rcr_flags(void*, uint64_t v, uint32_t packed, uint32_t flags) noexcept {
  return rotate_carry(v, packed, flags, false).flags;
}

// ---- decimal

uint32_t result_flags8(uint32_t al) {
  return (al == 0 ? kZF : 0) | (al & kSF) | (std::popcount(al) % 2 == 0 ? kPF_ : 0);
}

uint32_t decimal_adjust(uint32_t ax, uint32_t flags, bool subtract) {
  const uint32_t old_al = ax & 0xff;
  uint32_t al = old_al;
  uint32_t out = 0;
  if ((al & 0xf) > 9 || (flags & kAF) != 0) {
    if (subtract && (al < 6 || (flags & kCF) != 0)) out |= kCF;
    if (!subtract && (al + 6 > 0xff || (flags & kCF) != 0)) out |= kCF;
    al = (subtract ? al - 6 : al + 6) & 0xff;
    out |= kAF;
  }
  if (old_al > 0x99 || (flags & kCF) != 0) {
    al = (subtract ? al - 0x60 : al + 0x60) & 0xff;
    out |= kCF;
  } else if (!subtract) {
    out &= ~kCF;
  }
  return (ax & 0xff00) | al | (out | result_flags8(al)) << 16;
}

uint32_t ascii_adjust(uint32_t ax, uint32_t flags, bool subtract) {
  uint32_t out = 0;
  if ((ax & 0xf) > 9 || (flags & kAF) != 0) {
    ax = subtract ? ax - 0x106 : ax + 0x106;
    out = kAF | kCF;
  }
  ax &= 0xff0f;
  return ax | (out | result_flags8(ax & 0xff)) << 16;
}

uint32_t helper_daa(void*, uint32_t ax, uint32_t flags) noexcept { return decimal_adjust(ax & 0xffff, flags, false); }
uint32_t helper_das(void*, uint32_t ax, uint32_t flags) noexcept { return decimal_adjust(ax & 0xffff, flags, true); }
uint32_t helper_aaa(void*, uint32_t ax, uint32_t flags) noexcept { return ascii_adjust(ax & 0xffff, flags, false); }
uint32_t helper_aas(void*, uint32_t ax, uint32_t flags) noexcept { return ascii_adjust(ax & 0xffff, flags, true); }

// ---- BMI2

uint64_t helper_pdep(void*, uint64_t source, uint64_t mask) noexcept {
  uint64_t result = 0;
  for (; mask != 0; mask &= mask - 1, source >>= 1) {
    if ((source & 1) != 0) result |= mask & (~mask + 1);
  }
  return result;
}

uint64_t helper_pext(void*, uint64_t source, uint64_t mask) noexcept {
  uint64_t result = 0;
  for (unsigned i = 0; mask != 0; mask &= mask - 1, ++i) {
    if ((source & mask & (~mask + 1)) != 0) result |= uint64_t{1} << i;
  }
  return result;
}

// ---- EFLAGS

bool interrupt_waits(Cpu cpu) {
  Outside* outside = cpu.context().outside;
  return outside == nullptr || outside->interrupt_pending();
}

void leave_unit(Cpu cpu, uint64_t next_eip) {
  cpu.s().eip = next_eip;
  cpu.context().request(ExitRequest::Dispatch);
}

// SDM vol. 2, POPF, "EFLAGS after POPF"; virtual-8086 mode below IOPL 3 is in virtual_interrupts.cpp.
void helper_popf(void* state, uint64_t value, uint32_t bytes, uint64_t next_eip) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  uint32_t changeable = kArithmeticFlags | kDF_ | kTF | kNT | kACflag | kID;
  const unsigned iopl = static_cast<unsigned>(s.eflags & kIOPL) >> 12;
  if ((s.hflags & kModePe) == 0 || cpu.cpl() == 0)
    changeable |= kIOPL | kIF;
  else if ((s.hflags & kModeVm) != 0 || cpu.cpl() <= iopl)
    changeable |= kIF;
  if (bytes == 2) changeable &= 0xffff;
  const uint32_t old = cpu.eflags();
  // A 32- or 64-bit POPF clears RF and, of the most privileged, VIP and VIF; VM stays.
  const bool privileged = (s.hflags & kModePe) == 0 || cpu.cpl() == 0;
  const uint32_t cleared = bytes == 2 ? 0 : kRF | (privileged ? kVIP | kVIF : 0);
  const uint32_t now = (old & ~(changeable | cleared)) | (static_cast<uint32_t>(value) & changeable) | 2;
  cpu.set_eflags(now);
  const uint64_t old_mode = s.hflags;
  if (((old ^ now) & (kTF | kIOPL | kACflag)) != 0) update_flow_hflags(cpu);
  const bool opens = (now & ~old & kIF) != 0 && interrupt_waits(cpu);
  if (s.hflags != old_mode || opens || (now & kTF) != 0) leave_unit(cpu, next_eip);
}

void helper_sti(void* state, uint64_t next_eip) noexcept {
  Cpu cpu(state);
  if ((cpu.s().eflags & kIF) != 0) return;
  cpu.s().eflags |= kIF;
  cpu.s().inhibit_irq = kShadowOfSti;
  // With nothing waiting, the next instruction of the unit ends the shadow (X86Frontend::translate).
  if (cpu.context().exact != 0 || interrupt_waits(cpu)) leave_unit(cpu, next_eip);
}

// ---- descriptors

constexpr StateRange kRaxToRdx{offsetof(State, regs64), offsetof(State, regs64) + 24};
constexpr StateRange kSegments{offsetof(State, segs), offsetof(State, ldt)};

template <typename F>
HelperDesc pure(std::string_view name, F* function, Type result, std::array<Type, 4> params) {
  return {.name = name,
          .function = address_of(function),
          .result = result,
          .params = params,
          .reads = ir::kNoState,
          .writes = ir::kNoState,
          .may_exit = false,
          .pure = true};
}

template <typename F>
HelperDesc exiting(std::string_view name, F* function, std::array<Type, 4> params) {
  return {.name = name, .function = address_of(function), .result = Type::Void, .params = params};
}

// Reads little, writes nothing but the pending exception (which no translated code looks at).
template <typename F>
HelperDesc checking(std::string_view name, F* function, std::array<Type, 4> params) {
  return {.name = name,
          .function = address_of(function),
          .result = Type::Void,
          .params = params,
          .reads = kSegments,
          .writes = ir::kNoState};
}

template <typename F>
HelperDesc division(std::string_view name, F* function, Type type) {
  return {.name = name,
          .function = address_of(function),
          .result = Type::Void,
          .params = {type},
          .reads = kRaxToRdx,
          .writes = kRaxToRdx};
}

constexpr std::array<Type, 4> kCcParams{Type::I32, Type::I64, Type::I64, Type::I64};
constexpr std::array<Type, 4> kRotateParams{Type::I64, Type::I32, Type::I32};

}  // namespace

const HelperDesc kHelperRaise = exiting("x86_raise", helper_raise, {Type::I32});
const HelperDesc kHelperRaiseIf = checking("x86_raise_if", helper_raise_if, {Type::I1, Type::I32});
const HelperDesc kHelperSoftwareInt = exiting("x86_software_int", helper_software_int, {Type::I32, Type::I64});
const HelperDesc kHelperInt3 = exiting("x86_int3", helper_int3, {Type::I64});
const HelperDesc kHelperInt1 = exiting("x86_int1", helper_int1, {Type::I64});
const HelperDesc kHelperInto = exiting("x86_into", helper_into, {Type::I1, Type::I64});
const HelperDesc kHelperCheckSegment =
    checking("x86_check_segment", helper_check_segment, {Type::I32, Type::I64, Type::I32});
const HelperDesc kHelperCheckTarget = checking("x86_check_target", helper_check_target, {Type::I64});

const HelperDesc kHelperFlags = pure("x86_flags", helper_flags, Type::I32, kCcParams);
const HelperDesc kHelperCarry = pure("x86_carry", helper_carry, Type::I1, kCcParams);
const HelperDesc kHelperCondition = pure("x86_condition", helper_condition, Type::I1, kCcParams);

const HelperDesc kHelperDiv8 = division("x86_div8", helper_div8, Type::I8);
const HelperDesc kHelperDiv16 = division("x86_div16", helper_div16, Type::I16);
const HelperDesc kHelperDiv32 = division("x86_div32", helper_div32, Type::I32);
const HelperDesc kHelperDiv64 = division("x86_div64", helper_div64, Type::I64);
const HelperDesc kHelperIdiv8 = division("x86_idiv8", helper_idiv8, Type::I8);
const HelperDesc kHelperIdiv16 = division("x86_idiv16", helper_idiv16, Type::I16);
const HelperDesc kHelperIdiv32 = division("x86_idiv32", helper_idiv32, Type::I32);
const HelperDesc kHelperIdiv64 = division("x86_idiv64", helper_idiv64, Type::I64);

const HelperDesc kHelperRclValue = pure("x86_rcl_value", helper_rcl_value, Type::I64, kRotateParams);
const HelperDesc kHelperRclFlags = pure("x86_rcl_flags", helper_rcl_flags, Type::I32, kRotateParams);
const HelperDesc kHelperRcrValue = pure("x86_rcr_value", helper_rcr_value, Type::I64, kRotateParams);
const HelperDesc kHelperRcrFlags = pure("x86_rcr_flags", helper_rcr_flags, Type::I32, kRotateParams);

const HelperDesc kHelperDaa = pure("x86_daa", helper_daa, Type::I32, {Type::I16, Type::I32});
const HelperDesc kHelperDas = pure("x86_das", helper_das, Type::I32, {Type::I16, Type::I32});
const HelperDesc kHelperAaa = pure("x86_aaa", helper_aaa, Type::I32, {Type::I16, Type::I32});
const HelperDesc kHelperAas = pure("x86_aas", helper_aas, Type::I32, {Type::I16, Type::I32});

const HelperDesc kHelperPdep = pure("x86_pdep", helper_pdep, Type::I64, {Type::I64, Type::I64});
const HelperDesc kHelperPext = pure("x86_pext", helper_pext, Type::I64, {Type::I64, Type::I64});

const HelperDesc kHelperPopf = exiting("x86_popf", helper_popf, {Type::I64, Type::I32, Type::I64});
const HelperDesc kHelperSti = exiting("x86_sti", helper_sti, {Type::I64});

// ---- segment checks

bool segment_permits(const State& s, unsigned seg, uint64_t offset, uint64_t bytes, bool write) noexcept {
  const SegmentCache& c = s.segs[seg];
  bool expand_down = false;
  if ((s.hflags & (kModePe | kModeVm)) == kModePe) {
    const bool code = (c.flags & 0x800) != 0;
    const bool read_write = (c.flags & 0x200) != 0;  // code: readable, data: writable
    if ((c.flags & 0x8000) == 0) return false;       // not present, or a null selector
    if (write && (code || !read_write)) return false;
    if (!write && code && !read_write) return false;
    expand_down = !code && (c.flags & 0x400) != 0;
  }
  const uint64_t last = offset + bytes - 1;
  if (!expand_down) return last <= c.limit;
  const uint64_t top = (c.flags & 0x40'0000) != 0 ? 0xffff'ffff : 0xffff;
  return offset > c.limit && last <= top;
}

bool check_segment(Cpu cpu, unsigned seg, uint64_t offset, uint64_t bytes, bool write) noexcept {
  if (segment_permits(cpu.s(), seg, offset, bytes, write)) return true;
  return raise(cpu, seg == R_SS ? kSS : kGP, uint16_t{0});
}

}  // namespace panda::x86
