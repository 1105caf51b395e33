// x87 instructions (SDM vol. 1, chapter 8). The common ones are IR on F80 values where the state of the
// stack is known (x87_inline.h). Otherwise each is one call of a helper that works on the register
// stack in the guest state; memory operands are loaded and stored by IR, so that instrumentation
// sees them and faults are exact. Under kModeFpuFlat (every exception masked, none pending) no
// helper can fault; otherwise the guarded form of the same helper looks for a pending exception
// first, and stores are done by a helper as a whole.
#include <array>
#include <type_traits>

#include "guest/x86/translate_fp.h"
#include "guest/x86/x87_arith.h"
#include "guest/x86/x87_helpers.h"
#include "guest/x86/x87_inline.h"

namespace panda::x86 {
namespace {

using ir::F80Format;
using x87::Arith;
using x87::Source;

constexpr ir::StateRange kFpuRange{offsetof(State, fpstt), offsetof(State, fpip)};

template <typename T>
constexpr Type kIrType = std::is_void_v<T>                                            ? Type::Void
                         : sizeof(std::conditional_t<std::is_void_v<T>, int, T>) == 8 ? Type::I64
                                                                                      : Type::I32;

struct Settle {
  const State& state;
  ~Settle() { settle_host_flags(state); }
};

// The two descriptors of a helper function.
template <FixedString name, auto function>
struct X87;
template <FixedString kName, typename R, typename... A, R (*function)(void*, A...) noexcept>
struct X87<kName, function> {
  static R flat(void* state, A... args) noexcept {
    const Settle settle{*static_cast<State*>(state)};
    return function(state, args...);
  }
  static R guarded(void* state, A... args) noexcept {
    if (fpu_pending(state)) return R();
    return flat(state, args...);
  }
  static inline const ir::HelperDesc flat_desc{.name = kName.text,
                                               .function = reinterpret_cast<const void*>(&flat),
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

// A pending exception comes before what the memory operand raises.
bool ready(InsnContext& x) {
  if (!x87_ready(x)) return false;
  if (!x.mode(kModeFpuFlat) && memory_operand(x) != nullptr) x.call(kFpuCheckPending);
  return true;
}

Value st_index(InsnContext& x) { return x.b.i32(x.insn.raw.modrm.rm); }

// What the helper does to the stack, where nothing goes wrong: registers popped, or pushed (negative).
void moved(InsnContext& x, int registers) {
  if (x.x87 != nullptr && registers != 0) x.x87->moved(registers);
}

// The instruction, operand and opcode of an instruction that may leave an exception pending.
InsnEnd done(InsnContext& x) {
  if (!x.mode(kModeFpuFlat)) {
    x.b.set(offsetof(State, fpip), x.b.i64(x.pc()));
    x.b.set(offsetof(State, fpop), x.b.konst(Type::I16, (x.insn.opcode & 7u) << 8 | x.insn.raw.modrm.mod << 6 |
                                                            x.insn.raw.modrm.reg << 3 | x.insn.raw.modrm.rm));
  }
  return InsnEnd::Next;
}

// A memory source, extended to what its helper takes.
Value load_source(InsnContext& x, const ZydisDecodedOperand& op) {
  const Type type = x.type_of(op);
  const Value v = x.load(x.address(op), type);
  return type == Type::I16 ? x.b.sext(Type::I32, v) : v;
}

// By opcode: the format of a memory operand of arithmetic and compares.
F80Format memory_format(uint8_t opcode) {
  switch (opcode) {
    case 0xd8:
      return F80Format::F32;
    case 0xdc:
      return F80Format::F64;
    case 0xda:
      return F80Format::I32;
    default:
      return F80Format::I16;
  }
}
F80Format int_format(unsigned bits) {
  return bits == 16 ? F80Format::I16 : bits == 32 ? F80Format::I32 : F80Format::I64;
}

template <Arith op>
void inline_arith(InlineX87& f, unsigned dst, unsigned src) {
  constexpr Op kOps[] = {Op::f80_add, Op::f80_mul, Op::f80_sub, Op::f80_sub, Op::f80_div, Op::f80_div};
  constexpr bool kReversed = op == Arith::SubR || op == Arith::DivR;
  const Value a = f.st(kReversed ? src : dst), b = f.st(kReversed ? dst : src);
  f.set_st(dst, f.emit(kOps[static_cast<size_t>(op)], Type::F80, {a, b}));
}

// --- arithmetic: the opcode's low bits say which form (SDM vol. 2, table B-39)
template <FixedString name, Arith op>
InsnEnd arith(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  InlineX87 f(x);
  if (const auto* m = memory_operand(x)) {
    if (f.ready({0})) {
      constexpr Op kOps[] = {Op::f80_add_load,  Op::f80_mul_load, Op::f80_sub_load,
                             Op::f80_subr_load, Op::f80_div_load, Op::f80_divr_load};
      f.set_st(0, f.load(kOps[static_cast<size_t>(op)], *m, memory_format(x.insn.opcode), f.st(0)));
      return f.done();
    }
    const Value v = load_source(x, *m);
    switch (x.insn.opcode) {
      case 0xd8:
        X87<name, &x87::arith_memory<op, Source::F32>>::call(x, {v});
        break;
      case 0xdc:
        X87<name, &x87::arith_memory<op, Source::F64>>::call(x, {v});
        break;
      case 0xda:
        X87<name, &x87::arith_memory<op, Source::I32>>::call(x, {v});
        break;
      default:
        X87<name, &x87::arith_memory<op, Source::I16>>::call(x, {v});
        break;
    }
    return done(x);
  }
  const unsigned number = x.insn.raw.modrm.rm;
  if (f.ready({0, number})) {
    if (x.insn.opcode == 0xd8)
      inline_arith<op>(f, 0, number);
    else
      inline_arith<op>(f, number, 0);
    if (x.insn.opcode != 0xd8 && x.insn.opcode != 0xdc) f.pop();
    return f.done();
  }
  const Value i = st_index(x), top = x.b.i32(0);
  switch (x.insn.opcode) {
    case 0xd8:
      X87<name, &x87::arith_st<op, false>>::call(x, {top, i});
      break;
    case 0xdc:
      X87<name, &x87::arith_st<op, false>>::call(x, {i, top});
      break;
    default:
      X87<name, &x87::arith_st<op, true>>::call(x, {i, top});
      moved(x, 1);
      break;
  }
  return done(x);
}

// --- an instruction without memory operand: helper(state), helper(state, i)
template <FixedString name, auto function, int pops = 0>
InsnEnd plain(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if constexpr (std::is_invocable_v<decltype(function), void*, uint32_t>)
    X87<name, function>::call(x, {st_index(x)});
  else
    X87<name, function>::call(x);
  moved(x, pops);
  return done(x);
}

// --- ST(0) = op ST(0)
template <FixedString name, auto function, Op op>
InsnEnd unary(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({0})) {
    f.set_st(0, f.emit(op, Type::F80, {f.st(0)}));
    return f.done();
  }
  return plain<name, function>(x);
}

// --- conditions from ST(0)
template <FixedString name, auto function, Op op>
InsnEnd examine(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({0})) {
    f.emit(op, Type::Void, {f.st(0)});
    return f.done();
  }
  return plain<name, function>(x);
}

InsnEnd fxch(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const unsigned i = x.insn.raw.modrm.rm;
  if (InlineX87 f(x); f.ready({0, i})) {
    f.clear_c1();
    if (i == 0) return f.done();
    const Value a = f.st(0), b = f.st(i);
    f.set_st(0, b);
    f.set_st(i, a);
    return f.done();
  }
  return plain<"x87_fxch", &x87::fxch>(x);
}

template <bool pop>
InsnEnd ffree(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({})) {
    f.clear_c1();
    f.free(x.insn.raw.modrm.rm);
    if (pop) f.pop();
    return f.done();
  }
  if (pop) return plain<"x87_ffreep", &x87::ffreep, 1>(x);
  return plain<"x87_ffree", &x87::ffree>(x);
}

template <FixedString name, auto function, int by>
InsnEnd rotate(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({})) {
    f.clear_c1();
    f.rotate(by);
    return f.done();
  }
  if (x.x87 != nullptr) x.x87->assume(x.x87->top + static_cast<unsigned>(by), x.x87->empty);
  return plain<name, function>(x);
}

