// The helpers' tables, and the host's instructions. crypto_portable.cpp has what a host without them runs.
#include "guest/x86/crypto_helpers.h"

#include <cpuid.h>
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstddef>

#include "guest/x86/state.h"

namespace panda::x86 {
namespace {

#define PANDA_CRYPTO_TARGET __attribute__((target("aes,pclmul,sha,ssse3,sse4.1")))

__m128i vector_of(const Block128& b) {
  return _mm_set_epi64x(static_cast<long long>(b.high), static_cast<long long>(b.low));
}
Block128 block_of(__m128i v) { return std::bit_cast<Block128>(v); }

// Immediates are part of an instruction: one instance for each that means something else.
template <int imm>
PANDA_CRYPTO_TARGET __m128i keygen(__m128i b) {
  return _mm_aeskeygenassist_si128(b, imm);
}
template <int imm>
PANDA_CRYPTO_TARGET __m128i clmul(__m128i a, __m128i b) {
  return _mm_clmulepi64_si128(a, b, imm);
}
template <int imm>
PANDA_CRYPTO_TARGET __m128i sha1rnds4(__m128i a, __m128i b) {
  return _mm_sha1rnds4_epu32(a, b, imm);
}

PANDA_CRYPTO_TARGET __m128i host(Crypto op, __m128i a, __m128i b, __m128i xmm0, uint8_t imm) {
  switch (op) {
    case Crypto::AesEnc:
      return _mm_aesenc_si128(a, b);
    case Crypto::AesEncLast:
      return _mm_aesenclast_si128(a, b);
    case Crypto::AesDec:
      return _mm_aesdec_si128(a, b);
    case Crypto::AesDecLast:
      return _mm_aesdeclast_si128(a, b);
    case Crypto::AesImc:
      return _mm_aesimc_si128(b);
    // The round constant is XORed into lanes 1 and 3.
    case Crypto::AesKeygen:
      return _mm_xor_si128(keygen<0>(b), _mm_set_epi32(imm, 0, imm, 0));
    case Crypto::Clmul:
      switch (imm & 0x11) {
        case 0x00:
          return clmul<0x00>(a, b);
        case 0x01:
          return clmul<0x01>(a, b);
        case 0x10:
          return clmul<0x10>(a, b);
        default:
          return clmul<0x11>(a, b);
      }
    case Crypto::Sha1Rnds4:
      switch (imm & 3) {
        case 0:
          return sha1rnds4<0>(a, b);
        case 1:
          return sha1rnds4<1>(a, b);
        case 2:
          return sha1rnds4<2>(a, b);
        default:
          return sha1rnds4<3>(a, b);
      }
    case Crypto::Sha1Nexte:
      return _mm_sha1nexte_epu32(a, b);
    case Crypto::Sha1Msg1:
      return _mm_sha1msg1_epu32(a, b);
    case Crypto::Sha1Msg2:
      return _mm_sha1msg2_epu32(a, b);
    case Crypto::Sha256Rnds2:
      return _mm_sha256rnds2_epu32(a, b, xmm0);
    case Crypto::Sha256Msg1:
      return _mm_sha256msg1_epu32(a, b);
    case Crypto::Sha256Msg2:
      return _mm_sha256msg2_epu32(a, b);
  }
  return a;
}

// CPUID is slow where the host is itself a virtual machine: asked once.
struct HostFeatures {
  bool aes = false, pclmul = false, sha = false;
  static const HostFeatures& get() {
    static const HostFeatures features = [] {
      HostFeatures f;
      unsigned a = 0, b = 0, c = 0, d = 0;
      if (__get_cpuid(1, &a, &b, &c, &d) != 0) {
        f.aes = (c & bit_AES) != 0;
        f.pclmul = (c & bit_PCLMUL) != 0;
      }
      if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) f.sha = (b & bit_SHA) != 0;
      return f;
    }();
    return features;
  }
};

template <Crypto op, bool by_host>
void helper(void* state, uint32_t control, uint64_t low, uint64_t high) noexcept {
  State& s = *static_cast<State*>(state);
  auto& d = s.xmm_regs[control & 15];
  const CryptoInput in{.a = {d.ZMM_Q(0), d.ZMM_Q(1)},
                       .b = {low, high},
                       .xmm0 = {s.xmm_regs[0].ZMM_Q(0), s.xmm_regs[0].ZMM_Q(1)},
                       .imm = static_cast<uint8_t>(control >> 8)};
  const Block128 r = by_host ? crypto_host(op, in) : crypto_portable(op, in);
  d.ZMM_Q(0) = r.low;
  d.ZMM_Q(1) = r.high;
}

template <Crypto op>
ir::HelperDesc describe(std::string_view name) {
  constexpr ir::StateRange kVectors{offsetof(State, xmm_regs), offsetof(State, xmm_regs) + sizeof(State::xmm_regs)};
  const auto function = host_has(op) ? &helper<op, true> : &helper<op, false>;
  return {.name = name,
          .function = reinterpret_cast<const void*>(function),
          .result = ir::Type::Void,
          .params = {ir::Type::I32, ir::Type::I64, ir::Type::I64},
          .reads = kVectors,
          .writes = kVectors,
          .may_exit = false};
}

}  // namespace

bool host_has(Crypto op) noexcept {
  const HostFeatures& f = HostFeatures::get();
  if (op < Crypto::Clmul) return f.aes;
  return op == Crypto::Clmul ? f.pclmul : f.sha;
}

Block128 crypto_host(Crypto op, const CryptoInput& in) noexcept {
  return block_of(host(op, vector_of(in.a), vector_of(in.b), vector_of(in.xmm0), in.imm));
}

const ir::HelperDesc& crypto_helper(Crypto op) {
  static const std::array<ir::HelperDesc, kCryptoOps> descriptors{
#define X(name, mnemonic) describe<Crypto::name>("x86_" #mnemonic),
      PANDA_CRYPTO_OPS(X)
#undef X
  };
  return descriptors[static_cast<unsigned>(op)];
}

}  // namespace panda::x86
