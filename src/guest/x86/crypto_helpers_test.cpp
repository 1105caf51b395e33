// The portable form of each operation against the host's instruction, and against published vectors
// where the host lacks it.
#include "guest/x86/crypto_helpers.h"

#include <gtest/gtest.h>

#include <random>

namespace panda::x86 {
namespace {

TEST(Crypto, PortableAgreesWithTheHost) {
  std::mt19937_64 rng(1);
  unsigned compared = 0;
  for (unsigned i = 0; i < kCryptoOps; i++) {
    const auto op = static_cast<Crypto>(i);
    if (!host_has(op)) continue;
    for (unsigned n = 0; n < 2000; n++) {
      const CryptoInput in{
          .a = {rng(), rng()}, .b = {rng(), rng()}, .xmm0 = {rng(), rng()}, .imm = static_cast<uint8_t>(n)};
      const Block128 want = crypto_host(op, in), got = crypto_portable(op, in);
      ASSERT_EQ(got.low, want.low) << crypto_helper(op).name << " input " << n;
      ASSERT_EQ(got.high, want.high) << crypto_helper(op).name << " input " << n;
      compared++;
    }
  }
  if (compared == 0) GTEST_SKIP() << "the host has none of these instructions";
}

Block128 bytes(const char* hex) {
  uint64_t half[2] = {};
  for (unsigned i = 0; i < 16; i++) {
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    half[i / 8] |= uint64_t{digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1])} << (i % 8 * 8);
  }
  return {half[0], half[1]};
}

// FIPS 197, appendix B: rounds 1 and 10 of the example; the equivalent inverse undoes the last.
TEST(Crypto, AesRoundsOfTheStandard) {
  const CryptoInput first{.a = bytes("193de3bea0f4e22b9ac68d2ae9f84808"),
                          .b = bytes("a0fafe1788542cb123a339392a6c7605")};
  EXPECT_EQ(crypto_portable(Crypto::AesEnc, first), bytes("a49c7ff2689f352b6b5bea43026a5049"));
  const CryptoInput last{.a = bytes("eb40f21e592e38848ba113e71bc342d2"),
                         .b = bytes("d014f9a8c9ee2589e13f0cc8b6630ca6")};
  EXPECT_EQ(crypto_portable(Crypto::AesEncLast, last), bytes("3925841d02dc09fbdc118597196a0b32"));
  const Block128 cipher = bytes("3925841d02dc09fbdc118597196a0b32");
  const CryptoInput undo{.a = {cipher.low ^ last.b.low, cipher.high ^ last.b.high}};
  EXPECT_EQ(crypto_portable(Crypto::AesDecLast, undo), last.a);
}

// FIPS 197, appendix A.1: the first expanded word of the example's key.
TEST(Crypto, AesKeyExpansionOfTheStandard) {
  const CryptoInput in{.b = bytes("2b7e151628aed2a6abf7158809cf4f3c"), .imm = 1};
  EXPECT_EQ(crypto_portable(Crypto::AesKeygen, in).high >> 32, 0x01eb848bu) << "RotWord and SubWord of 09cf4f3c, Rcon";
}

}  // namespace
}  // namespace panda::x86
