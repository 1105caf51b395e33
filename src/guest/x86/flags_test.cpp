// compute_flags against the host CPU's own flags: every lazy operation, every width, boundary and
// random operands.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "guest/x86/state.h"

namespace panda::x86 {
namespace {

#if defined(__x86_64__)

struct HostResult {
  uint64_t result;
  uint32_t flags;
};

template <typename T>
T low(uint64_t v) {
  return static_cast<T>(v);
}

// Beyond the red zone, which the compiler may use in a leaf function.
#define PANDA_TEST_PUSHF "lea -128(%%rsp), %%rsp\n\tpushfq\n\tpopq %0\n\tlea 128(%%rsp), %%rsp"

// Runs `insn` (two-operand: a in and out, b in) with CF = carry and returns a and the flags.
#define HOST_BINARY(name, insn)                                                         \
  template <typename T>                                                                 \
  HostResult name(T a, T b, bool carry) {                                               \
    uint64_t flags = carry ? 1 : 0;                                                     \
    asm volatile("bt $0, %0\n\t" insn " %2, %1\n\t" PANDA_TEST_PUSHF                    \
                 : "+&r"(flags), "+&r"(a)                                               \
                 : "r"(b)                                                               \
                 : "cc", "memory");                                                     \
    return {static_cast<uint64_t>(a), static_cast<uint32_t>(flags) & kArithmeticFlags}; \
  }
#define HOST_UNARY(name, insn)                                                                                 \
  template <typename T>                                                                                        \
  HostResult name(T a, bool carry) {                                                                           \
    uint64_t flags = carry ? 1 : 0;                                                                            \
    asm volatile("bt $0, %0\n\t" insn " %1\n\t" PANDA_TEST_PUSHF : "+&r"(flags), "+&r"(a) : : "cc", "memory"); \
    return {static_cast<uint64_t>(a), static_cast<uint32_t>(flags) & kArithmeticFlags};                        \
  }
#define HOST_SHIFT(name, insn)                                                                                  \
  template <typename T>                                                                                         \
  HostResult name(T a, uint8_t count) {                                                                         \
    uint64_t flags = 0;                                                                                         \
    asm volatile(insn " %%cl, %1\n\t" PANDA_TEST_PUSHF : "=&r"(flags), "+&r"(a) : "c"(count) : "cc", "memory"); \
    return {static_cast<uint64_t>(a), static_cast<uint32_t>(flags) & kArithmeticFlags};                         \
  }
HOST_BINARY(host_add, "add")
HOST_BINARY(host_adc, "adc")
HOST_BINARY(host_sub, "sub")
HOST_BINARY(host_sbb, "sbb")
HOST_BINARY(host_and, "and")
HOST_UNARY(host_inc, "inc")
HOST_UNARY(host_dec, "dec")
HOST_SHIFT(host_shl, "shl")
HOST_SHIFT(host_shr, "shr")
HOST_SHIFT(host_sar, "sar")

template <typename T>
constexpr uint32_t width_index() {
  return sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
}

std::vector<uint64_t> operands() {
  std::vector<uint64_t> v = {0,
                             1,
                             2,
                             0xf,
                             0x10,
                             0x7f,
                             0x80,
                             0x81,
                             0xff,
                             0x100,
                             0x7fff,
                             0x8000,
                             0xffff,
                             0x7fff'ffff,
                             0x8000'0000,
                             0xffff'ffff,
                             0x7fff'ffff'ffff'ffff,
                             0x8000'0000'0000'0000,
                             ~uint64_t{0}};
  std::mt19937_64 random(42);
  for (int i = 0; i < 40; ++i) v.push_back(random() >> (random() % 64));
  return v;
}

template <typename T>
class HostFlags : public testing::Test {
 protected:
  static uint32_t ours(uint32_t base, uint64_t dst, uint64_t src, uint64_t src2 = 0) {
    // What lies above the operand's width must not matter.
    const uint64_t noise = sizeof(T) == 8 ? 0 : uint64_t{0xdead'beef} << (sizeof(T) * 8);
    return compute_flags(base + width_index<T>(), dst | noise, src | noise, src2);
  }
};
using Widths = testing::Types<uint8_t, uint16_t, uint32_t, uint64_t>;
TYPED_TEST_SUITE(HostFlags, Widths);

TYPED_TEST(HostFlags, Arithmetic) {
  using T = TypeParam;
  const auto values = operands();
  for (const uint64_t wide_a : values) {
    for (const uint64_t wide_b : values) {
      const T a = low<T>(wide_a), b = low<T>(wide_b);
      for (const bool carry : {false, true}) {
        SCOPED_TRACE(testing::Message() << std::hex << wide_a << " " << wide_b << " " << carry);
        const auto add = host_add(a, b, carry), adc = host_adc(a, b, carry), sub = host_sub(a, b, carry),
                   sbb = host_sbb(a, b, carry), logic = host_and(a, b, carry);
        ASSERT_EQ(this->ours(kCcAdd, add.result, b), add.flags);
        ASSERT_EQ(this->ours(kCcAdc, adc.result, b, carry), adc.flags);
        ASSERT_EQ(this->ours(kCcSub, sub.result, b), sub.flags);
        ASSERT_EQ(this->ours(kCcSbb, sbb.result, b, carry), sbb.flags);
        ASSERT_EQ(this->ours(kCcLogic, logic.result, b), logic.flags & ~kAF);
      }
    }
  }
}

TYPED_TEST(HostFlags, IncDec) {
  using T = TypeParam;
  for (const uint64_t wide : operands()) {
    for (const bool carry : {false, true}) {
      const auto inc = host_inc(low<T>(wide), carry), dec = host_dec(low<T>(wide), carry);
      ASSERT_EQ(this->ours(kCcInc, inc.result, carry), inc.flags) << std::hex << wide;
      ASSERT_EQ(this->ours(kCcDec, dec.result, carry), dec.flags) << std::hex << wide;
    }
  }
}

// AF is undefined, and OF for counts other than 1.
TYPED_TEST(HostFlags, Shifts) {
  using T = TypeParam;
  constexpr unsigned kBits = sizeof(T) * 8;
  for (const uint64_t wide : operands()) {
    for (uint8_t count = 1; count < kBits; ++count) {
      const uint32_t mask = kArithmeticFlags & ~kAF & (count == 1 ? ~0u : ~kOF_);
      const T a = low<T>(wide);
      const auto shl = host_shl(a, count), shr = host_shr(a, count), sar = host_sar(a, count);
      const T shl_before = static_cast<T>(a << (count - 1));
      const T shr_before = static_cast<T>(a >> (count - 1));
      const T sar_before = static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> (count - 1));
      ASSERT_EQ(this->ours(kCcShl, shl.result, shl_before) & mask, shl.flags & mask)
          << std::hex << wide << " " << +count;
      ASSERT_EQ(this->ours(kCcSar, shr.result, shr_before) & mask, shr.flags & mask)
          << std::hex << wide << " " << +count;
      ASSERT_EQ(this->ours(kCcSar, sar.result, sar_before) & mask, sar.flags & mask)
          << std::hex << wide << " " << +count;
    }
  }
}

#endif

TEST(Flags, StoredFlagsAreMaskedToTheSix) {
  EXPECT_EQ(compute_flags(kCcFlags, ~uint64_t{0}, 0xffff'ffff, 0), kArithmeticFlags);
  EXPECT_EQ(compute_flags(kCcFlags, 0, kDF_ | kIF | kZF, 0), kZF);
}

TEST(Flags, EflagsRoundTrip) {
  static State state{};
  Cpu cpu(state);
  for (const uint32_t v : {0u, kCF | kZF, kDF_ | kIF, kArithmeticFlags | kDF_ | kIF | kIOPL | kNT | kACflag | kID}) {
    cpu.set_eflags(v);
    EXPECT_EQ(cpu.eflags(), v | 2);
    EXPECT_EQ(state.df, (v & kDF_) != 0 ? -1 : 1);
    EXPECT_EQ(state.eflags & (kArithmeticFlags | kDF_), 0u);
  }
}

}  // namespace
}  // namespace panda::x86
