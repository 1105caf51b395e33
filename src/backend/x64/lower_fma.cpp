// Fused multiply-add and half-precision conversions: one instruction where the host has it, else the
// software of base/soft_float.h, called with every register saved, since that is rare and need not be fast.
#include <xmmintrin.h>

#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::Type;

namespace {

struct SoftCall {
  uint8_t op, imm, d, a, b;
  [[nodiscard]] uint64_t pack() const {
    return uint64_t{op} | uint64_t{imm} << 8 | uint64_t{d} << 16 | uint64_t{a} << 24 | uint64_t{b} << 32;
  }
  [[nodiscard]] static SoftCall unpack(uint64_t v) {
    const auto byte = [v](unsigned i) { return static_cast<uint8_t>(v >> (8 * i)); };
    return {byte(0), byte(1), byte(2), byte(3), byte(4)};
  }
};

// On the saved vector registers, under the guest's MXCSR, which is the host's at this moment.
void run_soft_op(SoftVector* registers, uint64_t packed) noexcept {
  const SoftCall call = SoftCall::unpack(packed);
  uint32_t mxcsr = _mm_getcsr();
  SoftVector& d = registers[call.d];
  d = soft_vector_op(static_cast<SoftOp>(call.op), call.imm, registers[call.a], registers[call.b], d, mxcsr);
  _mm_setcsr(mxcsr);
}

}  // namespace

void Lowering::soft_op(SoftOp op, uint8_t imm, int d, int a, int b) {
  const auto number = [](int r) { return static_cast<uint8_t>(r & 15); };
  const SoftCall call{static_cast<uint8_t>(op), imm, number(d), number(a), number(b)};
  const Xbyak::Reg64 saved[] = {c_.rax, c_.rcx, c_.rdx, c_.rsi, c_.rdi, c_.r8, c_.r9, c_.r10, c_.r11};
  constexpr int kVectors = 16 * 16, kOldStack = kVectors, kFrame = kVectors + 16;
  c_.pushfq();
  for (const auto& r : saved) c_.push(r);
  c_.mov(c_.rax, c_.rsp);
  c_.sub(c_.rsp, kFrame);
  c_.and_(c_.rsp, -16);
  c_.mov(c_.qword[c_.rsp + kOldStack], c_.rax);
  for (int i = 0; i < 16; i++) c_.movaps(c_.ptr[c_.rsp + 16 * i], xmm(i));
  c_.mov(c_.rdi, c_.rsp);
  c_.mov(c_.rsi, call.pack());
  c_.mov(c_.rax, reinterpret_cast<uint64_t>(&run_soft_op));
  c_.call(c_.rax);
  for (int i = 0; i < 16; i++) c_.movaps(xmm(i), c_.ptr[c_.rsp + 16 * i]);
  c_.mov(c_.rsp, c_.qword[c_.rsp + kOldStack]);
  for (auto r = std::rbegin(saved); r != std::rend(saved); ++r) c_.pop(*r);
  c_.popfq();
}

// forms: d = ±(a * b) ± d, by FmaKind.
void Lowering::fma(const Inst& in, SoftOp soft, const Avx3 (&forms)[6]) {
  const int a = ra_.use(in.args[0]), b = ra_.use(in.args[1]);
  const int d = ra_.use_mutable(in.args[2]);
  if (c_.features.fma)
    forms[in.imm](c_, xmm(d), xmm(a), xmm(b));
  else
    soft_op(soft, static_cast<uint8_t>(in.imm), d, a, b);
  ra_.define(index_, d);
}

#define FORM(insn) [](Assembler& c, const Xmm& d, const Xmm& a, const Operand& b) { c.insn(d, a, b); }
#define FOUR(type) FORM(vfmadd231##type), FORM(vfmsub231##type), FORM(vfnmadd231##type), FORM(vfnmsub231##type)

void Lowering::lower_ffma(const Inst& in) {
  static constexpr Avx3 kSingle[6] = {FOUR(ss)}, kDouble[6] = {FOUR(sd)};
  if (in.type == Type::F32)
    fma(in, SoftOp::Fma32, kSingle);
  else
    fma(in, SoftOp::Fma64, kDouble);
}
void Lowering::lower_vfma_f32(const Inst& in) {
  static constexpr Avx3 kForms[6] = {FOUR(ps), FORM(vfmaddsub231ps), FORM(vfmsubadd231ps)};
  fma(in, SoftOp::Fma32x4, kForms);
}
void Lowering::lower_vfma_f64(const Inst& in) {
  static constexpr Avx3 kForms[6] = {FOUR(pd), FORM(vfmaddsub231pd), FORM(vfmsubadd231pd)};
  fma(in, SoftOp::Fma64x2, kForms);
}

void Lowering::lower_vcvt_f16_f32(const Inst& in) {
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (c_.features.f16c)
    c_.vcvtph2ps(xmm(d), xmm(a));
  else
    soft_op(SoftOp::HalfToFloat, 0, d, a, a);
  ra_.define(index_, d);
}

void Lowering::lower_vcvt_f32_f16(const Inst& in) {
  const auto imm = static_cast<uint8_t>(in.imm);
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (c_.features.f16c)
    c_.vcvtps2ph(xmm(d), xmm(a), imm);
  else
    soft_op(SoftOp::FloatToHalf, imm, d, a, a);
  ra_.define(index_, d);
}

}  // namespace panda::x64
