// The VEX forms of AES-NI and PCLMULQDQ, in 128 bits (SDM vol. 2). The helpers work on the destination
// register: where there are two sources, the first one is put there once everything has been read.
#include "guest/x86/crypto_helpers.h"
#include "guest/x86/translate_avx.h"

namespace panda::x86 {
namespace {

template <Crypto op, bool two_sources>
InsnEnd crypto(InsnContext& x) {
  if (!avx_ready(x)) return InsnEnd::Closed;
  // 256-bit forms belong to VAES and VPCLMULQDQ, which no CPU model has.
  if (is_256(x)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  const Value source = read_xmm(x, x.ops[two_sources ? 2 : 1]);
  const Value low = x.b.emit(Op::vget_lane, Type::I64, {source}, 0);
  const Value high = x.b.emit(Op::vget_lane, Type::I64, {source}, 1);
  constexpr bool kImmediate = op == Crypto::AesKeygen || op == Crypto::Clmul;
  const uint32_t imm = kImmediate ? immediate8(x.ops[two_sources ? 3 : 2]) : 0u;
  const unsigned to = xmm_number(x.ops[0]);
  if (two_sources) x.b.set(xmm_offset(to), get_xmm(x, x.ops[1]));
  x.call(crypto_helper(op), {x.b.i32(to | imm << 8), low, high});
  x.b.set(ymm_high_offset(to), x.b.konst(Type::V128, 0));
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_VAESENC, &crypto<Crypto::AesEnc, true>, Feature::Aes},
    {ZYDIS_MNEMONIC_VAESENCLAST, &crypto<Crypto::AesEncLast, true>, Feature::Aes},
    {ZYDIS_MNEMONIC_VAESDEC, &crypto<Crypto::AesDec, true>, Feature::Aes},
    {ZYDIS_MNEMONIC_VAESDECLAST, &crypto<Crypto::AesDecLast, true>, Feature::Aes},
    {ZYDIS_MNEMONIC_VAESIMC, &crypto<Crypto::AesImc, false>, Feature::Aes},
    {ZYDIS_MNEMONIC_VAESKEYGENASSIST, &crypto<Crypto::AesKeygen, false>, Feature::Aes},
    {ZYDIS_MNEMONIC_VPCLMULQDQ, &crypto<Crypto::Clmul, true>, Feature::Pclmul},
};

}  // namespace

std::span<const Row> avx_crypto_rows() { return kRows; }

}  // namespace panda::x86
