// The chapters that make up sse_rows(). MOVSD and CMPSD are in them as well as in the string rows:
// the row table tells the two apart by the decoder's category.
#pragma once

#include <span>

#include "guest/x86/rows.h"

namespace panda::x86 {

std::span<const Row> sse_move_rows();     // translate_sse_move.cpp
std::span<const Row> sse_integer_rows();  // translate_sse_integer.cpp: packed integers, MMX registers too
std::span<const Row> sse_lane_rows();     // translate_sse_lanes.cpp: shuffles, inserts, extracts, blends, masks
std::span<const Row> sse_float_rows();    // translate_sse_float.cpp
std::span<const Row> sse_convert_rows();  // translate_sse_convert.cpp
std::span<const Row> sse_string_rows();   // translate_sse_string.cpp
std::span<const Row> sse_crypto_rows();   // translate_sse_crypto.cpp

}  // namespace panda::x86