// --- compares
template <FixedString name, bool quiet, unsigned pops>
InsnEnd compare(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  InlineX87 f(x);
  if (const auto* m = memory_operand(x)) {
    if (f.ready({0})) {
      f.load(Op::f80_com_load, *m, memory_format(x.insn.opcode), f.st(0));
      if (pops != 0) f.pop();
      return f.done();
    }
    moved(x, pops);
    const Value v = load_source(x, *m);
    switch (x.insn.opcode) {
      case 0xd8:
        X87<name, &x87::compare_memory<Source::F32, pops != 0>>::call(x, {v});
        break;
      case 0xdc:
        X87<name, &x87::compare_memory<Source::F64, pops != 0>>::call(x, {v});
        break;
      case 0xda:
        X87<name, &x87::compare_memory<Source::I32, pops != 0>>::call(x, {v});
        break;
      default:
        X87<name, &x87::compare_memory<Source::I16, pops != 0>>::call(x, {v});
        break;
    }
    return done(x);
  }
  if (f.ready({0, x.insn.raw.modrm.rm})) {
    f.emit(quiet ? Op::f80_ucom : Op::f80_com, Type::Void, {f.st(0), f.st(x.insn.raw.modrm.rm)});
    for (unsigned n = 0; n < pops; ++n) f.pop();
    return f.done();
  }
  moved(x, pops);
  X87<name, &x87::compare<quiet, pops>>::call(x, {st_index(x)});
  return done(x);
}

