// Integers. Operands come zero-extended; Frame::define truncates to the result's type.
#include <bit>

#include "backend/interp/step.h"

namespace panda::interp::ops {
namespace {

__extension__ using Uint128 = unsigned __int128;
__extension__ using Int128 = __int128;

unsigned width(const Step& s) { return ir::size_bits(s.type); }
unsigned count_of(const Frame& f, const Step& s) { return static_cast<unsigned>(f.arg(s, 1)) % width(s); }
uint64_t low_bits(uint64_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

bool holds(ir::Cond cond, uint64_t a, uint64_t b, ir::Type type) {
  const int64_t sa = sign_extended(a, type);
  const int64_t sb = sign_extended(b, type);
  switch (cond) {
    case ir::Cond::Eq:
      return a == b;
    case ir::Cond::Ne:
      return a != b;
    case ir::Cond::Ult:
      return a < b;
    case ir::Cond::Ule:
      return a <= b;
    case ir::Cond::Ugt:
      return a > b;
    case ir::Cond::Uge:
      return a >= b;
    case ir::Cond::Slt:
      return sa < sb;
    case ir::Cond::Sle:
      return sa <= sb;
    case ir::Cond::Sgt:
      return sa > sb;
    case ir::Cond::Sge:
      return sa >= sb;
  }
  return false;
}

}  // namespace

void add(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) + f.arg(s, 1)); }
void sub(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) - f.arg(s, 1)); }
void mul(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) * f.arg(s, 1)); }

void mulhu(Frame& f, const Step& s) noexcept {
  f.define(s, static_cast<uint64_t>(Uint128{f.arg(s, 0)} * f.arg(s, 1) >> width(s)));
}
void mulhs(Frame& f, const Step& s) noexcept {
  const Int128 a = sign_extended(f.arg(s, 0), s.type);
  f.define(s, static_cast<uint64_t>(a * sign_extended(f.arg(s, 1), s.type) >> width(s)));
}

void and_(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) & f.arg(s, 1)); }
void or_(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) | f.arg(s, 1)); }
void xor_(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) ^ f.arg(s, 1)); }
void not_(Frame& f, const Step& s) noexcept { f.define(s, ~f.arg(s, 0)); }
void neg(Frame& f, const Step& s) noexcept { f.define(s, 0 - f.arg(s, 0)); }

void shl(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) << count_of(f, s)); }
void shr(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) >> count_of(f, s)); }
void sar(Frame& f, const Step& s) noexcept {
  f.define(s, static_cast<uint64_t>(sign_extended(f.arg(s, 0), s.type) >> count_of(f, s)));
}
void rol(Frame& f, const Step& s) noexcept {
  const uint64_t a = f.arg(s, 0);
  const unsigned n = count_of(f, s);
  f.define(s, n == 0 ? a : a << n | a >> (width(s) - n));
}
void ror(Frame& f, const Step& s) noexcept {
  const uint64_t a = f.arg(s, 0);
  const unsigned n = count_of(f, s);
  f.define(s, n == 0 ? a : a >> n | a << (width(s) - n));
}

void clz(Frame& f, const Step& s) noexcept {
  f.define(s, static_cast<unsigned>(std::countl_zero(f.arg(s, 0))) - (64 - width(s)));
}
void ctz(Frame& f, const Step& s) noexcept {
  const uint64_t a = f.arg(s, 0);
  f.define(s, a == 0 ? width(s) : static_cast<unsigned>(std::countr_zero(a)));
}
void popcnt(Frame& f, const Step& s) noexcept { f.define(s, static_cast<unsigned>(std::popcount(f.arg(s, 0)))); }
void bswap(Frame& f, const Step& s) noexcept { f.define(s, __builtin_bswap64(f.arg(s, 0)) >> (64 - width(s))); }

void crc32c(Frame& f, const Step& s) noexcept {
  auto crc = static_cast<uint32_t>(f.arg(s, 0));
  const uint64_t data = f.arg(s, 1);
  const unsigned bytes = s.aux;  // of the data operand, see aux_of()
  for (unsigned i = 0; i < bytes * 8; i++) {
    const uint32_t feedback = (crc ^ static_cast<uint32_t>(data >> i)) & 1;
    crc = crc >> 1 ^ (feedback != 0 ? 0x82f63b78u : 0);
  }
  f.define(s, crc);
}

void zext(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0)); }
void sext(Frame& f, const Step& s) noexcept { f.define(s, static_cast<uint64_t>(sign_extended(f.arg(s, 0), s.from))); }
void trunc(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0)); }

void deposit(Frame& f, const Step& s) noexcept {
  const unsigned bit = s.imm & 0xff;
  const uint64_t field = low_bits(s.imm >> 8);
  f.define(s, (f.arg(s, 0) & ~(field << bit)) | (f.arg(s, 1) & field) << bit);
}
void extract(Frame& f, const Step& s) noexcept {
  const unsigned bit = s.imm & 0xff;
  f.define(s, f.arg(s, 0) >> bit & low_bits(s.imm >> 8));
}

void icmp(Frame& f, const Step& s) noexcept {
  f.define(s, uint64_t{holds(static_cast<ir::Cond>(s.imm), f.arg(s, 0), f.arg(s, 1), s.from)});
}
void select(Frame& f, const Step& s) noexcept { f.define(s, f.arg(s, 0) != 0 ? f.reg(s, 1) : f.reg(s, 2)); }

}  // namespace panda::interp::ops
