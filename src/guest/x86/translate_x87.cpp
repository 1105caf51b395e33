// x87 instructions (SDM vol. 1, chapter 8). Each is one call of a helper that works on the register
// stack in the guest state; memory operands are loaded and stored by IR, so that instrumentation
// sees them and faults are exact. Under kModeFpuFlat (every exception masked, none pending) no
// helper can fault; otherwise the guarded form of the same helper looks for a pending exception
// first, and stores are done by a helper as a whole.
#include <array>
#include <type_traits>

#include "guest/x86/translate_fp.h"
#include "guest/x86/x87_arith.h"
#include "guest/x86/x87_helpers.h"

namespace panda::x86 {
namespace {

using x87::Arith;
using x87::Source;

constexpr ir::StateRange kFpuRange{offsetof(State, fpstt), offsetof(State, fpip)};

template <typename T>
constexpr Type kIrType = std::is_void_v<T> ? Type::Void : sizeof(std::conditional_t<std::is_void_v<T>, int, T>) == 8 ? Type::I64 : Type::I32;

// The two descriptors of a helper function.
template <FixedString name, auto function>
struct X87;
template <FixedString kName, typename R, typename... A, R (*function)(void*, A...) noexcept>
struct X87<kName, function> {
  static R guarded(void* state, A... args) noexcept {
    if (fpu_pending(state)) return R();
    return function(state, args...);
  }
  static inline const ir::HelperDesc flat_desc{.name = kName.text,
                                               .function = reinterpret_cast<const void*>(function),
                                               .result = kIrType<R>,
                                               .params = {kIrType<A>...},
                                               .reads = kFpuRange,
                                               .writes = kFpuRange,
                                               .may_exit = false};
  static inline const ir::HelperDesc guarded_desc{.name = kName.text,
                                                  .function = reinterpret_cast<const void*>(&guarded),
                                                  .result = kIrType<R>,
                                                  .params = {kIrType<A>...}};
  // Emits the call; `last` is unset where another call of the same instruction follows.
  static Value call(InsnContext& x, std::initializer_list<Value> args = {}) {
    return x.call(x.mode(kModeFpuFlat) ? flat_desc : guarded_desc, args);
  }
};

const ZydisDecodedOperand* memory_operand(const InsnContext& x) {
  for (unsigned i = 0; i < x.insn.operand_count; ++i) {
    if (is_memory(x.ops[i])) return &x.ops[i];
  }
  return nullptr;
}

Value st_index(InsnContext& x) { return x.b.i32(x.insn.raw.modrm.rm); }

// The instruction, operand and opcode of an instruction that may leave an exception pending.
InsnEnd done(InsnContext& x) {
  if (!x.mode(kModeFpuFlat)) {
    x.b.set(offsetof(State, fpip), x.b.i64(x.pc()));
    x.b.set(offsetof(State, fpop),
            x.b.konst(Type::I16, (x.insn.opcode & 7u) << 8 | x.insn.raw.modrm.mod << 6 | x.insn.raw.modrm.reg << 3 |
                                     x.insn.raw.modrm.rm));
  }
  return InsnEnd::Next;
}

// A memory source, extended to what its helper takes.
Value load_source(InsnContext& x, const ZydisDecodedOperand& op) {
  const Type type = x.type_of(op);
  const Value v = x.load(x.address(op), type);
  return type == Type::I16 ? x.b.sext(Type::I32, v) : v;
}

// --- arithmetic: the opcode's low bits say which form (SDM vol. 2, table B-39)
template <FixedString name, Arith op>
InsnEnd arith(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  if (const auto* m = memory_operand(x)) {
    const Value v = load_source(x, *m);
    switch (x.insn.opcode) {
      case 0xd8: X87<name, &x87::arith_memory<op, Source::F32>>::call(x, {v}); break;
      case 0xdc: X87<name, &x87::arith_memory<op, Source::F64>>::call(x, {v}); break;
      case 0xda: X87<name, &x87::arith_memory<op, Source::I32>>::call(x, {v}); break;
      default: X87<name, &x87::arith_memory<op, Source::I16>>::call(x, {v}); break;
    }
    return done(x);
  }
  const Value i = st_index(x), top = x.b.i32(0);
  switch (x.insn.opcode) {
    case 0xd8: X87<name, &x87::arith_st<op, false>>::call(x, {top, i}); break;
    case 0xdc: X87<name, &x87::arith_st<op, false>>::call(x, {i, top}); break;
    default: X87<name, &x87::arith_st<op, true>>::call(x, {i, top}); break;
  }
  return done(x);
}

// --- an instruction without memory operand: helper(state), helper(state, i)
template <FixedString name, auto function>
InsnEnd plain(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  if constexpr (std::is_invocable_v<decltype(function), void*, uint32_t>) X87<name, function>::call(x, {st_index(x)});
  else X87<name, function>::call(x);
  return done(x);
}

// --- compares
template <FixedString name, bool quiet, unsigned pops>
InsnEnd compare(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  if (const auto* m = memory_operand(x)) {
    const Value v = load_source(x, *m);
    switch (x.insn.opcode) {
      case 0xd8: X87<name, &x87::compare_memory<Source::F32, pops != 0>>::call(x, {v}); break;
      case 0xdc: X87<name, &x87::compare_memory<Source::F64, pops != 0>>::call(x, {v}); break;
      case 0xda: X87<name, &x87::compare_memory<Source::I32, pops != 0>>::call(x, {v}); break;
      default: X87<name, &x87::compare_memory<Source::I16, pops != 0>>::call(x, {v}); break;
    }
    return done(x);
  }
  X87<name, &x87::compare<quiet, pops>>::call(x, {st_index(x)});
  return done(x);
}

template <FixedString name, bool quiet, bool pop>
InsnEnd compare_eflags(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  Value flags = X87<name, &x87::compare_eflags<quiet, pop>>::call(x, {st_index(x)});
  if (!x.mode(kModeFpuFlat)) {
    const Value stopped = x.b.icmp(ir::Cond::Ugt, flags, x.b.i32(kArithmeticFlags));
    flags = x.b.select(stopped, x.get_eflags_arith(), flags);
  }
  x.set_cc_flags(flags);
  return done(x);
}

// --- loads
InsnEnd fld(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const auto* m = memory_operand(x);
  if (m == nullptr) {
    X87<"x87_fld_st", &x87::fld_st>::call(x, {st_index(x)});
  } else if (m->size == 32) {
    X87<"x87_fld_f32", &x87::fld_f32>::call(x, {x.load(x.address(*m), Type::I32)});
  } else if (m->size == 64) {
    X87<"x87_fld_f64", &x87::fld_f64>::call(x, {x.load(x.address(*m), Type::I64)});
  } else {
    const Memory at = x.address(*m, 10, false);
    const Value low = x.load(at, Type::I64);
    const Value high = x.load(Memory{x.b.add(at.linear, x.b.i64(8))}, Type::I16);
    X87<"x87_fld_f80", &x87::fld_f80>::call(x, {low, x.b.zext(Type::I32, high)});
  }
  return done(x);
}

InsnEnd fild(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const auto& m = *memory_operand(x);
  const Value v = x.load(x.address(m), x.type_of(m));
  X87<"x87_fild", &x87::fild>::call(x, {x.b.sext(Type::I64, v)});
  return done(x);
}

InsnEnd fbld(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(*memory_operand(x), 10, false);
  const Value low = x.load(at, Type::I64);
  const Value high = x.load(Memory{x.b.add(at.linear, x.b.i64(8))}, Type::I16);
  X87<"x87_fbld", &x87::fbld>::call(x, {low, x.b.zext(Type::I32, high)});
  return done(x);
}

template <uint32_t which>
InsnEnd constant(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  X87<"x87_constant", &x87::fld_constant>::call(x, {x.b.i32(which)});
  return done(x);
}

// --- stores
void emit_pop(InsnContext& x) {
  const Value top = x.b.get(Type::I32, offsetof(State, fpstt));
  const Value tags = x.b.get(Type::I64, offsetof(State, fptags));
  const Value shift = x.b.trunc(Type::I8, x.b.shift(Op::shl, top, x.b.i8(3)));
  x.b.set(offsetof(State, fptags), x.b.or_(tags, x.b.shift(Op::shl, x.b.i64(1), shift)));
  x.b.set(offsetof(State, fpstt), x.b.and_(x.b.add(top, x.b.i32(1)), x.b.i32(7)));
}

// kind: kStore.. or kInt.., with kStorePop
InsnEnd store(InsnContext& x, uint32_t kind) {
  static constexpr std::array<ir::Type, 4> kParams{Type::I64, Type::I32};
  static const ir::HelperDesc checked{.name = "x87_store",
                                      .function = reinterpret_cast<const void*>(&x87::store_checked),
                                      .result = Type::Void,
                                      .params = kParams};
  const auto& m = *memory_operand(x);
  const uint32_t what = kind & ~x87::kStorePop;
  const bool wide = what == x87::kStoreF80 || what == x87::kStoreBcd;
  const Memory at = x.address(m, wide ? 10 : m.size / 8u, true);
  if (wide || !x.mode(kModeFpuFlat)) {
    x.call(checked, {at.linear, x.b.i32(kind)});
    return done(x);
  }
  // The status word changes only if the store does not fault.
  Value v;
  switch (what) {
    case x87::kStoreF32: v = X87<"x87_st0_f32", &x87::st0_f32>::call(x); break;
    case x87::kStoreF64: v = X87<"x87_st0_f64", &x87::st0_f64>::call(x); break;
    default: v = x.b.trunc(x.type_of(m), X87<"x87_st0_int", &x87::st0_int>::call(x, {x.b.i32(what)})); break;
  }
  x.store(at, v);
  x.b.set(offsetof(State, fpus), x.b.get(Type::I16, offsetof(State, fpus_next_)));
  if (kind & x87::kStorePop) emit_pop(x);
  return done(x);
}

template <bool pop>
InsnEnd fst(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const auto* m = memory_operand(x);
  if (m == nullptr) {
    if (pop) X87<"x87_fstp_st", &x87::fstp_st>::call(x, {st_index(x)});
    else X87<"x87_fst_st", &x87::fst_st>::call(x, {st_index(x)});
    return done(x);
  }
  const uint32_t kind = m->size == 32 ? x87::kStoreF32 : m->size == 64 ? x87::kStoreF64 : x87::kStoreF80;
  return store(x, kind | (pop ? x87::kStorePop : 0u));
}

InsnEnd fstpnce(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  X87<"x87_fstpnce", &x87::fstpnce>::call(x, {st_index(x)});
  return done(x);
}

template <uint32_t flags>
InsnEnd fist(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const auto size = memory_operand(x)->size;
  return store(x, (size == 16 ? x87::kInt16 : size == 32 ? x87::kInt32 : x87::kInt64) | flags);
}

InsnEnd fbstp(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  return store(x, x87::kStoreBcd | x87::kStorePop);
}

// --- conditional moves: the condition code of the CMOVcc with the same meaning
template <unsigned cc>
InsnEnd fcmov(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  const Value condition = x.b.zext(Type::I32, x.condition(cc));
  X87<"x87_fcmov", &x87::fcmov>::call(x, {st_index(x), condition});
  return done(x);
}

// --- nothing to do but to wait
InsnEnd fnop(InsnContext& x) {
  if (!x87_ready(x)) return InsnEnd::Closed;
  if (!x.mode(kModeFpuFlat)) x.call(kFpuCheckPending);
  return InsnEnd::Next;
}

// FENI, FDISI and FSETPM of the 8087 and 80287: no operation since.
InsnEnd old_nop(InsnContext& x) { return x87_ready(x) ? InsnEnd::Next : InsnEnd::Closed; }

InsnEnd fwait(InsnContext& x) {
  if (x.mode(kModeTs) && x.mode(kModeMp)) {
    x.raise(kNM);
    return InsnEnd::Closed;
  }
  if (!x.mode(kModeFpuFlat)) x.call(kFpuCheckPending);
  return InsnEnd::Next;
}

#define X87_ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Fpu}
constexpr Row kRows[] = {
    X87_ROW(FADD, &arith<"x87_fadd", Arith::Add>),
    X87_ROW(FADDP, &arith<"x87_fadd", Arith::Add>),
    X87_ROW(FIADD, &arith<"x87_fadd", Arith::Add>),
    X87_ROW(FMUL, &arith<"x87_fmul", Arith::Mul>),
    X87_ROW(FMULP, &arith<"x87_fmul", Arith::Mul>),
    X87_ROW(FIMUL, &arith<"x87_fmul", Arith::Mul>),
    X87_ROW(FSUB, &arith<"x87_fsub", Arith::Sub>),
    X87_ROW(FSUBP, &arith<"x87_fsub", Arith::Sub>),
    X87_ROW(FISUB, &arith<"x87_fsub", Arith::Sub>),
    X87_ROW(FSUBR, &arith<"x87_fsubr", Arith::SubR>),
    X87_ROW(FSUBRP, &arith<"x87_fsubr", Arith::SubR>),
    X87_ROW(FISUBR, &arith<"x87_fsubr", Arith::SubR>),
    X87_ROW(FDIV, &arith<"x87_fdiv", Arith::Div>),
    X87_ROW(FDIVP, &arith<"x87_fdiv", Arith::Div>),
    X87_ROW(FIDIV, &arith<"x87_fdiv", Arith::Div>),
    X87_ROW(FDIVR, &arith<"x87_fdivr", Arith::DivR>),
    X87_ROW(FDIVRP, &arith<"x87_fdivr", Arith::DivR>),
    X87_ROW(FIDIVR, &arith<"x87_fdivr", Arith::DivR>),
    X87_ROW(FCOM, &compare<"x87_fcom", false, 0>),
    X87_ROW(FCOMP, &compare<"x87_fcomp", false, 1>),
    X87_ROW(FCOMPP, &compare<"x87_fcompp", false, 2>),
    X87_ROW(FICOM, &compare<"x87_ficom", false, 0>),
    X87_ROW(FICOMP, &compare<"x87_ficomp", false, 1>),
    X87_ROW(FUCOM, &compare<"x87_fucom", true, 0>),
    X87_ROW(FUCOMP, &compare<"x87_fucomp", true, 1>),
    X87_ROW(FUCOMPP, &compare<"x87_fucompp", true, 2>),
    {ZYDIS_MNEMONIC_FCOMI, &compare_eflags<"x87_fcomi", false, false>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCOMIP, &compare_eflags<"x87_fcomip", false, true>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FUCOMI, &compare_eflags<"x87_fucomi", true, false>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FUCOMIP, &compare_eflags<"x87_fucomip", true, true>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVB, &fcmov<2>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVNB, &fcmov<3>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVE, &fcmov<4>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVNE, &fcmov<5>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVBE, &fcmov<6>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVNBE, &fcmov<7>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVU, &fcmov<10>, Feature::Cmov},
    {ZYDIS_MNEMONIC_FCMOVNU, &fcmov<11>, Feature::Cmov},
    X87_ROW(FLD, &fld),
    X87_ROW(FILD, &fild),
    X87_ROW(FBLD, &fbld),
    X87_ROW(FLD1, &constant<x87::kOne>),
    X87_ROW(FLDL2T, &constant<x87::kLog2Ten>),
    X87_ROW(FLDL2E, &constant<x87::kLog2E>),
    X87_ROW(FLDPI, &constant<x87::kPi>),
    X87_ROW(FLDLG2, &constant<x87::kLog10Two>),
    X87_ROW(FLDLN2, &constant<x87::kLnTwo>),
    X87_ROW(FLDZ, &constant<x87::kZero>),
    X87_ROW(FST, &fst<false>),
    X87_ROW(FSTP, &fst<true>),
    X87_ROW(FSTPNCE, &fstpnce),
    X87_ROW(FIST, &fist<0>),
    X87_ROW(FISTP, &fist<x87::kStorePop>),
    {ZYDIS_MNEMONIC_FISTTP, &fist<x87::kTrunc | x87::kStorePop>, Feature::Sse3},
    X87_ROW(FBSTP, &fbstp),
    X87_ROW(FXCH, &plain<"x87_fxch", &x87::fxch>),
    X87_ROW(FFREE, &plain<"x87_ffree", &x87::ffree>),
    X87_ROW(FFREEP, &plain<"x87_ffreep", &x87::ffreep>),
    X87_ROW(FINCSTP, &plain<"x87_fincstp", &x87::fincstp>),
    X87_ROW(FDECSTP, &plain<"x87_fdecstp", &x87::fdecstp>),
    X87_ROW(FCHS, &plain<"x87_fchs", &x87::fchs>),
    X87_ROW(FABS, &plain<"x87_fabs", &x87::fabs_>),
    X87_ROW(FXAM, &plain<"x87_fxam", &x87::fxam>),
    X87_ROW(FTST, &plain<"x87_ftst", &x87::ftst>),
    X87_ROW(FSQRT, &plain<"x87_fsqrt", &x87::fsqrt>),
    X87_ROW(FRNDINT, &plain<"x87_frndint", &x87::frndint>),
    X87_ROW(FSCALE, &plain<"x87_fscale", &x87::fscale>),
    X87_ROW(FPREM, &plain<"x87_fprem", &x87::fprem>),
    X87_ROW(FPREM1, &plain<"x87_fprem1", &x87::fprem1>),
    X87_ROW(FXTRACT, &plain<"x87_fxtract", &x87::fxtract>),
    X87_ROW(F2XM1, &plain<"x87_f2xm1", &x87::f2xm1>),
    X87_ROW(FYL2X, &plain<"x87_fyl2x", &x87::fyl2x>),
    X87_ROW(FYL2XP1, &plain<"x87_fyl2xp1", &x87::fyl2xp1>),
    X87_ROW(FPATAN, &plain<"x87_fpatan", &x87::fpatan>),
    X87_ROW(FPTAN, &plain<"x87_fptan", &x87::fptan>),
    X87_ROW(FSIN, &plain<"x87_fsin", &x87::fsin>),
    X87_ROW(FCOS, &plain<"x87_fcos", &x87::fcos>),
    X87_ROW(FSINCOS, &plain<"x87_fsincos", &x87::fsincos>),
    X87_ROW(FNOP, &fnop),
    X87_ROW(FWAIT, &fwait),
    X87_ROW(FENI8087_NOP, &old_nop),
    X87_ROW(FDISI8087_NOP, &old_nop),
    X87_ROW(FSETPM287_NOP, &old_nop),
};
#undef X87_ROW

}  // namespace

std::span<const Row> x87_rows() { return kRows; }

}  // namespace panda::x86
