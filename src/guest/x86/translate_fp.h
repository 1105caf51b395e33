// What the x87, MMX and SSE translators share: availability checks, register and operand access,
// and the checked form of SSE arithmetic for guests that unmask its exceptions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/x86/fpu_state.h"
#include "guest/x86/insn_context.h"
#include "guest/x86/rows.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Op;

// A string as a template argument: names of helper descriptors.
template <size_t n>
struct FixedString {
  char text[n];
  consteval FixedString(const char (&s)[n]) { std::copy_n(s, n, text); }
};

// --- availability. False: the exception is raised and the block closed; return InsnEnd::Closed.
// #UD: CR0.EM or not CR4.OSFXSR; #NM: CR0.TS. Of a VEX encoding: as avx_ready().
[[nodiscard]] bool sse_ready(InsnContext& x);
// #UD: real or virtual-8086 mode, not CR4.OSXSAVE, XCR0 without SSE and AVX, or the CPU has not the extension
// that this form belongs to; #NM: CR0.TS.
[[nodiscard]] bool avx_ready(InsnContext& x);
[[nodiscard]] bool mmx_ready(InsnContext& x);  // #UD: CR0.EM; #NM: CR0.TS; #MF: x87 exception pending
[[nodiscard]] bool x87_ready(InsnContext& x);  // #NM: CR0.EM or TS

// --- operands
[[nodiscard]] constexpr uint32_t xmm_offset(unsigned n) {
  return static_cast<uint32_t>(offsetof(State, xmm_regs)) + 64 * n;
}
// The upper half of a YMM register is a slot of its own.
[[nodiscard]] constexpr uint32_t ymm_high_offset(unsigned n) { return xmm_offset(n) + 16; }
[[nodiscard]] inline bool is_vex(const InsnContext& x) { return x.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX; }
[[nodiscard]] bool is_xmm(const ZydisDecodedOperand& op);
[[nodiscard]] bool is_mmx(const ZydisDecodedOperand& op);
[[nodiscard]] inline bool is_memory(const ZydisDecodedOperand& op) { return op.type == ZYDIS_OPERAND_TYPE_MEMORY; }
[[nodiscard]] inline uint8_t immediate8(const ZydisDecodedOperand& op) { return static_cast<uint8_t>(op.imm.value.u); }
[[nodiscard]] unsigned xmm_number(const ZydisDecodedOperand& op);  // of a YMM register too
[[nodiscard]] unsigned mmx_number(const ZydisDecodedOperand& op);

Value get_xmm(InsnContext& x, const ZydisDecodedOperand& op);
// The low half alone; a VEX-encoded instruction clears the upper one.
void set_xmm(InsnContext& x, const ZydisDecodedOperand& op, Value v);
// XMM register, or 16 bytes of memory (aligned: #GP where not, as legacy SSE demands and VEX does not).
Value read_xmm(InsnContext& x, const ZydisDecodedOperand& op, bool aligned = true);
// Lane 0 of an XMM register, or memory of `type`'s size. F32, F64, I32 or I64.
Value read_low(InsnContext& x, const ZydisDecodedOperand& op, Type type);
// As read_low, as a V128 with the rest of it unspecified (register) or zero (memory).
Value read_low_vector(InsnContext& x, const ZydisDecodedOperand& op, Type type);
// MMX register or memory (8 bytes, or 4 zero-extended), as I64.
Value read_mm(InsnContext& x, const ZydisDecodedOperand& op);
Value get_mm(InsnContext& x, unsigned number);
// Writes the register; enter_mmx() does the rest of what an MMX instruction changes.
void set_mm(InsnContext& x, unsigned number, Value v);
void enter_mmx(InsnContext& x);  // TOP = 0, all tags valid
// A general register of 32 or 64 bits from an I32.
void write_gpr(InsnContext& x, const ZydisDecodedOperand& op, Value v32);

// The lanes of what may be too small for its format; Void: nothing is.
constexpr Type underflowing(Op op) {
  switch (op) {
    case Op::vadd_f32:
    case Op::vsub_f32:
    case Op::vmul_f32:
    case Op::vdiv_f32:
    case Op::vaddsub_f32:
    case Op::vhadd_f32:
    case Op::vhsub_f32:
    case Op::vdp_f32:
    case Op::vfma_f32:
    case Op::vcvt_f64_f32:
      return Type::F32;
    case Op::vadd_f64:
    case Op::vsub_f64:
    case Op::vmul_f64:
    case Op::vdiv_f64:
    case Op::vaddsub_f64:
    case Op::vhadd_f64:
    case Op::vhsub_f64:
    case Op::vdp_f64:
    case Op::vfma_f64:
      return Type::F64;
    case Op::vcvt_f32_f16:
      return Type::I16;  // half precision
    default:
      return Type::Void;
  }
}
constexpr bool scalar_underflows(Op op) {
  return op == Op::fadd || op == Op::fsub || op == Op::fmul || op == Op::fdiv || op == Op::f64_to_f32;
}

// Around SSE arithmetic: nothing, unless the guest has unmasked an SSE exception (kModeFpUnmasked).
// Then the flags that the operations between begin and check raise are compared with the masks,
// and #XM leaves before anything is written.
class SseExceptionScope {
 public:
  explicit SseExceptionScope(InsnContext& x);
  void check();                             // after the operations, before the first set
  void note_tiny(Value result, Type lane);  // before check(), for each part of a result that may underflow
  // The same for one whose result may underflow: lanes of F32 or F64, in a V128 or alone.
  void check(Value result, Type lane);

 private:
  InsnContext& x_;
  bool checked_;
};

// DPPS and DPPD where an exception is unmasked: what the products, and the first sums, raise comes before what the
// rest does. a, b: the operands' halves. The operation itself has its own scope.
void check_dot_product(InsnContext& x, Type lane, std::span<const Value> a, std::span<const Value> b, uint64_t imm);

}  // namespace panda::x86
