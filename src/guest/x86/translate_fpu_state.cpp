// Instructions on the floating-point state as a whole: control and status words, MXCSR, the save
// areas and XCR0.
#include "guest/x86/fpu_areas.h"
#include "guest/x86/system.h"
#include "guest/x86/translate_fp.h"
#include "guest/x86/x87_helpers.h"
#include "guest/x86/x87_inline.h"

namespace panda::x86 {
namespace {

constexpr ir::StateRange kFpuRange{offsetof(State, fpstt), offsetof(State, mxcsr)};
constexpr ir::StateRange kMxcsrRange{offsetof(State, mxcsr), offsetof(State, mxcsr) + 4};

// --- helpers
void fldcw(void* state, uint32_t value, uint64_t next_pc) noexcept {
  if (fpu_pending(state)) return;
  Cpu cpu(state);
  set_fpu_control(cpu.s(), static_cast<uint16_t>(value));
  refresh_fp_mode(cpu, next_pc);
}

void fninit(void* state, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  fpu_init(cpu.s());
  refresh_fp_mode(cpu, next_pc);
}

void fnclex(void* state, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  cpu.s().fpus = static_cast<uint16_t>(cpu.s().fpus & kFpConditions);
  settle_host_flags(cpu.s());
  refresh_fp_mode(cpu, next_pc);
}

void ldmxcsr(void* state, uint32_t value, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  if ((value & ~kMxcsrMask) != 0) return (void)raise(cpu, kGP, 0);
  set_mxcsr(cpu, value);
  refresh_fp_mode(cpu, next_pc);
}

uint32_t stmxcsr(void* state) noexcept { return architectural_mxcsr(Cpu(state)); }

void xsetbv(void* state, uint32_t index, uint64_t value) noexcept {
  Cpu cpu(state);
  const bool avx_alone = (value & (kXcr0Sse | kXcr0Avx)) == kXcr0Avx;
  if (index != 0 || (value & kXcr0X87) == 0 || avx_alone || (value & ~supported_xcr0(cpu.s())) != 0) {
    return (void)raise(cpu, kGP, 0);
  }
  cpu.s().xcr0 = value;
  update_hflags(cpu);
}

template <typename F>
ir::HelperDesc desc(std::string_view name, F* function, std::array<Type, 4> params,
                    ir::StateRange range = ir::kAllState) {
  return {.name = name,
          .function = reinterpret_cast<const void*>(function),
          .result = Type::Void,
          .params = params,
          .reads = range,
          .writes = range,
          .uses_fp = true};
}

// --- x87 control
InsnEnd translate_fldcw(InsnContext& x) {
  static const auto helper = desc("x87_fldcw", &fldcw, {Type::I32, Type::I64}, kFpuRange);
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Value word = x.load(x.address(x.ops[0], 2, false), Type::I16);
  if (may_guard(x)) {  // with all exceptions masked, as now, nothing else changes
    name_f80_slots(x);
    const Value masks = x.b.and_(word, x.b.konst(Type::I16, kFpExceptions));
    x.b.emit(Op::guard, Type::Void, {masks, x.b.konst(Type::I16, kFpExceptions)},
             reinterpret_cast<uint64_t>(static_cast<ir::GuardFailed>(&x87_guard_failed)));
    const Value bits = x.b.and_(word, x.b.konst(Type::I16, kFpuControlBits));
    x.b.emit(Op::f80_set_control, Type::Void, {x.b.or_(bits, x.b.konst(Type::I16, kFpuControlOnes))});
    return InsnEnd::Next;
  }
  x.call(helper, {x.b.zext(Type::I32, word), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

Value status_word(InsnContext& x) {
  name_f80_slots(x);
  const Value top = x.b.trunc(Type::I16, x.b.get(Type::I32, offsetof(State, fpstt)));
  return x.b.or_(x.b.emit(Op::f80_status, Type::I16, {}), x.b.shift(Op::shl, top, x.b.i8(11)));
}

InsnEnd translate_fnstsw(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Value v = status_word(x);
  if (is_memory(x.ops[0]))
    x.store(x.address(x.ops[0], 2, true), v);
  else
    x.set_reg(ZYDIS_REGISTER_AX, v);
  return InsnEnd::Next;
}

InsnEnd translate_fnstcw(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  name_f80_slots(x);
  x.store(x.address(x.ops[0], 2, true), x.b.emit(Op::f80_control, Type::I16, {}));
  return InsnEnd::Next;
}

InsnEnd translate_fninit(InsnContext& x) {
  static const auto helper = desc("x87_fninit", &fninit, {Type::I64}, kFpuRange);
  if (!x87_ready(x)) return InsnEnd::Closed;
  x.call(helper, {x.b.i64(x.next_pc())});
  if (x.x87 != nullptr) x.x87->assume(0, 0xff);
  return InsnEnd::Next;
}

InsnEnd translate_fnclex(InsnContext& x) {
  static const auto helper = desc("x87_fnclex", &fnclex, {Type::I64}, kFpuRange);
  if (!x87_ready(x)) return InsnEnd::Closed;
  x.call(helper, {x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

// FNSTENV, FNSAVE, FLDENV and FRSTOR. The operand size chooses the layout; 64-bit code uses the 32-bit one.
template <bool store, bool registers>
InsnEnd environment(InsnContext& x) {
  static const auto save = desc("x87_store_environment", &store_environment, {Type::I64, Type::I32, Type::I64});
  static const auto restore = desc("x87_load_environment", &load_environment, {Type::I64, Type::I32, Type::I64});
  if (!x87_ready(x)) return InsnEnd::Closed;
  const unsigned bytes = x.ops[0].size / 8u;
  const bool wide = bytes == 28 || bytes == 108;
  uint32_t form = (wide ? kAreaWide : 0u) | (registers ? kAreaRegisters : 0u);
  if (!x.mode(kModePe) || x.mode(kModeVm)) form |= kAreaReal;
  const Memory at = x.address(x.ops[0], bytes, store);
  x.call(store ? save : restore, {at.linear, x.b.i32(form), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

// --- FXSAVE and XSAVE
uint32_t area_form(const InsnContext& x) {
  return (x.is64() ? kAreaXmm16 : 0u) |
         ((x.insn.attributes & ZYDIS_ATTRIB_HAS_REX) && x.insn.raw.rex.W ? kAreaWide : 0u);
}

InsnEnd translate_fxsave(InsnContext& x) {
  static const auto helper = desc("fxsave", &fxsave, {Type::I64, Type::I32});
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(x.ops[0], 512, true);
  x.call(helper, {at.linear, x.b.i32(area_form(x))});
  return InsnEnd::Next;
}

InsnEnd translate_fxrstor(InsnContext& x) {
  static const auto helper = desc("fxrstor", &fxrstor, {Type::I64, Type::I32, Type::I64});
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(x.ops[0], 512, false);
  x.call(helper, {at.linear, x.b.i32(area_form(x)), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

bool xsave_ready(InsnContext& x) {
  if (!x.mode(kModeOsxsave)) {
    x.raise(kUD);
    return false;
  }
  if (x.mode(kModeTs)) {
    x.raise(kNM);
    return false;
  }
  return true;
}

Value edx_eax(InsnContext& x) {
  const Value low = x.b.zext(Type::I64, x.reg(R_EAX, Type::I32));
  const Value high = x.b.zext(Type::I64, x.reg(R_EDX, Type::I32));
  return x.b.deposit(low, high, 32, 32);
}

unsigned xsave_bytes(const InsnContext& x) { return xsave_area_bytes(x.mode(kModeAvx) ? kXcr0Avx : 0); }

template <uint32_t extra>
InsnEnd translate_xsave(InsnContext& x) {
  static const auto helper = desc("xsave", &xsave, {Type::I64, Type::I32, Type::I64});
  if (!xsave_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(x.ops[0], xsave_bytes(x), true);
  x.call(helper, {at.linear, x.b.i32(area_form(x) | extra), edx_eax(x)});
  return InsnEnd::Next;
}

InsnEnd translate_xrstor(InsnContext& x) {
  static const auto helper = desc("xrstor", &xrstor, {Type::I64, Type::I64, Type::I64});
  if (!xsave_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(x.ops[0], xsave_bytes(x), false);
  const Value mask = x.b.zext(Type::I64, x.reg(R_EAX, Type::I32));
  x.call(helper, {at.linear, x.b.or_(mask, x.b.i64(uint64_t{area_form(x)} << 32)), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

InsnEnd translate_xgetbv(InsnContext& x) {
  if (!x.mode(kModeOsxsave)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  // 1 asks which components are in use: all that are enabled count as that (xsave() stores them all).
  const uint64_t last = x.has(Feature::Xgetbv1) ? 1 : 0;
  x.raise_if(x.b.icmp(ir::Cond::Ugt, x.reg(R_ECX, Type::I32), x.b.i32(last)), kGP, uint16_t{0});
  const Value v = x.b.get(Type::I64, offsetof(State, xcr0));
  x.set_reg(R_EAX, x.b.trunc(Type::I32, v));
  x.set_reg(R_EDX, x.b.trunc(Type::I32, x.b.shift(Op::shr, v, x.b.i8(32))));
  return InsnEnd::Next;
}

InsnEnd translate_xsetbv(InsnContext& x) {
  static const auto helper = desc("xsetbv", &xsetbv, {Type::I32, Type::I64});
  if (!x.mode(kModeOsxsave)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  if (x.cpl() != 0) {
    x.raise(kGP, uint16_t{0});
    return InsnEnd::Closed;
  }
  x.call(helper, {x.reg(R_ECX, Type::I32), edx_eax(x)});
  return x.end_dispatch();
}

// --- MXCSR
InsnEnd translate_ldmxcsr(InsnContext& x) {
  static const auto helper = desc("ldmxcsr", &ldmxcsr, {Type::I32, Type::I64}, kMxcsrRange);
  if (!sse_ready(x)) return InsnEnd::Closed;
  x.call(helper, {x.load(x.address(x.ops[0], 4, false), Type::I32), x.b.i64(x.next_pc())});
  return InsnEnd::Next;
}

InsnEnd translate_stmxcsr(InsnContext& x) {
  static const ir::HelperDesc helper{.name = "stmxcsr",
                                     .function = reinterpret_cast<const void*>(&stmxcsr),
                                     .result = Type::I32,
                                     .params = {},
                                     .reads = kMxcsrRange,
                                     .writes = ir::kNoState,
                                     .may_exit = false,
                                     .uses_fp = true};
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(x.ops[0], 4, true);
  x.store(at, x.call(helper));
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_FLDCW, &translate_fldcw, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNSTCW, &translate_fnstcw, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNSTSW, &translate_fnstsw, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNINIT, &translate_fninit, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNCLEX, &translate_fnclex, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNSTENV, &environment<true, false>, Feature::Fpu},
    {ZYDIS_MNEMONIC_FNSAVE, &environment<true, true>, Feature::Fpu},
    {ZYDIS_MNEMONIC_FLDENV, &environment<false, false>, Feature::Fpu},
    {ZYDIS_MNEMONIC_FRSTOR, &environment<false, true>, Feature::Fpu},
    {ZYDIS_MNEMONIC_FXSAVE, &translate_fxsave, Feature::Fxsr},
    {ZYDIS_MNEMONIC_FXSAVE64, &translate_fxsave, Feature::Fxsr},
    {ZYDIS_MNEMONIC_FXRSTOR, &translate_fxrstor, Feature::Fxsr},
    {ZYDIS_MNEMONIC_FXRSTOR64, &translate_fxrstor, Feature::Fxsr},
    {ZYDIS_MNEMONIC_XSAVE, &translate_xsave<0>, Feature::Xsave},
    {ZYDIS_MNEMONIC_XSAVE64, &translate_xsave<0>, Feature::Xsave},
    {ZYDIS_MNEMONIC_XSAVEOPT, &translate_xsave<0>, Feature::Xsaveopt},
    {ZYDIS_MNEMONIC_XSAVEOPT64, &translate_xsave<0>, Feature::Xsaveopt},
    {ZYDIS_MNEMONIC_XSAVEC, &translate_xsave<kAreaCompact>, Feature::Xsavec},
    {ZYDIS_MNEMONIC_XSAVEC64, &translate_xsave<kAreaCompact>, Feature::Xsavec},
    {ZYDIS_MNEMONIC_XRSTOR, &translate_xrstor, Feature::Xsave},
    {ZYDIS_MNEMONIC_XRSTOR64, &translate_xrstor, Feature::Xsave},
    {ZYDIS_MNEMONIC_XGETBV, &translate_xgetbv, Feature::Xsave},
    {ZYDIS_MNEMONIC_XSETBV, &translate_xsetbv, Feature::Xsave},
    {ZYDIS_MNEMONIC_LDMXCSR, &translate_ldmxcsr, Feature::Sse},
    {ZYDIS_MNEMONIC_STMXCSR, &translate_stmxcsr, Feature::Sse},
};

}  // namespace

std::span<const Row> fpu_state_rows() { return kRows; }

}  // namespace panda::x86
