// Fused multiply-add and half-precision conversions in integers, with the x86 rules for NaNs, denormals
// and exception flags (SDM vol. 1, 4.8, 11.5 and 14.5): for hosts without the instructions, and to
// judge those that have them.
#pragma once

#include <cstdint>

namespace panda {

// MXCSR: what the operations read, and the flags they add.
inline constexpr uint32_t kSseInvalid = 1, kSseDenormal = 2, kSseOverflow = 8, kSseUnderflow = 0x10, kSseInexact = 0x20,
                          kSseDaz = 0x40, kSseUnderflowMask = 0x800, kSseFtz = 0x8000;
inline constexpr unsigned kSseRoundingShift = 13;

// The six operations of FMA, as operand `imm` of the IR's; the last two change sides from lane to lane.
enum class FmaKind : uint8_t { Add, Sub, NegatedAdd, NegatedSub, AddSub, SubAdd };
// What lane `lane` of a packed operation does: one of the first four.
[[nodiscard]] constexpr FmaKind fma_of_lane(FmaKind kind, unsigned lane) {
  if (kind == FmaKind::AddSub) return lane % 2 != 0 ? FmaKind::Add : FmaKind::Sub;
  if (kind == FmaKind::SubAdd) return lane % 2 != 0 ? FmaKind::Sub : FmaKind::Add;
  return kind;
}

// a * b + c with one rounding. `kind`: one of the first four.
[[nodiscard]] uint32_t soft_fma32(uint32_t a, uint32_t b, uint32_t c, FmaKind kind, uint32_t& mxcsr) noexcept;
[[nodiscard]] uint64_t soft_fma64(uint64_t a, uint64_t b, uint64_t c, FmaKind kind, uint32_t& mxcsr) noexcept;

[[nodiscard]] uint32_t soft_half_to_float(uint16_t half, uint32_t& mxcsr) noexcept;  // VCVTPH2PS
// imm: as VCVTPS2PH's: bits 0-1 the rounding, where bit 2 is clear; else MXCSR's.
[[nodiscard]] uint16_t soft_float_to_half(uint32_t bits, uint8_t imm, uint32_t& mxcsr) noexcept;

// The same on vectors: what an IR op does to its operands (ir/opcodes.inc: ffma, vfma_f32 and on). imm: the op's.
enum class SoftOp : uint8_t { Fma32, Fma64, Fma32x4, Fma64x2, HalfToFloat, FloatToHalf };
struct SoftVector {
  uint64_t low = 0, high = 0;
};
[[nodiscard]] SoftVector soft_vector_op(SoftOp op, uint8_t imm, SoftVector a, SoftVector b, SoftVector c,
                                        uint32_t& mxcsr) noexcept;

}  // namespace panda
