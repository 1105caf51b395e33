// SSE and MMX data movement (SDM vol. 1, 10.4.1 and 11.4.1).
#include "guest/x86/system.h"
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

// MOVAPS and kin: 16 bytes, aligned or not.
template <bool aligned>
InsnEnd move128(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[0]))
    x.store(x.address(x.ops[0], 16, true), get_xmm(x, x.ops[1]), aligned ? 16 : 0);
  else
    set_xmm(x, x.ops[0], read_xmm(x, x.ops[1], aligned));
  return InsnEnd::Next;
}

// MOVSS, MOVSD: a load zeroes the rest of the register, a move between registers keeps it.
InsnEnd move_scalar(InsnContext& x, Type type) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[0])) {
    x.store(x.address(x.ops[0], ir::size_bytes(type), true), read_low(x, x.ops[1], type));
  } else if (is_memory(x.ops[1])) {
    set_xmm(x, x.ops[0], read_low_vector(x, x.ops[1], type));
  } else {
    const Value low = read_low(x, x.ops[1], type);
    set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), low}));
  }
  return InsnEnd::Next;
}

InsnEnd movss(InsnContext& x) { return move_scalar(x, Type::F32); }
InsnEnd movsd(InsnContext& x) { return move_scalar(x, Type::F64); }

// MOVLPS, MOVHPS, MOVLPD, MOVHPD: a half of the register and memory. Register forms of the first
// two are MOVHLPS and MOVLHPS.
template <unsigned lane>
InsnEnd move_half(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  if (is_memory(x.ops[0])) {
    x.store(x.address(x.ops[0], 8, true), x.b.emit(Op::vget_lane, Type::I64, {get_xmm(x, x.ops[1])}, lane));
  } else {
    const Value v = x.load(x.address(x.ops[1], 8, false), Type::I64);
    set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), v}, lane));
  }
  return InsnEnd::Next;
}

template <unsigned to, unsigned from>
InsnEnd move_between_halves(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value v = x.b.emit(Op::vget_lane, Type::I64, {get_xmm(x, x.ops[1])}, from);
  set_xmm(x, x.ops[0], x.b.emit(Op::vset_lane, Type::V128, {get_xmm(x, x.ops[0]), v}, to));
  return InsnEnd::Next;
}

// MOVD and MOVQ between general registers or memory, MMX and XMM.
InsnEnd move_gpr(InsnContext& x) {
  const auto &to = x.ops[0], &from = x.ops[1];
  const bool mmx = is_mmx(to) || is_mmx(from);
  if (!(mmx ? mmx_ready(x) : sse_ready(x))) return InsnEnd::Closed;
  // MOVD takes 32 bits, MOVQ 64; with REX.W the first may bear the second's name.
  bool wide = x.insn.mnemonic == ZYDIS_MNEMONIC_MOVQ || x.insn.mnemonic == ZYDIS_MNEMONIC_VMOVQ;
  for (const auto* op : {&to, &from}) {
    if (!is_mmx(*op) && !is_xmm(*op)) wide = op->size == 64;
  }
  const Type type = wide ? Type::I64 : Type::I32;
  Value v;
  if (is_xmm(from))
    v = x.b.emit(Op::vlow, type, {get_xmm(x, from)});
  else if (is_mmx(from))
    v = x.b.trunc(type, get_mm(x, mmx_number(from)));
  else if (is_memory(from))
    v = x.load(x.address(from, ir::size_bytes(type), false), type);
  else
    v = x.reg(from.reg.value);
  if (is_memory(to)) x.store(x.address(to, ir::size_bytes(type), true), v);
  if (mmx) enter_mmx(x);
  if (is_xmm(to))
    set_xmm(x, to, x.b.emit(Op::vzext, Type::V128, {v}));
  else if (is_mmx(to))
    set_mm(x, mmx_number(to), x.b.zext(Type::I64, v));
  else if (!is_memory(to))
    x.set_reg(to.reg.value, v);
  return InsnEnd::Next;
}

// MOVSHDUP, MOVSLDUP: a shuffle of 32-bit lanes.
template <uint8_t control>
InsnEnd duplicate32(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  set_xmm(x, x.ops[0], x.b.unary(Op::vpshufd, read_xmm(x, x.ops[1]), control));
  return InsnEnd::Next;
}

