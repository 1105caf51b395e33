#include "ir/type_check.h"

#include <array>

#include "ir/report_call.h"

namespace panda::ir {
namespace {

constexpr bool is_wide_int(Type t) { return t == Type::I32 || t == Type::I64; }
constexpr bool is_lane(Type t) { return (is_int(t) && t != Type::I1) || is_float(t); }

// Ops whose `T` may be I1.
constexpr bool allows_i1(Op op) {
  return op == Op::and_ || op == Op::or_ || op == Op::xor_ || op == Op::trunc || op == Op::select;
}

constexpr bool matches(Sig sig, Type t, const Inst& in) {
  switch (sig) {
    case Sig::None:
      return false;
    case Sig::Void:
      return t == Type::Void;
    case Sig::I1:
      return t == Type::I1;
    case Sig::I8:
      return t == Type::I8;
    case Sig::I16:
      return t == Type::I16;
    case Sig::I32:
      return t == Type::I32;
    case Sig::I64:
      return t == Type::I64;
    case Sig::F32:
      return t == Type::F32;
    case Sig::F64:
      return t == Type::F64;
    case Sig::V128:
      return t == Type::V128;
    case Sig::F80:
      return t == Type::F80;
    case Sig::T:
      return t == in.type && is_int(t) && (t != Type::I1 || allows_i1(in.op));
    case Sig::X:
      return t == in.type && t != Type::Void;
    case Sig::Any:
      return t != Type::Void;
  }
  return false;
}

std::string_view call_error(const Inst& in, const Type* args) {
  if (in.imm == 0) return "call without a helper";
  const auto& helper = *reinterpret_cast<const HelperDesc*>(in.imm);
  const ReportCall* const report = as_report(helper);
  if (helper.function == nullptr) return "helper without a function";
  if (in.type != helper.result) return "result is not of the helper's type";
  for (unsigned i = 0; i < helper.params.size(); i++) {
    const bool present = i < in.nargs;
    if (present != (helper.params[i] != Type::Void)) return "number of operands is not the helper's";
    const bool stored = report != nullptr && report->buffer != nullptr && i + 1 == in.nargs;
    if (present && (args[i] != helper.params[i] || !(is_int(args[i]) || stored))) {
      return "operand is not of the helper's type";
    }
  }
  if (in.type != Type::Void && !is_int(in.type)) return "a helper returns an integer or nothing";
  return {};
}

// An F80 is made and used by its own ops, get and set alone.
std::string_view f80_error(const Inst& in) {
  if (in.type == Type::F80 && in.op != Op::get && in.op != Op::set && (in.op < Op::f80_load || in.op > Op::f80_xam)) {
    return "not of F80";
  }
  const auto format = static_cast<F80Format>(in.aux);
  switch (in.op) {
    case Op::f80_load:
      if (in.aux > static_cast<uint32_t>(F80Format::I64)) return "bad format";
      return {};
    case Op::f80_store:
      if (in.aux >= kF80Formats) return "bad format";
      return {};
    case Op::f80_add_load:
    case Op::f80_sub_load:
    case Op::f80_subr_load:
    case Op::f80_mul_load:
    case Op::f80_div_load:
    case Op::f80_divr_load:
    case Op::f80_com_load:
      if (format != F80Format::F32 && format != F80Format::F64 && format != F80Format::I16 &&
          format != F80Format::I32) {
        return "bad format";
      }
      return {};
    case Op::f80_const:
      if (in.imm > 6) return "no such constant";
      return {};
    default:
      return {};
  }
}

// Rules that the rows state in words.
std::string_view special_error(const Inst& in, const Type* args) {
  const unsigned bits = size_bits(in.type);
  if (const auto what = f80_error(in); !what.empty()) return what;
  switch (in.op) {
    case Op::set:
      if (args[0] != in.type) return "type is not that of the stored value";
      return {};
    case Op::store:
      if (args[1] != in.type) return "type is not that of the stored value";
      [[fallthrough]];
    case Op::load:
      if (in.type == Type::I1) return "memory holds no I1";
      if (MemInfo::unpack(in.imm).pack() != in.imm) return "bad memory information";
      return {};
    case Op::mulhu:
    case Op::mulhs:
      if (!is_wide_int(in.type)) return "I32 or I64 only";
      return {};
    case Op::bswap:
      if (in.type == Type::I8) return "not of I8";
      return {};
    case Op::crc32c:
      if (!is_int(args[1]) || args[1] == Type::I1) return "data must be I8 to I64";
      return {};
    case Op::zext:
    case Op::sext:
      if (!is_int(args[0]) || size_bits(args[0]) > bits) return "operand must be a narrower integer";
      return {};
    case Op::trunc:
      if (!is_int(args[0]) || size_bits(args[0]) < bits) return "operand must be a wider integer";
      return {};
    case Op::deposit:
    case Op::extract: {
      const uint64_t bit = in.imm & 0xff;
      const uint64_t width = in.imm >> 8;
      if (width == 0 || width > bits || bit + width > bits) return "bit field outside the value";
      return {};
    }
    case Op::icmp:
      if (!is_int(args[0]) || args[0] != args[1]) return "operands must be integers of one type";
      if (in.imm > static_cast<uint64_t>(Cond::Sge)) return "bad condition";
      if (args[0] == Type::I1 && in.imm >= static_cast<uint64_t>(Cond::Slt)) return "an I1 has no sign";
      return {};
    case Op::fcmp_mask:
      if (in.imm > 7) return "bad predicate";
      [[fallthrough]];
    case Op::fadd:
    case Op::fsub:
    case Op::fmul:
    case Op::fdiv:
    case Op::fmin:
    case Op::fmax:
    case Op::fsqrt:
    case Op::fround:
      if (!is_float(in.type)) return "F32 or F64 only";
      if (in.op == Op::fround && in.imm > 15) return "bad rounding immediate";
      return {};
    case Op::fucomi:
    case Op::fcomi:
      if (!is_float(args[0]) || args[0] != args[1]) return "operands must be floats of one type";
      return {};
    case Op::int_to_f32:
    case Op::int_to_f64:
      if (!is_wide_int(args[0])) return "operand must be I32 or I64";
      return {};
    case Op::float_to_int:
    case Op::float_to_int_trunc:
      if (!is_wide_int(in.type) || !is_float(args[0])) return "from F32 or F64 to I32 or I64 only";
      return {};
    case Op::bitcast:
      if (bits != size_bits(args[0]) || bits < 32) return "sizes differ";
      return {};
    case Op::vlow:
      if (!is_wide_int(in.type) && !is_float(in.type)) return "lane must have 32 or 64 bits";
      return {};
    case Op::vzext:
      if (!is_wide_int(args[0]) && !is_float(args[0])) return "lane must have 32 or 64 bits";
      return {};
    case Op::vget_lane:
      if (in.imm >= 16 / size_bytes(in.type)) return "no such lane";
      return {};
    case Op::vset_lane:
      if (!is_lane(args[1])) return "bad lane type";
      if (in.imm >= 16 / size_bytes(args[1])) return "no such lane";
      return {};
    case Op::vmovmsk:
      if (in.aux != 1 && in.aux != 4 && in.aux != 8) return "lane bytes must be 1, 4 or 8";
      return {};
    case Op::vcmp_f32:
    case Op::vcmp_f64:
      if (in.imm > 7) return "bad predicate";
      return {};
    case Op::ffma:
      if (!is_float(in.type)) return "F32 or F64 only";
      if (in.imm > 3) return "bad kind";
      return {};
    case Op::vfma_f32:
    case Op::vfma_f64:
      if (in.imm > 5) return "bad kind";
      return {};
    case Op::vcvt_f32_f16:
      if (in.imm > 7) return "bad rounding immediate";
      return {};
    case Op::konst:
      if (in.type != Type::V128 && (in.imm & ~mask_of(in.type)) != 0) return "constant wider than its type";
      return {};
    case Op::count:
      if (in.imm > 0xffff) return "count too large";
      return {};
    case Op::guard:
      if (!is_int(args[0]) || args[0] != args[1]) return "operands must be integers of one type";
      if (in.imm == 0) return "nothing to call";
      return {};
    case Op::bump:
      if (in.imm == 0) return "no counter";
      if (in.aux > 0xffff) return "amount too large";
      return {};
    default:
      return {};
  }
}

// The rows, made ready for a check at each op that a front end emits. Sets of types have a bit per type.
struct Rule {
  uint16_t result = 0;
  std::array<uint16_t, 3> operands{};
  uint8_t alike = 0;  // bit i: operand i is of the instruction's own type
  uint8_t operand_count = 0;
  bool plain = false;  // special_error() has nothing to say
};
constexpr unsigned kTypes = static_cast<unsigned>(Type::F80) + 1;
static_assert(kTypes <= 16);
constexpr unsigned bit(Type t) { return 1u << static_cast<unsigned>(t); }

constexpr Rule rule_of(Op op) {
  const OpInfo& row = info(op);
  Rule rule;
  const auto set_of = [&](Sig sig) {
    unsigned set = 0;
    for (unsigned n = 0; n < kTypes; n++) {
      Inst in{};
      in.op = op;
      in.type = static_cast<Type>(n);
      if (matches(sig, in.type, in)) set |= bit(in.type);
    }
    return static_cast<uint16_t>(set);
  };
  const bool stores = op == Op::set || op == Op::store;
  rule.result = stores ? uint16_t{0xffff} : set_of(row.result);
  for (unsigned i = 0; i < row.operands.size() && row.operands[i] != Sig::None; i++) {
    rule.operand_count++;
    rule.operands[i] = set_of(row.operands[i]);
    if (row.operands[i] == Sig::T || row.operands[i] == Sig::X) rule.alike = static_cast<uint8_t>(rule.alike | 1u << i);
  }
  constexpr Op kPlain[] = {Op::get, Op::add, Op::sub, Op::mul, Op::and_, Op::or_, Op::xor_, Op::not_,
                           Op::neg, Op::shl, Op::shr, Op::sar, Op::rol,  Op::ror, Op::clz,  Op::ctz};
  for (const Op plain : kPlain) rule.plain |= op == plain;
  return rule;
}

constexpr auto kRules = [] {
  std::array<Rule, kOpCount> rules{};
  for (unsigned op = 0; op < kOpCount; op++) rules[op] = rule_of(static_cast<Op>(op));
  return rules;
}();

}  // namespace

unsigned operand_count(const Inst& inst) {
  return inst.op == Op::call ? inst.nargs : kRules[static_cast<unsigned>(inst.op)].operand_count;
}

Type result_type(const Inst& inst) { return info(inst.op).result == Sig::Void ? Type::Void : inst.type; }

std::string_view type_error(const Inst& in, const Type* args) {
  if (in.op == Op::call) return call_error(in, args);
  const Rule& rule = kRules[static_cast<unsigned>(in.op)];
  if (in.nargs != rule.operand_count) return "wrong number of operands";
  if ((rule.result & bit(in.type)) == 0) return "wrong result type";
  for (unsigned i = 0; i < in.nargs; i++) {
    const bool fits = (rule.operands[i] & bit(args[i])) != 0 && ((rule.alike >> i & 1) == 0 || args[i] == in.type);
    if (!fits) return "wrong operand type";
  }
  return rule.plain ? std::string_view() : special_error(in, args);
}

}  // namespace panda::ir
