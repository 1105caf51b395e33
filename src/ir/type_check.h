// The typing rules of the op table, in one place: the builder asks for each instruction that it
// emits, the verifier for each that it finds. Table-driven, with a switch for the few rules that a
// row's comment states in words (widths of conversions, ranges of immediates).
#pragma once

#include <string_view>

#include "ir/ir.h"

namespace panda::ir {

// Operands that `inst` must have.
[[nodiscard]] unsigned operand_count(const Inst& inst);

// The type of the value that `inst` defines; Void where it defines none (set and store carry the
// type of what they store in Inst::type).
[[nodiscard]] Type result_type(const Inst& inst);

// What is wrong with the types and immediates of `inst`, whose operands have the types `args`;
// empty where nothing is. Indices into the unit (blocks, guest instructions) are the verifier's.
[[nodiscard]] std::string_view type_error(const Inst& inst, const Type* args);

}  // namespace panda::ir
