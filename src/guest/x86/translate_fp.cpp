#include "guest/x86/translate_fp.h"

#include <vector>

#include "guest/x86/simd_helpers.h"
#include "guest/x86/x87_helpers.h"
#include "guest/x86/x87_inline.h"

namespace panda::x86 {
namespace {

constexpr uint32_t mm_offset(unsigned n) { return static_cast<uint32_t>(offsetof(State, fpregs)) + 16 * n; }

// One mnemonic's forms belong to different extensions (VPADDB with XMM registers to AVX, with YMM registers to AVX2).
struct Extension {
  ZydisISAExt extension;
  Feature feature;
};
constexpr Extension kExtensions[] = {
    {ZYDIS_ISA_EXT_AVX, Feature::Avx},         {ZYDIS_ISA_EXT_AVX2, Feature::Avx2},
    {ZYDIS_ISA_EXT_AVX2GATHER, Feature::Avx2}, {ZYDIS_ISA_EXT_AVXAES, Feature::Aes},
    {ZYDIS_ISA_EXT_F16C, Feature::F16c},       {ZYDIS_ISA_EXT_FMA, Feature::Fma},
};

bool has_extension(const InsnContext& x) {
  const auto* e = std::ranges::find(kExtensions, x.insn.meta.isa_ext, &Extension::extension);
  return e != std::end(kExtensions) && x.has(Feature::Avx) && x.has(e->feature);
}

}  // namespace

bool avx_ready(InsnContext& x) {
  if (!x.mode(kModePe) || x.mode(kModeVm) || !x.mode(kModeAvx) || !has_extension(x)) {
    x.raise(kUD);
    return false;
  }
  if (x.mode(kModeTs)) {
    x.raise(kNM);
    return false;
  }
  return true;
}

bool sse_ready(InsnContext& x) {
  if (is_vex(x)) return avx_ready(x);
  if (x.mode(kModeEm) || !x.mode(kModeOsfxsr)) {
    x.raise(kUD);
    return false;
  }
  if (x.mode(kModeTs)) {
    x.raise(kNM, {});
    return false;
  }
  return true;
}

bool mmx_ready(InsnContext& x) {
  if (x.mode(kModeEm)) {
    x.raise(kUD);
    return false;
  }
  if (x.mode(kModeTs)) {
    x.raise(kNM);
    return false;
  }
  if (!x.mode(kModeFpuFlat)) x.call(kFpuCheckPending);
  return true;
}

bool x87_ready(InsnContext& x) {
  if (x.mode(kModeEm | kModeTs)) {
    x.raise(kNM);
    return false;
  }
  return true;
}

bool is_xmm(const ZydisDecodedOperand& op) {
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_XMM;
}

bool is_mmx(const ZydisDecodedOperand& op) {
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_MMX;
}

unsigned xmm_number(const ZydisDecodedOperand& op) {
  const ZydisRegister first = op.reg.value >= ZYDIS_REGISTER_YMM0 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0;
  return static_cast<unsigned>(op.reg.value - first);
}
unsigned mmx_number(const ZydisDecodedOperand& op) { return static_cast<unsigned>(op.reg.value - ZYDIS_REGISTER_MM0); }

Value get_xmm(InsnContext& x, const ZydisDecodedOperand& op) { return x.b.get(Type::V128, xmm_offset(xmm_number(op))); }

void set_xmm(InsnContext& x, const ZydisDecodedOperand& op, Value v) {
  x.b.set(xmm_offset(xmm_number(op)), v);
  if (is_vex(x)) x.b.set(ymm_high_offset(xmm_number(op)), x.b.konst(Type::V128, 0));
}

Value read_xmm(InsnContext& x, const ZydisDecodedOperand& op, bool aligned) {
  if (!is_memory(op)) return get_xmm(x, op);
  return x.load(x.address(op, 16, false), Type::V128, false, aligned && !is_vex(x) ? 16 : 0);
}

Value read_low(InsnContext& x, const ZydisDecodedOperand& op, Type type) {
  if (is_memory(op)) return x.load(x.address(op, ir::size_bytes(type), false), type);
  return x.b.emit(Op::vlow, type, {get_xmm(x, op)});
}

Value read_low_vector(InsnContext& x, const ZydisDecodedOperand& op, Type type) {
  if (!is_memory(op)) return get_xmm(x, op);
  return x.b.emit(Op::vzext, Type::V128, {read_low(x, op, type)});
}

Value read_mm(InsnContext& x, const ZydisDecodedOperand& op) {
  if (!is_memory(op)) return get_mm(x, mmx_number(op));
  if (op.size == 32) return x.b.zext(Type::I64, x.load(x.address(op, 4, false), Type::I32));
  return x.load(x.address(op, 8, false), Type::I64);
}

Value get_mm(InsnContext& x, unsigned number) {
  if (x.x87 != nullptr) x.x87->uses_mmx = true;
  return x.b.get(Type::I64, mm_offset(number));
}

void set_mm(InsnContext& x, unsigned number, Value v) {
  if (x.x87 != nullptr) x.x87->uses_mmx = true;
  x.b.set(mm_offset(number), v);
  x.b.set(mm_offset(number) + 8, x.b.konst(Type::I16, 0xffff));  // as a register load leaves the exponent
}

void enter_mmx(InsnContext& x) {
  x.b.set(offsetof(State, fpstt), x.b.i32(0));
  x.b.set(offsetof(State, fptags), x.b.i64(0));
  if (x.x87 != nullptr) x.x87->assume(0, 0);
}

void write_gpr(InsnContext& x, const ZydisDecodedOperand& op, Value v32) {
  x.set_reg(op.reg.value, x.b.zext(op.size == 64 ? Type::I64 : Type::I32, v32));
}

SseExceptionScope::SseExceptionScope(InsnContext& x) : x_(x), checked_(x.mode(kModeFpUnmasked)) {
  if (checked_) x_.call(kSseExceptionsBegin);
}

void SseExceptionScope::check(Value result, Type lane) {
  note_tiny(result, lane);
  check();
}

void SseExceptionScope::note_tiny(Value result, Type lane) {
  if (!checked_) return;
  ir::Builder& b = x_.b;
  const Value v = result.type == Type::V128 ? result : b.emit(Op::vzext, Type::V128, {result});
  x_.call(kSseTinyResult, {b.emit(Op::vget_lane, Type::I64, {v}, 0), b.emit(Op::vget_lane, Type::I64, {v}, 1),
                           b.i32(ir::size_bytes(lane))});
}

// "Exceptions are determined separately for each add and multiply operation" (SDM vol. 2, DPPS).
void check_dot_product(InsnContext& x, Type lane, std::span<const Value> a, std::span<const Value> b, uint64_t imm) {
  if (!x.mode(kModeFpUnmasked)) return;
  const bool single = lane == Type::F32;
  const Value zero = x.b.konst(Type::V128, 0);
  const auto selected = [&](Value v) {
    return single ? x.b.binary(Op::vblendps, zero, v, imm >> 4 & 15) : x.b.binary(Op::vblendpd, zero, v, imm >> 4 & 3);
  };
  std::vector<Value> products;
  {
    SseExceptionScope scope(x);
    for (size_t h = 0; h < a.size(); h++) {
      products.push_back(x.b.binary(single ? Op::vmul_f32 : Op::vmul_f64, selected(a[h]), selected(b[h])));
      scope.note_tiny(products.back(), lane);
    }
    scope.check();
  }
  if (!single) return;  // the one sum is the whole operation's
  SseExceptionScope scope(x);
  for (const Value p : products) scope.note_tiny(x.b.binary(Op::vhadd_f32, p, p), lane);
  scope.check();
}

void SseExceptionScope::check() {
  if (checked_) x_.call(kSseExceptionsCheck);
}

}  // namespace panda::x86
