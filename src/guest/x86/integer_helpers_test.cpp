// Division and rotate-through-carry helpers: against what the host's own instructions would give,
// and #DE exactly where the quotient does not fit.
#include "guest/x86/integer_helpers.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <random>

namespace panda::x86 {
namespace {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

class Division : public testing::Test {
 protected:
  Division() : raw_(std::aligned_alloc(64, (sizeof(VcpuContext) + sizeof(State) + 63) & ~size_t{63})) {
    context_ = new (raw_.get()) VcpuContext;
    state_ = new (context_->state()) State{};
    state_->is_64bit_target = 1;
  }

  // True where it raised.
  template <typename D>
  bool divide(const ir::HelperDesc& helper, uint64_t rdx, uint64_t rax, D divisor) {
    Cpu cpu(*state_);
    cpu.set_reg(R_EAX, rax);
    cpu.set_reg(R_EDX, rdx);
    context_->exit_request = 0;
    state_->exception_index = -1;
    using Function = void (*)(void*, D) noexcept;
    reinterpret_cast<Function>(const_cast<void*>(helper.function))(context_->state(), divisor);
    const bool raised = context_->exit_request != 0;
    if (raised) {
      EXPECT_EQ(state_->exception_index, kDE);
      EXPECT_EQ(cpu.reg(R_EAX), rax);  // a fault: nothing changed
      EXPECT_EQ(cpu.reg(R_EDX), rdx);
    }
    return raised;
  }
  uint64_t rax() { return Cpu(*state_).reg(R_EAX); }
  uint64_t rdx() { return Cpu(*state_).reg(R_EDX); }

  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> raw_;
  VcpuContext* context_ = nullptr;
  State* state_ = nullptr;
};

TEST_F(Division, SignedWide) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    // Quotients on both sides of what fits.
    const auto divisor = static_cast<int64_t>(random() >> (random() % 64)) * (random() % 2 != 0 ? 1 : -1);
    const Int128 quotient = static_cast<Int128>(static_cast<int64_t>(random() >> (random() % 64))) *
                            (random() % 2 != 0 ? 1 : -1) * (random() % 8 == 0 ? 2 : 1);
    const Int128 dividend = divisor == 0 ? quotient : divisor * quotient;
    const bool raised = divide(kHelperIdiv64, static_cast<uint64_t>(dividend >> 64), static_cast<uint64_t>(dividend),
                               static_cast<uint64_t>(divisor));
    const bool fits = divisor != 0 && dividend / divisor == static_cast<int64_t>(dividend / divisor);
    ASSERT_EQ(raised, !fits);
    if (raised) continue;
    ASSERT_EQ(rax(), static_cast<uint64_t>(dividend / divisor));
    ASSERT_EQ(rdx(), static_cast<uint64_t>(dividend % divisor));
  }
  EXPECT_FALSE(divide(kHelperIdiv64, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{1}));  // -2^63 / 1 fits
  EXPECT_TRUE(divide(kHelperIdiv64, ~uint64_t{0}, uint64_t{1} << 63, ~uint64_t{0}));  // -2^63 / -1 does not
}

TEST_F(Division, SignedHasNegativeRemainders) {
  ASSERT_FALSE(divide(kHelperIdiv64, ~uint64_t{0}, static_cast<uint64_t>(-7), uint64_t{2}));
  EXPECT_EQ(static_cast<int64_t>(rax()), -3);
  EXPECT_EQ(static_cast<int64_t>(rdx()), -1);
  ASSERT_FALSE(divide(kHelperIdiv32, 0xffff'ffff, static_cast<uint32_t>(-7), 2u));
  EXPECT_EQ(rax(), uint32_t(-3));
  EXPECT_EQ(rdx(), uint32_t(-1));
}

TEST_F(Division, UnsignedWide) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t high = random() >> (random() % 64), low = random(), divisor = random() >> (random() % 64);
    const bool raised = divide(kHelperDiv64, high, low, divisor);
    ASSERT_EQ(raised, divisor == 0 || high >= divisor);
    if (raised) continue;
    const Uint128 dividend = static_cast<Uint128>(high) << 64 | low;
    ASSERT_EQ(rax(), static_cast<uint64_t>(dividend / divisor));
    ASSERT_EQ(rdx(), static_cast<uint64_t>(dividend % divisor));
  }
}

