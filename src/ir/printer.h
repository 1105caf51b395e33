// IR as text, which the parser reads back. One instruction a line; values are numbered in the order
// printed. The form is given by the op table, with a syntax of its own where an immediate means
// something:
//
//   unit pc=[16]:i64 context=0 exits=1
//   guest 0 pc=0x1000 size=4 refund=1
//   block 0:
//     count 1
//     insn 0
//     %0 = get.i64 [0]
//     %1 = konst.i64 0x10
//     %2 = icmp ult %0, %1
//     %3 = load.i32 %0, mode=0 rmw align=4
//     set.i32 [8], %3
//     %4 = call.i32 helper_name(%3)
//     %5 = deposit.i64 %0, %1, bit=8 width=8
//     exit_direct 0x1004, exit=0
#pragma once

#include <string>

#include "ir/ir.h"

namespace panda::ir {

[[nodiscard]] std::string_view type_name(Type type);
[[nodiscard]] std::string_view op_name(Op op);  // as printed: "and" for and_

[[nodiscard]] std::string print(const Unit& unit);

}  // namespace panda::ir
