// Integer ops on constants: what the builder and the constant-folding pass compute at translation
// time. Deliberately not shared with the interpreter, so that one can test the other.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/ir.h"

namespace panda::ir {

[[nodiscard]] bool compare(Cond cond, Type type, uint64_t a, uint64_t b);

// The value of `op` of result type `type` on the constants a, b, c, the first of type `from`; all
// zero-extended, and so is the result. nullopt: not an integer op that can be folded.
[[nodiscard]] std::optional<uint64_t> fold_int(Op op, Type type, Type from, uint64_t a, uint64_t b, uint64_t c,
                                               uint64_t imm);

// What an integer op with operands that are partly constant comes to without computing anything.
struct Simplified {
  enum Kind : uint8_t { No, Operand, Constant } kind = No;
  uint8_t operand = 0;  // the op's result is this operand
  uint64_t value = 0;   // or this constant
};
// `known[i]`: operand i is the constant v[i]; `same`: operands 0 and 1 are one value.
[[nodiscard]] Simplified simplify(Op op, Type type, Type from, uint64_t imm, const bool* known, const uint64_t* v,
                                  bool same);

}  // namespace panda::ir
