// AES-NI, PCLMULQDQ and SHA-NI (SDM vol. 2).
#include "guest/x86/crypto_helpers.h"
#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {
namespace {

template <Crypto op>
InsnEnd crypto(InsnContext& x) {
  if (!sse_ready(x)) return InsnEnd::Closed;
  const Value source = read_xmm(x, x.ops[1]);
  const bool immediate = op == Crypto::AesKeygen || op == Crypto::Clmul || op == Crypto::Sha1Rnds4;
  const uint32_t control = xmm_number(x.ops[0]) | (immediate ? immediate8(x.ops[2]) : 0u) << 8;
  x.call(crypto_helper(op), {x.b.i32(control), x.b.emit(Op::vget_lane, Type::I64, {source}, 0),
                             x.b.emit(Op::vget_lane, Type::I64, {source}, 1)});
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_AESENC, &crypto<Crypto::AesEnc>, Feature::Aes},
    {ZYDIS_MNEMONIC_AESENCLAST, &crypto<Crypto::AesEncLast>, Feature::Aes},
    {ZYDIS_MNEMONIC_AESDEC, &crypto<Crypto::AesDec>, Feature::Aes},
    {ZYDIS_MNEMONIC_AESDECLAST, &crypto<Crypto::AesDecLast>, Feature::Aes},
    {ZYDIS_MNEMONIC_AESIMC, &crypto<Crypto::AesImc>, Feature::Aes},
    {ZYDIS_MNEMONIC_AESKEYGENASSIST, &crypto<Crypto::AesKeygen>, Feature::Aes},
    {ZYDIS_MNEMONIC_PCLMULQDQ, &crypto<Crypto::Clmul>, Feature::Pclmul},
    {ZYDIS_MNEMONIC_SHA1RNDS4, &crypto<Crypto::Sha1Rnds4>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA1NEXTE, &crypto<Crypto::Sha1Nexte>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA1MSG1, &crypto<Crypto::Sha1Msg1>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA1MSG2, &crypto<Crypto::Sha1Msg2>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA256RNDS2, &crypto<Crypto::Sha256Rnds2>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA256MSG1, &crypto<Crypto::Sha256Msg1>, Feature::Sha},
    {ZYDIS_MNEMONIC_SHA256MSG2, &crypto<Crypto::Sha256Msg2>, Feature::Sha},
};

}  // namespace

std::span<const Row> sse_crypto_rows() { return kRows; }

}  // namespace panda::x86