template <FixedString name, bool quiet, bool pop>
InsnEnd compare_eflags(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({0, x.insn.raw.modrm.rm})) {
    const Value bits = f.emit(quiet ? Op::f80_ucomi : Op::f80_comi, Type::I32, {f.st(0), f.st(x.insn.raw.modrm.rm)});
    if (pop) f.pop();
    x.set_cc_flags(bits);
    return f.done();
  }
  moved(x, pop ? 1 : 0);
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
  if (!ready(x)) return InsnEnd::Closed;
  const auto* m = memory_operand(x);
  InlineX87 f(x);
  if (m == nullptr ? f.ready({x.insn.raw.modrm.rm}, true) : f.ready({}, true)) {
    if (m == nullptr) {
      f.clear_c1();
      f.push(f.st(x.insn.raw.modrm.rm));
    } else {
      f.push(f.load(Op::f80_load, *m,
                    m->size == 32   ? F80Format::F32
                    : m->size == 64 ? F80Format::F64
                                    : F80Format::F80));
    }
    return f.done();
  }
  moved(x, -1);
  if (m == nullptr) {
    X87<"x87_fld_st", &x87::fld_st>::call(x, {st_index(x)});
  } else if (m->size == 32) {
    X87<"x87_fld_f32", &x87::fld_f32>::call(x, {x.load(x.address(*m), Type::I32)});
  } else if (m->size == 64) {
    X87<"x87_fld_f64", &x87::fld_f64>::call(x, {x.load(x.address(*m), Type::I64)});
  } else {
    const Memory at = x.address(*m, 10, false);
    const auto [low, high] = x.load(at, Type::I64, Memory{x.b.add(at.linear, x.b.i64(8))}, Type::I16);
    X87<"x87_fld_f80", &x87::fld_f80>::call(x, {low, x.b.zext(Type::I32, high)});
  }
  return done(x);
}

InsnEnd fild(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const auto& m = *memory_operand(x);
  if (InlineX87 f(x); f.ready({}, true)) {
    f.push(f.load(Op::f80_load, m, int_format(m.size)));
    return f.done();
  }
  moved(x, -1);
  const Value v = x.load(x.address(m), x.type_of(m));
  X87<"x87_fild", &x87::fild>::call(x, {x.b.sext(Type::I64, v)});
  return done(x);
}

InsnEnd fbld(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const Memory at = x.address(*memory_operand(x), 10, false);
  const auto [low, high] = x.load(at, Type::I64, Memory{x.b.add(at.linear, x.b.i64(8))}, Type::I16);
  X87<"x87_fbld", &x87::fbld>::call(x, {low, x.b.zext(Type::I32, high)});
  moved(x, -1);
  return done(x);
}

template <uint32_t which>
InsnEnd constant(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  if (InlineX87 f(x); f.ready({}, true)) {
    f.push(f.emit(Op::f80_const, Type::F80, {}, which));
    return f.done();
  }
  moved(x, -1);
  X87<"x87_constant", &x87::fld_constant>::call(x, {x.b.i32(which)});
  return done(x);
}

// --- stores
F80Format store_format(uint32_t what) {
  switch (what) {
    case x87::kStoreF32:
      return F80Format::F32;
    case x87::kStoreF64:
      return F80Format::F64;
    case x87::kStoreF80:
      return F80Format::F80;
    case x87::kInt16:
      return F80Format::I16;
    case x87::kInt32:
      return F80Format::I32;
    case x87::kInt64:
      return F80Format::I64;
    case x87::kInt16 | x87::kTrunc:
      return F80Format::I16Trunc;
    case x87::kInt32 | x87::kTrunc:
      return F80Format::I32Trunc;
    default:
      return F80Format::I64Trunc;
  }
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
  if (InlineX87 f(x); what != x87::kStoreBcd && f.ready({0})) {
    f.store(m, store_format(what));
    if (kind & x87::kStorePop) f.pop();
    return f.done();
  }
  if (kind & x87::kStorePop) moved(x, 1);
  const Memory at = x.address(m, wide ? 10 : m.size / 8u, true);
  if (wide || !x.mode(kModeFpuFlat)) {
    x.call(checked, {at.linear, x.b.i32(kind)});
    return done(x);
  }
  // The status word changes only if the store does not fault.
  Value v;
  switch (what) {
    case x87::kStoreF32:
      v = X87<"x87_st0_f32", &x87::st0_f32>::call(x);
      break;
    case x87::kStoreF64:
      v = X87<"x87_st0_f64", &x87::st0_f64>::call(x);
      break;
    default:
      v = x.b.trunc(x.type_of(m), X87<"x87_st0_int", &x87::st0_int>::call(x, {x.b.i32(what)}));
      break;
  }
  x.store(at, v);
  X87<"x87_stored", &x87::stored>::call(x, {x.b.i32(kind & x87::kStorePop)});
  return done(x);
}