TEST_F(Division, NarrowOnesKeepTheRestOfTheRegister) {
  ASSERT_FALSE(divide(kHelperDiv8, 0x55, 0x1122'3344'5566'0123, 0x10u));
  EXPECT_EQ(rax(), 0x1122'3344'5566'0312u);
  EXPECT_TRUE(divide(kHelperDiv8, 0, 0x1000, 0x10u));
  ASSERT_FALSE(divide(kHelperIdiv8, 0, 0xff80, 0x01u));  // -128 / 1
  EXPECT_EQ(rax(), 0x0080u);
  EXPECT_TRUE(divide(kHelperIdiv8, 0, 0x0080, 0x01u));
  ASSERT_FALSE(divide(kHelperDiv16, 0xaaaa'0001, 0xbbbb'0000, 0x10u));
  EXPECT_EQ(rax(), 0xbbbb'1000u);
  EXPECT_EQ(rdx(), 0xaaaa'0000u);
  EXPECT_TRUE(divide(kHelperIdiv16, 0xffff, 0x8000, 0xffffu));
  EXPECT_TRUE(divide(kHelperIdiv32, 0x8000'0000, 0, 0xffff'ffffu));  // INT64_MIN / -1 must not trap the host
}

TEST(RotateThroughCarry, IsARotateOfOneBitMore) {
  using Value = uint64_t (*)(void*, uint64_t, uint32_t, uint32_t) noexcept;
  using Flags = uint32_t (*)(void*, uint64_t, uint32_t, uint32_t) noexcept;
  const auto rcl = reinterpret_cast<Value>(const_cast<void*>(kHelperRclValue.function));
  const auto rcl_flags = reinterpret_cast<Flags>(const_cast<void*>(kHelperRclFlags.function));
  const auto rcr = reinterpret_cast<Value>(const_cast<void*>(kHelperRcrValue.function));
  const auto rcr_flags = reinterpret_cast<Flags>(const_cast<void*>(kHelperRcrFlags.function));
  std::mt19937_64 random(5);
  for (const uint32_t width : {8u, 16u, 32u, 64u}) {
    const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
    for (uint32_t count = 0; count < width; ++count) {
      const uint64_t v = random() & mask;
      const uint32_t flags = random() % 2 != 0 ? kCF | kZF : kZF;
      const uint32_t packed = count | width << 8;
      const uint64_t left = rcl(nullptr, v, packed, flags);
      const uint32_t left_flags = rcl_flags(nullptr, v, packed, flags);
      const Uint128 joined = static_cast<Uint128>(flags & kCF) << width | v;
      const Uint128 all = (static_cast<Uint128>(1) << (width + 1)) - 1;
      const Uint128 rotated = count == 0 ? joined : ((joined << count | joined >> (width + 1 - count)) & all);
      ASSERT_EQ(left, static_cast<uint64_t>(rotated) & mask) << width << " by " << count;
      ASSERT_EQ(left_flags & kCF, static_cast<uint32_t>(rotated >> width)) << width << " by " << count;
      ASSERT_EQ(left_flags & kZF, kZF);
      // And back again.
      ASSERT_EQ(rcr(nullptr, left, packed, left_flags), v);
      ASSERT_EQ(rcr_flags(nullptr, left, packed, left_flags) & kCF, flags & kCF);
    }
  }
}

// Every condition after every kind of operation says what the flags say (SDM vol. 1, appendix B).
TEST(Conditions, AgreeWithTheFlags) {
  using Condition = uint32_t (*)(void*, uint32_t, uint64_t, uint64_t, uint64_t) noexcept;
  const auto condition = reinterpret_cast<Condition>(const_cast<void*>(kHelperCondition.function));
  const uint64_t boundaries[] = {0,
                                 1,
                                 0x7f,
                                 0x80,
                                 0xff,
                                 0x7fff,
                                 0x8000,
                                 0x7fff'ffff,
                                 0x8000'0000,
                                 0xffff'ffff,
                                 0x7fff'ffff'ffff'ffff,
                                 0x8000'0000'0000'0000,
                                 ~uint64_t{0}};
  std::mt19937_64 random(6);
  const auto pick = [&] { return random() % 2 != 0 ? boundaries[random() % std::size(boundaries)] : random(); };
  for (uint32_t op = kCcAdd; op < kCcOpEnd; op++) {
    for (int i = 0; i < 500; i++) {
      const uint64_t dst = pick(), src = i % 8 == 0 ? dst : pick(), src2 = random() % 2;
      const uint32_t f = compute_flags(op, dst, src, src2);
      const bool less = ((f & kSF) != 0) != ((f & kOF_) != 0), zero = (f & kZF) != 0, carry = (f & kCF) != 0;
      const bool want[] = {(f & kOF_) != 0, carry,           zero, carry || zero,
                           (f & kSF) != 0,  (f & kPF_) != 0, less, less || zero};
      for (uint32_t cc = 0; cc < 16; cc++) {
        ASSERT_EQ(condition(nullptr, op | cc << 16, dst, src, src2) != 0, want[cc >> 1] != ((cc & 1) != 0))
            << "operation " << op << ", condition " << cc << ", " << dst << ", " << src << ", " << src2;
      }
    }
  }
}

}  // namespace
}  // namespace panda::x86
