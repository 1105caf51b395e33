#include "random_state.h"

#include <cstring>

#include "guest/x86/state.h"

namespace panda::x86test {
namespace {

uint64_t interesting(Rng& rng) {
  static const uint64_t kBoundary[] = {0,
                                       1,
                                       2,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0x7fff,
                                       0x8000,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       ~uint64_t{0},
                                       0x3f,
                                       0x40};
  const uint64_t r = rng();
  if (r % 3 != 0) return rng() >> (r / 3 % 4 * 16);
  return kBoundary[r / 3 % std::size(kBoundary)];
}

double interesting_double(Rng& rng) {
  static const double kValues[] = {0.0,
                                   -0.0,
                                   1.0,
                                   -1.0,
                                   0.5,
                                   3.0,
                                   1e300,
                                   -1e300,
                                   1e-310,
                                   2147483647.5,
                                   -2147483649.0,
                                   9.3e18,
                                   1e-5,
                                   65536.0,
                                   __builtin_inf(),
                                   -__builtin_inf(),
                                   __builtin_nan("")};
  if (rng() % 2) return kValues[rng() % std::size(kValues)];
  return static_cast<double>(static_cast<int64_t>(rng())) / static_cast<double>(1 + rng() % 100000);
}

void put(uint8_t* at, const void* from, size_t n) { std::memcpy(at, from, n); }

void random_lanes(uint8_t* at, Rng& rng) {
  switch (rng() % 4) {
    case 0:
      for (size_t i = 0; i < 16; i += 8) {
        const uint64_t v = rng();
        put(at + i, &v, 8);
      }
      break;
    case 1:
      for (size_t i = 0; i < 16; i += 8) {
        const double v = interesting_double(rng);
        put(at + i, &v, 8);
      }
      break;
    case 2:
      for (size_t i = 0; i < 16; i += 4) {
        const auto v = static_cast<float>(interesting_double(rng));
        put(at + i, &v, 4);
      }
      break;
    default:
      for (size_t i = 0; i < 16; i += 8) {
        const uint64_t v = interesting(rng);
        put(at + i, &v, 8);
      }
  }
}

}  // namespace

MachineState random_state(Rng& rng, Mode mode) {
  MachineState s;
  for (auto& r : s.gpr) r = mode == Mode::Long64 ? interesting(rng) : static_cast<uint32_t>(interesting(rng));
  s.gpr[4] = kData + 0x1000 + rng() % 32 * 8;
  s.rflags = 0x202 | (rng() & x86::kArithmeticFlags);
  s.data.resize(kDataBytes);
  for (size_t i = 0; i < s.data.size(); i += 16) random_lanes(&s.data[i], rng);
  uint16_t fcw = rng() % 4 ? 0x37f : static_cast<uint16_t>(0x7f | (rng() % 4) << 10 | (rng() % 2 ? 0x300 : 0x200));
  if (rng() % 8 == 0) fcw = static_cast<uint16_t>(fcw & ~(rng() & 0x3f));  // unmasked exceptions
  uint32_t mxcsr = 0x1f80 | (rng() % 4 ? 0u : static_cast<uint32_t>(rng() % 4) << 13);
  if (rng() % 4 == 0) mxcsr |= static_cast<uint32_t>(rng()) & 0x3f;
  if (rng() % 6 == 0) mxcsr |= static_cast<uint32_t>(rng()) & 0x8040;  // flush to zero, denormals are zero
  if (rng() % 8 == 0) mxcsr &= ~(static_cast<uint32_t>(rng()) & 0x1f80);
  put(&s.fx[0], &fcw, 2);
  put(&s.fx[24], &mxcsr, 4);
  uint16_t fsw = static_cast<uint16_t>((rng() % 8) << 11);
  if (rng() % 2) fsw = static_cast<uint16_t>(fsw | (rng() & 0x4700));
  if (rng() % 8 == 0) fsw = static_cast<uint16_t>(fsw | (rng() & 0x7f));
  if (fsw & ~fcw & 0x3f) fsw |= 0x8080;  // one of them is unmasked: pending
  put(&s.fx[2], &fsw, 2);
  s.fx[4] = rng() % 3 ? 0xff : static_cast<uint8_t>(rng());  // abridged tags: mostly full
  for (size_t i = 0; i < 8; i++) {
    const long double v = rng() % 4 ? static_cast<long double>(interesting_double(rng))
                                    : static_cast<long double>(static_cast<int64_t>(rng()));
    put(&s.fx[32 + 16 * i], &v, 10);
  }
  for (size_t i = 0; i < 16; i++) random_lanes(&s.fx[160 + 16 * i], rng);
  for (size_t i = 0; i < 16; i++) random_lanes(&s.ymm_high[16 * i], rng);
  return s;
}

}  // namespace panda::x86test
