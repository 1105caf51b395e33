// AES rounds (FIPS 197), carry-less multiplication and the SHA steps (FIPS 180-4) as SDM vol. 2 describes
// the instructions, in plain C++.
#include <array>
#include <bit>

#include "guest/x86/crypto_helpers.h"

namespace panda::x86 {
namespace {

using Bytes = std::array<uint8_t, 16>;
using Words = std::array<uint32_t, 4>;  // lane 0 first

template <typename To>
To lanes(const Block128& b) {
  return std::bit_cast<To>(b);
}
template <typename From>
Block128 block(const From& v) {
  return std::bit_cast<Block128>(v);
}
Block128 operator^(const Block128& a, const Block128& b) { return {a.low ^ b.low, a.high ^ b.high}; }

// --- AES: arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1
constexpr uint8_t times(uint8_t a, uint8_t b) {
  unsigned product = 0, shifted = a;
  for (unsigned i = 0; i < 8; i++) {
    if ((b >> i & 1) != 0) product ^= shifted;
    shifted = (shifted << 1) ^ ((shifted & 0x80) != 0 ? 0x11bu : 0u);
  }
  return static_cast<uint8_t>(product);
}

struct SubstitutionBoxes {
  std::array<uint8_t, 256> forward{}, inverse{};
  constexpr SubstitutionBoxes() {
    // 3 generates the field's units, so its powers and their inverses run through all of them.
    uint8_t power = 1, reciprocal = 1;
    set(0, 0);
    for (unsigned i = 0; i < 255; i++) {
      set(power, reciprocal);
      power = times(power, 3);
      reciprocal = times(reciprocal, 0xf6);  // 1 / 3
    }
  }
  constexpr void set(uint8_t value, uint8_t inverted) {
    unsigned s = 0x63;
    for (unsigned i = 0; i < 5; i++) s ^= std::rotl(inverted, static_cast<int>(i));
    forward[value] = static_cast<uint8_t>(s);
    inverse[s & 0xff] = value;
  }
};
constexpr SubstitutionBoxes kBoxes;

Bytes substitute(Bytes v, const std::array<uint8_t, 256>& box) {
  for (uint8_t& b : v) b = box[b];
  return v;
}

// Byte 4c + r stands in row r and column c; row r moves by r columns.
Bytes shift_rows(const Bytes& v, bool back) {
  Bytes out;
  for (unsigned i = 0; i < 16; i++) {
    const unsigned row = i % 4, column = i / 4;
    out[i] = v[row + 4 * ((column + (back ? 4 - row : row)) % 4)];
  }
  return out;
}

Bytes mix_columns(const Bytes& v, const std::array<uint8_t, 4>& factors) {
  Bytes out{};
  for (unsigned column = 0; column < 4; column++) {
    for (unsigned row = 0; row < 4; row++) {
      uint8_t sum = 0;
      for (unsigned i = 0; i < 4; i++) sum ^= times(v[4 * column + i], factors[(i + 4 - row) % 4]);
      out[4 * column + row] = sum;
    }
  }
  return out;
}
constexpr std::array<uint8_t, 4> kMix{2, 3, 1, 1}, kUnmix{14, 11, 13, 9};

Block128 encrypt(const CryptoInput& in, bool last) {
  Bytes v = substitute(shift_rows(lanes<Bytes>(in.a), false), kBoxes.forward);
  if (!last) v = mix_columns(v, kMix);
  return block(v) ^ in.b;
}
Block128 decrypt(const CryptoInput& in, bool last) {
  Bytes v = substitute(shift_rows(lanes<Bytes>(in.a), true), kBoxes.inverse);
  if (!last) v = mix_columns(v, kUnmix);
  return block(v) ^ in.b;
}
Block128 keygen(const CryptoInput& in) {
  const Words w = lanes<Words>(block(substitute(lanes<Bytes>(in.b), kBoxes.forward)));
  return block(Words{w[1], std::rotr(w[1], 8) ^ in.imm, w[3], std::rotr(w[3], 8) ^ in.imm});
}

Block128 carryless(const CryptoInput& in) {
  const uint64_t a = (in.imm & 1) != 0 ? in.a.high : in.a.low;
  const uint64_t b = (in.imm & 0x10) != 0 ? in.b.high : in.b.low;
  Block128 r;
  for (unsigned i = 0; i < 64; i++) {
    if ((b >> i & 1) == 0) continue;
    r.low ^= a << i;
    if (i != 0) r.high ^= a >> (64 - i);
  }
  return r;
}

// --- SHA-1. The instructions' "A" stands in lane 3.
Block128 sha1_rounds(const CryptoInput& in) {
  constexpr uint32_t kConstants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
  const unsigned phase = in.imm & 3;
  const auto f = [phase](uint32_t b, uint32_t c, uint32_t d) {
    if (phase == 0) return (b & c) ^ (~b & d);
    return phase == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
  };
  const Words s = lanes<Words>(in.a), w = lanes<Words>(in.b);
  uint32_t a = s[3], b = s[2], c = s[1], d = s[0], e = 0;
  for (unsigned i = 0; i < 4; i++) {  // W's first word has E added already (SHA1NEXTE)
    const uint32_t next = f(b, c, d) + std::rotl(a, 5) + w[3 - i] + e + kConstants[phase];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  return block(Words{d, c, b, a});
}
Block128 sha1_next_e(const CryptoInput& in) {
  Words w = lanes<Words>(in.b);
  w[3] += std::rotl(lanes<Words>(in.a)[3], 30);
  return block(w);
}
Block128 sha1_message1(const CryptoInput& in) {
  const Words a = lanes<Words>(in.a), b = lanes<Words>(in.b);
  return block(Words{b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]});
}
Block128 sha1_message2(const CryptoInput& in) {
  const Words a = lanes<Words>(in.a), b = lanes<Words>(in.b);
  const uint32_t w16 = std::rotl(a[3] ^ b[2], 1), w17 = std::rotl(a[2] ^ b[1], 1), w18 = std::rotl(a[1] ^ b[0], 1);
  return block(Words{std::rotl(a[0] ^ w16, 1), w18, w17, w16});
}

// --- SHA-256
Block128 sha256_rounds(const CryptoInput& in) {
  const Words abef = lanes<Words>(in.b), cdgh = lanes<Words>(in.a), wk = lanes<Words>(in.xmm0);
  uint32_t a = abef[3], b = abef[2], e = abef[1], f = abef[0], c = cdgh[3], d = cdgh[2], g = cdgh[1], h = cdgh[0];
  for (unsigned i = 0; i < 2; i++) {
    const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t t1 = h + wk[i] + choice + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25));
    const uint32_t t2 = majority + (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  return block(Words{f, e, b, a});
}
Block128 sha256_message1(const CryptoInput& in) {
  const Words a = lanes<Words>(in.a);
  const auto sigma = [](uint32_t v) { return std::rotr(v, 7) ^ std::rotr(v, 18) ^ v >> 3; };
  return block(Words{a[0] + sigma(a[1]), a[1] + sigma(a[2]), a[2] + sigma(a[3]), a[3] + sigma(lanes<Words>(in.b)[0])});
}
Block128 sha256_message2(const CryptoInput& in) {
  const Words a = lanes<Words>(in.a), b = lanes<Words>(in.b);
  const auto sigma = [](uint32_t v) { return std::rotr(v, 17) ^ std::rotr(v, 19) ^ v >> 10; };
  const uint32_t w16 = a[0] + sigma(b[2]), w17 = a[1] + sigma(b[3]);
  return block(Words{w16, w17, a[2] + sigma(w16), a[3] + sigma(w17)});
}

}  // namespace

Block128 crypto_portable(Crypto op, const CryptoInput& in) noexcept {
  switch (op) {
    case Crypto::AesEnc:
      return encrypt(in, false);
    case Crypto::AesEncLast:
      return encrypt(in, true);
    case Crypto::AesDec:
      return decrypt(in, false);
    case Crypto::AesDecLast:
      return decrypt(in, true);
    case Crypto::AesImc:
      return block(mix_columns(lanes<Bytes>(in.b), kUnmix));
    case Crypto::AesKeygen:
      return keygen(in);
    case Crypto::Clmul:
      return carryless(in);
    case Crypto::Sha1Rnds4:
      return sha1_rounds(in);
    case Crypto::Sha1Nexte:
      return sha1_next_e(in);
    case Crypto::Sha1Msg1:
      return sha1_message1(in);
    case Crypto::Sha1Msg2:
      return sha1_message2(in);
    case Crypto::Sha256Rnds2:
      return sha256_rounds(in);
    case Crypto::Sha256Msg1:
      return sha256_message1(in);
    case Crypto::Sha256Msg2:
      return sha256_message2(in);
  }
  return in.a;
}

}  // namespace panda::x86
