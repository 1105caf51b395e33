#include "guest/x86/translate_avx.h"

#include <vector>

#include "guest/x86/avx_helpers.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

// VEX forms with the operands of the SSE ones, in 128 bits only: the SSE translator emits them, since the
// functions of translate_fp.h know of VEX.
struct SameForm {
  ZydisMnemonic vex, sse;
};
#define SAME(name) {ZYDIS_MNEMONIC_V##name, ZYDIS_MNEMONIC_##name}
constexpr SameForm kSameForms[] = {
    SAME(COMISS),    SAME(COMISD),    SAME(UCOMISS),   SAME(UCOMISD),    SAME(CVTSS2SI),   SAME(CVTTSS2SI),
    SAME(CVTSD2SI),  SAME(CVTTSD2SI), SAME(MOVD),      SAME(MOVQ),       SAME(PEXTRB),     SAME(PEXTRW),
    SAME(PEXTRD),    SAME(PEXTRQ),    SAME(EXTRACTPS), SAME(PHMINPOSUW), SAME(PCMPESTRI),  SAME(PCMPESTRM),
    SAME(PCMPISTRI), SAME(PCMPISTRM), SAME(LDMXCSR),   SAME(STMXCSR),    SAME(MASKMOVDQU),
};
#undef SAME

std::vector<Row> same_form_rows() {
  std::vector<Row> rows;
  for (const SameForm& form : kSameForms) {
    for (const Row& row : sse_rows()) {
      if (row.mnemonic == form.sse) rows.push_back({form.vex, row.translate, Feature::Avx});
    }
  }
  return rows;
}

}  // namespace

Wide get_wide(InsnContext& x, const ZydisDecodedOperand& op, bool wide) {
  const unsigned n = xmm_number(op);
  return each_half(wide, [&](unsigned half) { return x.b.get(Type::V128, xmm_offset(n) + 16 * half); });
}

void set_wide(InsnContext& x, const ZydisDecodedOperand& op, Wide v) {
  const unsigned n = xmm_number(op);
  x.b.set(xmm_offset(n), v.low);
  x.b.set(ymm_high_offset(n), v.high.valid() ? v.high : x.b.konst(Type::V128, 0));
}

Memory behind(InsnContext& x, const Memory& m, unsigned bytes) {
  const Value sum = x.b.add(m.linear, x.b.i64(bytes));
  return {x.is64() ? sum : x.b.and_(sum, x.b.i64(0xffffffff))};
}

Wide read_wide(InsnContext& x, const ZydisDecodedOperand& op, bool wide, unsigned align) {
  if (!is_memory(op)) return get_wide(x, op, wide);
  const Memory m = x.address(op, wide ? 32 : 16, false);
  if (!wide) return {x.load(m, Type::V128, false, align), Value{}};
  const auto [low, high] = x.load(m, Type::V128, behind(x, m, 16), Type::V128, false, align);
  return {low, high};
}

void store_wide(InsnContext& x, const ZydisDecodedOperand& op, Wide v, unsigned align) {
  const bool wide = v.high.valid();
  const Memory m = x.address(op, wide ? 32 : 16, true);
  // Aligned, the halves lie on one page: where the first can be stored the second can.
  if (wide && align != 32) x.call(kAvxProbeStore, {m.linear, x.b.i32(32)});
  if (wide)
    x.store(m, v.low, behind(x, m, 16), v.high, align);
  else
    x.store(m, v.low, align);
}

Value read_part(InsnContext& x, const ZydisDecodedOperand& op, unsigned bytes) {
  if (!is_memory(op)) return get_xmm(x, op);
  const Memory m = x.address(op, bytes, false);
  if (bytes == 16) return x.load(m, Type::V128);
  Value v = x.load(m, ir::int_of_bytes(bytes));
  if (bytes < 4) v = x.b.zext(Type::I32, v);
  return x.b.emit(Op::vzext, Type::V128, {v});
}

std::span<const Row> avx_rows() {
  static const std::vector<Row> kRows = [] {
    std::vector<Row> all = same_form_rows();
    for (const auto rows : {avx_float_rows(), avx_convert_rows(), avx_integer_rows(), avx_lane_rows(),
                            avx_permute_rows(), avx_move_rows(), avx_memory_rows(), avx_crypto_rows(), fma_rows()}) {
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }();
  return kRows;
}

}  // namespace panda::x86