template <bool pop>
InsnEnd fst(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const auto* m = memory_operand(x);
  if (m == nullptr) {
    const unsigned i = x.insn.raw.modrm.rm;
    if (InlineX87 f(x); f.ready({0})) {
      f.clear_c1();
      if (i != 0) f.set_st(i, f.st(0));
      if (pop) f.pop();
      return f.done();
    }
    if (pop) moved(x, 1);
    if (pop)
      X87<"x87_fstp_st", &x87::fstp_st>::call(x, {st_index(x)});
    else
      X87<"x87_fst_st", &x87::fst_st>::call(x, {st_index(x)});
    return done(x);
  }
  const uint32_t kind = m->size == 32 ? x87::kStoreF32 : m->size == 64 ? x87::kStoreF64 : x87::kStoreF80;
  return store(x, kind | (pop ? x87::kStorePop : 0u));
}

InsnEnd fstpnce(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  X87<"x87_fstpnce", &x87::fstpnce>::call(x, {st_index(x)});
  moved(x, 1);
  return done(x);
}

template <uint32_t flags>
InsnEnd fist(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const auto size = memory_operand(x)->size;
  return store(x, (size == 16 ? x87::kInt16 : size == 32 ? x87::kInt32 : x87::kInt64) | flags);
}

InsnEnd fbstp(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  return store(x, x87::kStoreBcd | x87::kStorePop);
}

// --- conditional moves: the condition code of the CMOVcc with the same meaning
template <unsigned cc>
InsnEnd fcmov(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
  const Value condition = x.b.zext(Type::I32, x.condition(cc));
  X87<"x87_fcmov", &x87::fcmov>::call(x, {st_index(x), condition});
  return done(x);
}

// --- nothing to do but to wait
InsnEnd fnop(InsnContext& x) {
  if (!ready(x)) return InsnEnd::Closed;
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
    X87_ROW(FXCH, &fxch),
    X87_ROW(FFREE, &ffree<false>),
    X87_ROW(FFREEP, &ffree<true>),
    X87_ROW(FINCSTP, &rotate<"x87_fincstp", &x87::fincstp, 1>),
    X87_ROW(FDECSTP, &rotate<"x87_fdecstp", &x87::fdecstp, -1>),
    X87_ROW(FCHS, &unary<"x87_fchs", &x87::fchs, Op::f80_neg>),
    X87_ROW(FABS, &unary<"x87_fabs", &x87::fabs_, Op::f80_abs>),
    X87_ROW(FXAM, &examine<"x87_fxam", &x87::fxam, Op::f80_xam>),
    X87_ROW(FTST, &examine<"x87_ftst", &x87::ftst, Op::f80_tst>),
    X87_ROW(FSQRT, &unary<"x87_fsqrt", &x87::fsqrt, Op::f80_sqrt>),
    X87_ROW(FRNDINT, &unary<"x87_frndint", &x87::frndint, Op::f80_round>),
    X87_ROW(FSCALE, &plain<"x87_fscale", &x87::fscale>),
    X87_ROW(FPREM, &plain<"x87_fprem", &x87::fprem>),
    X87_ROW(FPREM1, &plain<"x87_fprem1", &x87::fprem1>),
    X87_ROW(FXTRACT, &plain<"x87_fxtract", &x87::fxtract, -1>),
    X87_ROW(F2XM1, &plain<"x87_f2xm1", &x87::f2xm1>),
    X87_ROW(FYL2X, &plain<"x87_fyl2x", &x87::fyl2x, 1>),
    X87_ROW(FYL2XP1, &plain<"x87_fyl2xp1", &x87::fyl2xp1, 1>),
    X87_ROW(FPATAN, &plain<"x87_fpatan", &x87::fpatan, 1>),
    X87_ROW(FPTAN, &plain<"x87_fptan", &x87::fptan, -1>),
    X87_ROW(FSIN, &plain<"x87_fsin", &x87::fsin>),
    X87_ROW(FCOS, &plain<"x87_fcos", &x87::fcos>),
    X87_ROW(FSINCOS, &plain<"x87_fsincos", &x87::fsincos, -1>),
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
