// The enum and the property table made from opcodes.inc. Nothing about an op is decided anywhere
// else: a property that a pass or a back end asks for is a column of the table.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace panda::ir {

enum class Op : uint16_t {
#define OP(name, result, a, b, c, effects) name,
#include "ir/opcodes.inc"
#undef OP
};

// The kind of an operand or result in the table.
enum class Sig : uint8_t { None, Void, I1, I8, I16, I32, I64, F32, F64, V128, F80, T, X, Any };

enum class Effects : uint8_t { Pure, FpState, ReadState, WriteState, Load, Store, Call, Mark, SideExit, End };

struct OpInfo {
  std::string_view name;
  Sig result;
  std::array<Sig, 3> operands;
  Effects effects;
};

inline constexpr OpInfo kOpInfo[] = {
#define OP(name, result, a, b, c, effects) {#name, Sig::result, {Sig::a, Sig::b, Sig::c}, Effects::effects},
#include "ir/opcodes.inc"
#undef OP
};
inline constexpr unsigned kOpCount = sizeof kOpInfo / sizeof *kOpInfo;

[[nodiscard]] constexpr const OpInfo& info(Op op) { return kOpInfo[static_cast<unsigned>(op)]; }
[[nodiscard]] constexpr bool is_end(Op op) { return info(op).effects == Effects::End; }
[[nodiscard]] constexpr bool is_pure(Op op) { return info(op).effects == Effects::Pure; }
// May leave the unit with the state of its guest instruction's beginning (Call: see HelperDesc).
[[nodiscard]] constexpr bool is_memory(Op op) {
  return info(op).effects == Effects::Load || info(op).effects == Effects::Store;
}

// What F80 ops find in memory (aux): the conversion is part of the load or store, as x87 instructions have it.
enum class F80Format : uint8_t { F32, F64, F80, I16, I32, I64, I16Trunc, I32Trunc, I64Trunc };
inline constexpr unsigned kF80Formats = 9;
[[nodiscard]] constexpr unsigned size_bytes(F80Format f) {
  constexpr uint8_t kBytes[kF80Formats] = {4, 8, 10, 2, 4, 8, 2, 4, 8};
  return kBytes[static_cast<unsigned>(f)];
}

enum class Cond : uint8_t { Eq, Ne, Ult, Ule, Ugt, Uge, Slt, Sle, Sgt, Sge };
inline constexpr std::string_view kCondNames[] = {"eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge"};
[[nodiscard]] constexpr Cond inverse(Cond c) {
  constexpr Cond kInverse[] = {Cond::Ne,  Cond::Eq,  Cond::Uge, Cond::Ugt, Cond::Ule,
                               Cond::Ult, Cond::Sge, Cond::Sgt, Cond::Sle, Cond::Slt};
  return kInverse[static_cast<unsigned>(c)];
}

}  // namespace panda::ir
