// Masked moves and gathers (SDM vol. 2, VMASKMOV, VPMASKMOV, VGATHERDPS, VPGATHERDD and kin).
#include "base/check.h"
#include "guest/x86/avx_helpers.h"
#include "guest/x86/decoder.h"
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

uint8_t segment_of(const ZydisDecodedOperand& op) {
  const ZydisRegister segment = op.mem.segment;
  return static_cast<uint8_t>(segment == ZYDIS_REGISTER_NONE ? unsigned{R_DS} : segment_register(segment));
}

template <unsigned lane_bytes>
InsnEnd masked_move(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const bool store = is_memory(x.ops[0]);
  const auto& memory = x.ops[store ? 0 : 2];
  const MaskedMove m{.value = static_cast<uint8_t>(xmm_number(x.ops[store ? 2 : 0])),
                     .mask = static_cast<uint8_t>(xmm_number(x.ops[1])),
                     .lane_bytes = lane_bytes,
                     .lanes = static_cast<uint8_t>((is_256(x) ? 32 : 16) / lane_bytes),
                     .store = store,
                     .seg = segment_of(memory)};
  const Value offset = x.b.zext(Type::I64, x.effective_address(memory));
  x.call(kAvxMaskedMove, {offset, x.b.i64(ir::mask_of(x.address_type())), x.b.i64(m.pack())});
  return InsnEnd::Next;
}

// The operand's base and displacement; the helper adds the indices.
Value base_address(InsnContext& x, const ZydisDecodedOperand& op) {
  ZydisDecodedOperand without_index = op;
  without_index.mem.index = ZYDIS_REGISTER_NONE;
  return x.b.zext(Type::I64, x.effective_address(without_index));
}

template <unsigned lane_bytes, unsigned index_bytes>
InsnEnd gather(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  const auto& memory = x.ops[1];
  const unsigned vector_bytes = is_256(x) ? 32 : 16;
  const ZydisRegister first = memory.mem.index >= ZYDIS_REGISTER_YMM0 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0;
  constexpr uint8_t kScaleLog2[] = {0, 0, 1, 0, 2, 0, 0, 0, 3};
  const Gather g{.value = static_cast<uint8_t>(xmm_number(x.ops[0])),
                 .mask = static_cast<uint8_t>(xmm_number(x.ops[2])),
                 .index = static_cast<uint8_t>(memory.mem.index - first),
                 .lane_bytes = lane_bytes,
                 .index_bytes = index_bytes,
                 .lanes = static_cast<uint8_t>(vector_bytes / std::max(lane_bytes, index_bytes)),
                 .scale_log2 = kScaleLog2[memory.mem.scale & 15],
                 .seg = segment_of(memory)};
  // The architecture leaves no result where two of the three registers are one: #UD.
  if (g.value == g.mask || g.value == g.index || g.mask == g.index) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  x.call(kAvxGather, {base_address(x, memory), x.b.i64(ir::mask_of(x.address_type())), x.b.i64(g.pack())});
  return InsnEnd::Next;
}

#define ROW(mnemonic, ...) {ZYDIS_MNEMONIC_##mnemonic, __VA_ARGS__, Feature::Avx}
constexpr Row kRows[] = {
    ROW(VMASKMOVPS, &masked_move<4>),
    ROW(VMASKMOVPD, &masked_move<8>),
    ROW(VPMASKMOVD, &masked_move<4>),
    ROW(VPMASKMOVQ, &masked_move<8>),
    {ZYDIS_MNEMONIC_VGATHERDPS, &gather<4, 4>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VGATHERDPD, &gather<8, 4>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VGATHERQPS, &gather<4, 8>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VGATHERQPD, &gather<8, 8>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VPGATHERDD, &gather<4, 4>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VPGATHERDQ, &gather<8, 4>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VPGATHERQD, &gather<4, 8>, Feature::Avx2},
    {ZYDIS_MNEMONIC_VPGATHERQQ, &gather<8, 8>, Feature::Avx2},
};
#undef ROW

}  // namespace

std::span<const Row> avx_memory_rows() { return kRows; }

}  // namespace panda::x86