InsnEnd movddup(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value v = read_low_vector(x, x.ops[1], Type::I64);
  set_xmm(x, x.ops[0], x.b.binary(Op::vunpacklo_i64, v, v));
  return InsnEnd::Next;
}

// MASKMOVDQU: bytes whose mask's top bit is set, to [rDI]. Each goes alone: the others must not be
// touched, and where one faults the instruction is started again.
void masked_store(void* state, uint64_t address, uint64_t low, uint64_t high, uint64_t masks) noexcept {
  Cpu cpu(state);
  for (unsigned i = 0; i < 16; ++i) {
    if ((masks >> i & 1) == 0) continue;
    const auto byte = static_cast<uint8_t>((i < 8 ? low : high) >> (8 * (i & 7)));
    if (!write_linear(cpu, address + i, cpu.mode(), byte)) return;
  }
}

const ir::HelperDesc& masked_store_helper() {
  static const ir::HelperDesc desc{.name = "sse_masked_store",
                                   .function = reinterpret_cast<const void*>(&masked_store),
                                   .result = Type::Void,
                                   .params = {Type::I64, Type::I64, Type::I64, Type::I64},
                                   .reads = ir::kNoState,
                                   .writes = ir::kNoState};
  return desc;
}

const ZydisDecodedOperand& hidden_memory(const InsnContext& x) {
  unsigned i = 0;
  while (!is_memory(x.ops[i])) ++i;
  return x.ops[i];
}

InsnEnd maskmovdqu(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value v = get_xmm(x, x.ops[0]);
  const Value masks = x.b.emit(Op::vmovmsk, Type::I32, {get_xmm(x, x.ops[1])}, 0, 1);
  const Memory at = x.address(hidden_memory(x), 16, true);
  x.call(masked_store_helper(), {at.linear, x.b.emit(Op::vget_lane, Type::I64, {v}, 0),
                                 x.b.emit(Op::vget_lane, Type::I64, {v}, 1), x.b.zext(Type::I64, masks)});
  return InsnEnd::Next;
}

InsnEnd maskmovq(InsnContext& x) {
  if (!mmx_ready(x)) return InsnEnd::Closed;
  const Value mask = x.b.emit(Op::vzext, Type::V128, {read_mm(x, x.ops[1])});
  const Value masks = x.b.emit(Op::vmovmsk, Type::I32, {mask}, 0, 1);
  const Memory at = x.address(hidden_memory(x), 8, true);
  x.call(masked_store_helper(), {at.linear, read_mm(x, x.ops[0]), x.b.i64(0), x.b.zext(Type::I64, masks)});
  enter_mmx(x);
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_MOVAPS, &move128<true>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVAPD, &move128<true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVDQA, &move128<true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVNTPS, &move128<true>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVNTPD, &move128<true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVNTDQ, &move128<true>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVNTDQA, &move128<true>, Feature::Sse41},
    {ZYDIS_MNEMONIC_MOVUPS, &move128<false>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVUPD, &move128<false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVDQU, &move128<false>, Feature::Sse2},
    {ZYDIS_MNEMONIC_LDDQU, &move128<false>, Feature::Sse3},
    {ZYDIS_MNEMONIC_MOVSS, &movss, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVSD, &movsd, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVLPS, &move_half<0>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVLPD, &move_half<0>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVHPS, &move_half<1>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVHPD, &move_half<1>, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVHLPS, &move_between_halves<0, 1>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVLHPS, &move_between_halves<1, 0>, Feature::Sse},
    {ZYDIS_MNEMONIC_MOVD, &move_gpr, Feature::Mmx},
    {ZYDIS_MNEMONIC_MOVQ, &move_gpr, Feature::Mmx},
    {ZYDIS_MNEMONIC_MOVSHDUP, &duplicate32<0xf5>, Feature::Sse3},
    {ZYDIS_MNEMONIC_MOVSLDUP, &duplicate32<0xa0>, Feature::Sse3},
    {ZYDIS_MNEMONIC_MOVDDUP, &movddup, Feature::Sse3},
    {ZYDIS_MNEMONIC_MASKMOVDQU, &maskmovdqu, Feature::Sse2},
    {ZYDIS_MNEMONIC_MASKMOVQ, &maskmovq, Feature::Sse},
};

}  // namespace

std::span<const Row> sse_move_rows() { return kRows; }

}  // namespace panda::x86
