#include "ir/fold.h"

#include <bit>

namespace panda::ir {
namespace {

uint64_t sign_extend(uint64_t v, Type t) {
  const unsigned bits = size_bits(t);
  if (bits >= 64) return v;
  const uint64_t sign = uint64_t{1} << (bits - 1);
  return ((v & mask_of(t)) ^ sign) - sign;
}

uint64_t field_mask(uint64_t width) { return width >= 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1; }

uint64_t rotate_left(uint64_t a, unsigned n, unsigned bits) { return n == 0 ? a : a << n | a >> (bits - n); }

}  // namespace

bool compare(Cond cond, Type type, uint64_t a, uint64_t b) {
  const auto sa = static_cast<int64_t>(sign_extend(a, type));
  const auto sb = static_cast<int64_t>(sign_extend(b, type));
  switch (cond) {
    case Cond::Eq:
      return a == b;
    case Cond::Ne:
      return a != b;
    case Cond::Ult:
      return a < b;
    case Cond::Ule:
      return a <= b;
    case Cond::Ugt:
      return a > b;
    case Cond::Uge:
      return a >= b;
    case Cond::Slt:
      return sa < sb;
    case Cond::Sle:
      return sa <= sb;
    case Cond::Sgt:
      return sa > sb;
    case Cond::Sge:
      return sa >= sb;
  }
  return false;
}

std::optional<uint64_t> fold_int(Op op, Type type, Type from, uint64_t a, uint64_t b, uint64_t c, uint64_t imm) {
  const unsigned bits = size_bits(type);
  const uint64_t mask = mask_of(type);
  const unsigned n = static_cast<unsigned>(b) & (bits - 1);  // shift count; bits is a power of two
  switch (op) {
    case Op::add:
      return (a + b) & mask;
    case Op::sub:
      return (a - b) & mask;
    case Op::mul:
      return (a * b) & mask;
    case Op::and_:
      return a & b;
    case Op::or_:
      return a | b;
    case Op::xor_:
      return a ^ b;
    case Op::not_:
      return ~a & mask;
    case Op::neg:
      return (0 - a) & mask;
    case Op::shl:
      return (a << n) & mask;
    case Op::shr:
      return a >> n;
    case Op::sar:
      return static_cast<uint64_t>(static_cast<int64_t>(sign_extend(a, type)) >> n) & mask;
    case Op::rol:
      return rotate_left(a, n, bits) & mask;
    case Op::ror:
      return rotate_left(a, (bits - n) & (bits - 1), bits) & mask;
    case Op::clz:
      return a == 0 ? bits : static_cast<unsigned>(std::countl_zero(a)) - (64 - bits);
    case Op::ctz:
      return a == 0 ? bits : static_cast<unsigned>(std::countr_zero(a));
    case Op::popcnt:
      return static_cast<unsigned>(std::popcount(a));
    case Op::bswap:
      return __builtin_bswap64(a) >> (64 - bits);
    case Op::zext:
      return a;
    case Op::sext:
      return sign_extend(a, from) & mask;
    case Op::trunc:
      return a & mask;
    case Op::extract:
      return (a >> (imm & 0xff)) & field_mask(imm >> 8);
    case Op::deposit: {
      const uint64_t field = field_mask(imm >> 8) << (imm & 0xff);
      return ((a & ~field) | ((b << (imm & 0xff)) & field)) & mask;
    }
    case Op::icmp:
      return compare(static_cast<Cond>(imm), from, a, b) ? 1 : 0;
    case Op::select:
      if (!is_int(type)) return std::nullopt;
      return a != 0 ? b : c;
    default:
      return std::nullopt;
  }
}

Simplified simplify(Op op, Type type, Type from, uint64_t imm, const bool* known, const uint64_t* v, bool same) {
  const uint64_t ones = mask_of(type);
  const auto operand = [](uint8_t i) { return Simplified{Simplified::Operand, i, 0}; };
  const auto constant = [](uint64_t value) { return Simplified{Simplified::Constant, 0, value}; };
  const auto is = [&](unsigned i, uint64_t value) { return known[i] && v[i] == value; };
  switch (op) {
    case Op::add:
      if (is(1, 0)) return operand(0);
      if (is(0, 0)) return operand(1);
      break;
    case Op::sub:
      if (same) return constant(0);
      if (is(1, 0)) return operand(0);
      break;
    case Op::mul:
      if (is(0, 0) || is(1, 0)) return constant(0);
      if (is(1, 1)) return operand(0);
      if (is(0, 1)) return operand(1);
      break;
    case Op::and_:
      if (same || is(1, ones)) return operand(0);
      if (is(0, ones)) return operand(1);
      if (is(0, 0) || is(1, 0)) return constant(0);
      break;
    case Op::or_:
      if (same || is(1, 0)) return operand(0);
      if (is(0, 0)) return operand(1);
      if (is(0, ones) || is(1, ones)) return constant(ones);
      break;
    case Op::xor_:
      if (same) return constant(0);
      if (is(1, 0)) return operand(0);
      if (is(0, 0)) return operand(1);
      break;
    case Op::shl:
    case Op::shr:
    case Op::sar:
    case Op::rol:
    case Op::ror:
      if (known[1] && (v[1] & (size_bits(type) - 1)) == 0) return operand(0);
      if (is(0, 0)) return constant(0);
      break;
    case Op::zext:
    case Op::sext:
    case Op::trunc:
      if (type == from) return operand(0);
      break;
    case Op::deposit:
      if (imm >> 8 == size_bits(type)) return operand(1);
      break;
    case Op::extract:
      if (imm >> 8 == size_bits(type)) return operand(0);
      break;
    case Op::icmp:
      if (same) return constant(compare(static_cast<Cond>(imm), from, 0, 0) ? 1 : 0);
      if (is(1, 0) && static_cast<Cond>(imm) == Cond::Ult) return constant(0);
      if (is(1, 0) && static_cast<Cond>(imm) == Cond::Uge) return constant(1);
      break;
    case Op::select:
      if (known[0]) return operand(v[0] != 0 ? 1 : 2);
      break;
    default:
      break;
  }
  return {};
}

}  // namespace panda::ir
