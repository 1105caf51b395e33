// What the translators of VEX-encoded vector instructions share (SDM vol. 1, 14 and 15). A 256-bit
// operation is the 128-bit IR operation on the two halves, which are state slots of their own; what
// crosses the halves is put together from such operations. Destinations of 128-bit forms have their
// upper half cleared.
#pragma once

#include <span>

#include "guest/x86/translate_fp.h"

namespace panda::x86 {

// 128 bits, or 256 where `high` is valid.
struct Wide {
  Value low, high;
};

[[nodiscard]] inline bool is_256(const InsnContext& x) { return x.insn.avx.vector_length == 256; }

[[nodiscard]] Wide get_wide(InsnContext& x, const ZydisDecodedOperand& op, bool wide);
void set_wide(InsnContext& x, const ZydisDecodedOperand& op, Wide v);
// A register, or memory. align: what the instruction demands (VMOVAPS), 0 for nothing.
[[nodiscard]] Wide read_wide(InsnContext& x, const ZydisDecodedOperand& op, bool wide, unsigned align = 0);
// To memory, both halves or none.
void store_wide(InsnContext& x, const ZydisDecodedOperand& op, Wide v, unsigned align = 0);
// The address `bytes` behind m's.
[[nodiscard]] Memory behind(InsnContext& x, const Memory& m, unsigned bytes);
// `bytes` of memory (2, 4, 8 or 16), or an XMM register: a V128.
[[nodiscard]] Value read_part(InsnContext& x, const ZydisDecodedOperand& op, unsigned bytes);

// f(half) for the low and, of 256 bits, the high half (0 and 1).
template <typename F>
[[nodiscard]] Wide each_half(bool wide, F f) {
  Wide r{f(0u), {}};
  if (wide) r.high = f(1u);
  return r;
}
[[nodiscard]] inline Value half_of(const Wide& v, unsigned half) { return half == 0 ? v.low : v.high; }

// The same with the exceptions of `op`, where it has any, looked at before anything is written.
template <Op op, typename F>
[[nodiscard]] Wide compute(InsnContext& x, bool wide, F f) {
  if constexpr (ir::info(op).effects == ir::Effects::FpState) {
    SseExceptionScope scope(x);
    const Wide r = each_half(wide, f);
    if constexpr (underflowing(op) != Type::Void) {
      scope.note_tiny(r.low, underflowing(op));
      if (wide) scope.note_tiny(r.high, underflowing(op));
    }
    scope.check();
    return r;
  } else {
    return each_half(wide, f);
  }
}

std::span<const Row> avx_float_rows();    // translate_avx_float.cpp
std::span<const Row> avx_convert_rows();  // translate_avx_convert.cpp
std::span<const Row> avx_integer_rows();  // translate_avx_integer.cpp
std::span<const Row> avx_lane_rows();     // translate_avx_lanes.cpp: within the halves
std::span<const Row> avx_permute_rows();  // translate_avx_permute.cpp: across them
std::span<const Row> avx_move_rows();     // translate_avx_move.cpp
std::span<const Row> avx_memory_rows();   // translate_avx_memory.cpp: masked moves, gathers
std::span<const Row> avx_crypto_rows();   // translate_avx_crypto.cpp
std::span<const Row> fma_rows();          // translate_avx_fma.cpp

}  // namespace panda::x86
