// AES-NI, PCLMULQDQ and SHA-NI: each operation twice, in portable C++ and by the host's own
// instruction. Translated code calls the host's where the host has it; both are tested against each
// other (crypto_helpers_test.cpp).
#pragma once

#include <cstdint>

#include "ir/helper.h"

namespace panda::x86 {

struct Block128 {
  uint64_t low = 0, high = 0;
  friend bool operator==(const Block128&, const Block128&) = default;
};

// clang-format off
#define PANDA_CRYPTO_OPS(X) \
  X(AesEnc, aesenc) \
  X(AesEncLast, aesenclast) \
  X(AesDec, aesdec) \
  X(AesDecLast, aesdeclast) \
  X(AesImc, aesimc) \
  X(AesKeygen, aeskeygenassist) \
  X(Clmul, pclmulqdq) \
  X(Sha1Rnds4, sha1rnds4) \
  X(Sha1Nexte, sha1nexte) \
  X(Sha1Msg1, sha1msg1) \
  X(Sha1Msg2, sha1msg2) \
  X(Sha256Rnds2, sha256rnds2) \
  X(Sha256Msg1, sha256msg1) \
  X(Sha256Msg2, sha256msg2)
// clang-format on

enum class Crypto : uint8_t {
#define X(name, mnemonic) name,
  PANDA_CRYPTO_OPS(X)
#undef X
};
inline constexpr unsigned kCryptoOps = 14;

// a: the destination operand, b: the source, imm: the immediate byte, xmm0: SHA256RNDS2's third operand.
struct CryptoInput {
  Block128 a{}, b{}, xmm0{};
  uint8_t imm = 0;
};
[[nodiscard]] Block128 crypto_portable(Crypto op, const CryptoInput& in) noexcept;
[[nodiscard]] bool host_has(Crypto op) noexcept;
[[nodiscard]] Block128 crypto_host(Crypto op, const CryptoInput& in) noexcept;  // only where host_has()

// Parameters: destination XMM number | immediate << 8, then the source's halves.
[[nodiscard]] const ir::HelperDesc& crypto_helper(Crypto op);

}  // namespace panda::x86
