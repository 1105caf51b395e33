// The x87 helpers against the host's x87: a random register stack, control and status word is
// loaded into both, the same instruction is carried out by both, and everything is compared:
// registers, tags, TOP, flags, condition codes. Exceptions may be unmasked.
#include "guest/x86/x87_helpers.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>

#include "guest/x86/float128.h"
#include "guest/x86/x87_arith.h"

namespace panda::x86 {
namespace {

struct Image {  // FSAVE, 32-bit protected layout
  uint32_t control, status, tags, pointers[4];
  uint8_t registers[80];
};
static_assert(sizeof(Image) == 108);

struct Machine {
  alignas(64) std::array<std::byte, sizeof(VcpuContext) + sizeof(State)> bytes{};
  Machine() { new (bytes.data()) VcpuContext; }
  void* state() { return bytes.data() + sizeof(VcpuContext); }
  State& s() { return *static_cast<State*>(state()); }
};

struct Bits {
  uint64_t low;
  uint16_t high;
};

class Values {
 public:
  explicit Values(uint64_t seed) : random_(seed) {}
  uint64_t bits() { return random_(); }
  bool chance(unsigned one_in) { return random_() % one_in == 0; }

  Bits f80() {
    static constexpr uint64_t kLows[] = {0,
                                         1,
                                         0x8000000000000000,
                                         0x8000000000000001,
                                         0xc000000000000000,
                                         0xffffffffffffffff,
                                         0x7fffffffffffffff,
                                         0xa000000000000000,
                                         0xfffffffffffff800,
                                         0x8000008000000000,
                                         0xffffff7fffffffff,
                                         0xfffffffffffffc00};
    static constexpr uint16_t kExponents[] = {0,      1,      2,      0x3fff, 0x3ffe, 0x4000, 0x4001, 0x400d,
                                              0x400e, 0x401d, 0x401e, 0x403c, 0x403d, 0x403e, 0x403f, 0x7ffe,
                                              0x7fff, 0x3f80, 0x3f6a, 0x3bcd, 0x3c01, 0x43fe, 0x43ff, 0x407e,
                                              0x407f, 0x5fff, 0x1fff, 0x4043, 0x3fbf};
    Bits v{};
    v.low = chance(2) ? bits() | (chance(20) ? 0 : uint64_t{1} << 63) : kLows[bits() % std::size(kLows)];
    const uint16_t exponent = chance(2)   ? static_cast<uint16_t>(0x3ff0 + bits() % 32)
                              : chance(3) ? static_cast<uint16_t>(bits() & 0x7fff)
                                          : kExponents[bits() % std::size(kExponents)];
    if (chance(3)) v.low = (v.low & ~uint64_t{0} << (bits() % 64)) | (v.low & uint64_t{1} << 63);
    v.high = static_cast<uint16_t>(exponent | (chance(2) ? 0x8000 : 0));
    return v;
  }
  uint64_t f64() {
    static constexpr uint64_t kSpecial[] = {0,
                                            1,
                                            0x7ff0000000000000,
                                            0x7ff8000000000000,
                                            0x7ff0000000000001,
                                            0x000fffffffffffff,
                                            0x0010000000000000,
                                            0x3ff0000000000000,
                                            0x7fefffffffffffff,
                                            0xfff4000000000000};
    return chance(2) ? kSpecial[bits() % std::size(kSpecial)] ^ (chance(2) ? uint64_t{1} << 63 : 0) : bits();
  }
  uint32_t f32() {
    static constexpr uint32_t kSpecial[] = {0,          1,          0x7f800000, 0x7fc00000,
                                            0x7f800001, 0x007fffff, 0x3f800000, 0xff800100};
    return chance(2) ? kSpecial[bits() % std::size(kSpecial)] ^ (chance(2) ? 0x80000000 : 0)
                     : static_cast<uint32_t>(bits());
  }

  void state(State& s, bool masked, bool plain) {
    fpu_init(s);
    if (!plain) {
      uint16_t control = static_cast<uint16_t>(bits() & 0xf3f);
      if ((control >> 8 & 3) == 1) control |= 0x200;  // reserved precision
      if (masked) control |= kFpExceptions;
      s.fpuc = static_cast<uint16_t>(control | kFpuControlOnes);
    }
    // No pending exception to begin with.
    s.fpus = static_cast<uint16_t>(bits() & (kFpConditions | kFpSF | (s.fpuc & kFpExceptions)));
    s.fpstt = bits() & 7;
    for (unsigned i = 0; i < 8; ++i) {
      const Bits v = f80();
      s.fpregs[i].d.low = v.low;
      s.fpregs[i].d.high = v.high;
      s.fptags[(s.fpstt + i) & 7] = i < 3 ? chance(16) : i == 7 ? !chance(16) : chance(2);
    }
  }

 private:
  std::mt19937_64 random_;
};

Image image_of(const State& s) {
  Image image{};
  image.control = s.fpuc;
  image.status = fpu_status(s);
  image.tags = fpu_full_tags(s);
  for (unsigned i = 0; i < 8; ++i) {
    std::memcpy(image.registers + 10 * i, &s.fpregs[(s.fpstt + i) & 7].d.low, 8);
    std::memcpy(image.registers + 10 * i + 8, &s.fpregs[(s.fpstt + i) & 7].d.high, 2);
  }
  return image;
}

std::string text(const Image& image) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "cw %04x sw %04x tags %04x", image.control & 0xffff, image.status & 0xffff,
                image.tags & 0xffff);
  std::string out = buffer;
  for (unsigned i = 0; i < 8; ++i) {
    uint64_t low;
    uint16_t high;
    std::memcpy(&low, image.registers + 10 * i, 8);
    std::memcpy(&high, image.registers + 10 * i + 8, 2);
    std::snprintf(buffer, sizeof buffer, " %04x:%016lx", high, low);
    out += buffer;
  }
  return out;
}

bool equal(const Image& a, const Image& b) {
  return ((a.control ^ b.control) & 0xffff) == 0 && ((a.status ^ b.status) & 0xffff) == 0 &&
         ((a.tags ^ b.tags) & 0xffff) == 0 && std::memcmp(a.registers, b.registers, sizeof a.registers) == 0;
}

// An operand in memory; what an instruction leaves there is compared as well.
struct Operand {
  alignas(16) uint8_t bytes[16];
};

using Host = void (*)(Image&, Operand&);
using Guest = void (*)(void* state, Operand&);

constexpr int kRounds = 20000;

void compare(const char* name, Host host, Guest guest, bool masked_only = false, uint32_t ignore_status = 0) {
  Values values(0x5eed + std::hash<std::string>()(name));
  Machine m;
  for (int round = 0; round < kRounds; ++round) {
    values.state(m.s(), masked_only || values.chance(2), values.chance(3));
    Operand host_memory{}, guest_memory{};
    const Bits wide = values.f80();
    const uint64_t f64 = values.f64();
    const uint32_t f32 = values.f32();
    std::memcpy(host_memory.bytes, &wide, 10);
    if (round % 3 == 1) std::memcpy(host_memory.bytes, &f64, 8);
    if (round % 3 == 2) std::memcpy(host_memory.bytes, &f32, 4);
    guest_memory = host_memory;
    const Image before = image_of(m.s());
    Image expected = before;
    host(expected, host_memory);
    guest(m.state(), guest_memory);
    Image actual = image_of(m.s());
    expected.status &= ~ignore_status;
    actual.status &= ~ignore_status;
    // After an unmasked exception that stops the store the operand stays; its helpers are for masked ones.
    ASSERT_TRUE(equal(expected, actual)) << name << " round " << round << "\nbefore   " << text(before) << "\nexpected "
                                         << text(expected) << "\nactual   " << text(actual);
    ASSERT_EQ(std::memcmp(host_memory.bytes, guest_memory.bytes, 16), 0)
        << name << " round " << round << " memory differs\nbefore   " << text(before);
  }
}

#define HOST(insn)                                                                                             \
  [](Image& image, Operand& operand) {                                                                         \
    __asm__ volatile("frstor %0\n " insn "\n fnsave %0\n"                                                      \
                     : "+m"(image), "+m"(operand)::"st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", \
                       "st(7)", "ax", "memory");                                                               \
  }
#define GUEST(body) [](void* state, [[maybe_unused]] Operand& operand) { body; }

template <typename T>
T get(const Operand& o) {
  T v;
  std::memcpy(&v, o.bytes, sizeof v);
  return v;
}
template <typename T>
void put(Operand& o, T v, unsigned at = 0) {
  std::memcpy(o.bytes + at, &v, sizeof v);
}

using x87::Arith;
using x87::Source;

TEST(X87, ArithmeticOnRegisters) {
  compare("fadd", HOST("fadd %%st(1), %%st"), GUEST((x87::arith_st<Arith::Add, false>(state, 0, 1))));
  compare("fmul", HOST("fmul %%st(2), %%st"), GUEST((x87::arith_st<Arith::Mul, false>(state, 0, 2))));
  compare("fsub", HOST("fsub %%st(1), %%st"), GUEST((x87::arith_st<Arith::Sub, false>(state, 0, 1))));
  compare("fsubr", HOST("fsubr %%st(1), %%st"), GUEST((x87::arith_st<Arith::SubR, false>(state, 0, 1))));
  compare("fdiv", HOST("fdiv %%st(1), %%st"), GUEST((x87::arith_st<Arith::Div, false>(state, 0, 1))));
  compare("fdivr", HOST("fdivr %%st(1), %%st"), GUEST((x87::arith_st<Arith::DivR, false>(state, 0, 1))));
  // Bytes, since assemblers disagree about the names: FSUBP and FDIVRP ST(1), ST(0).
  compare("fsubp", HOST(".byte 0xde, 0xe9"), GUEST((x87::arith_st<Arith::Sub, true>(state, 1, 0))));
  compare("fdivrp", HOST(".byte 0xde, 0xf1"), GUEST((x87::arith_st<Arith::DivR, true>(state, 1, 0))));
  compare("fdiv st2", HOST(".byte 0xdc, 0xfa"), GUEST((x87::arith_st<Arith::Div, false>(state, 2, 0))));
}

TEST(X87, ArithmeticOnMemory) {
  compare("fadds", HOST("fadds %1"),
          GUEST((x87::arith_memory<Arith::Add, Source::F32>(state, get<uint32_t>(operand)))));
  compare("faddl", HOST("faddl %1"),
          GUEST((x87::arith_memory<Arith::Add, Source::F64>(state, get<uint64_t>(operand)))));
  compare("fmull", HOST("fmull %1"),
          GUEST((x87::arith_memory<Arith::Mul, Source::F64>(state, get<uint64_t>(operand)))));
  compare("fsubrl", HOST("fsubrl %1"),
          GUEST((x87::arith_memory<Arith::SubR, Source::F64>(state, get<uint64_t>(operand)))));
  compare("fdivs", HOST("fdivs %1"),
          GUEST((x87::arith_memory<Arith::Div, Source::F32>(state, get<uint32_t>(operand)))));
  compare("fdivrl", HOST("fdivrl %1"),
          GUEST((x87::arith_memory<Arith::DivR, Source::F64>(state, get<uint64_t>(operand)))));
  compare("fiaddl", HOST("fiaddl %1"),
          GUEST((x87::arith_memory<Arith::Add, Source::I32>(state, get<uint32_t>(operand)))));
  compare("fidivrs", HOST("fidivrs %1"),
          GUEST((x87::arith_memory<Arith::DivR, Source::I16>(state, static_cast<uint32_t>(get<int16_t>(operand))))));
}

TEST(X87, Compares) {
  compare("fcom", HOST("fcom %%st(1)"), GUEST((x87::compare<false, 0>(state, 1))));
  compare("fcompp", HOST("fcompp"), GUEST((x87::compare<false, 2>(state, 1))));
  compare("fucomp", HOST("fucomp %%st(2)"), GUEST((x87::compare<true, 1>(state, 2))));
  compare("fcoms", HOST("fcoms %1"), GUEST((x87::compare_memory<Source::F32, false>(state, get<uint32_t>(operand)))));
  compare("fcompl", HOST("fcompl %1"), GUEST((x87::compare_memory<Source::F64, true>(state, get<uint64_t>(operand)))));
  compare("ficoml", HOST("ficoml %1"), GUEST((x87::compare_memory<Source::I32, false>(state, get<uint32_t>(operand)))));
  compare("ftst", HOST("ftst"), GUEST(x87::ftst(state)));
  compare("fxam", HOST("fxam"), GUEST(x87::fxam(state)));
  // The flags are put into memory, where they must be equal too. C1 is cleared by the SDM and kept by AMD. Masked,
  // since an unmasked exception keeps EFLAGS.
  compare("fcomi", HOST("clc\n fcomi %%st(1), %%st\n lahf\n movb %%ah, %1"),
          GUEST(put(operand, static_cast<uint8_t>((x87::compare_eflags<false, false>(state, 1)) | 2))), true, kFpC1);
  compare("fucomip", HOST("clc\n fucomip %%st(2), %%st\n lahf\n movb %%ah, %1"),
          GUEST(put(operand, static_cast<uint8_t>((x87::compare_eflags<true, true>(state, 2)) | 2))), true, kFpC1);
}

TEST(X87, Loads) {
  compare("flds", HOST("flds %1"), GUEST(x87::fld_f32(state, get<uint32_t>(operand))));
  compare("fldl", HOST("fldl %1"), GUEST(x87::fld_f64(state, get<uint64_t>(operand))));
  compare("fldt", HOST("fldt %1"),
          GUEST(x87::fld_f80(state, get<uint64_t>(operand),
                             static_cast<uint32_t>(operand.bytes[8] | operand.bytes[9] << 8))));
  compare("fld st", HOST("fld %%st(2)"), GUEST(x87::fld_st(state, 2)));
  compare("filds", HOST("filds %1"), GUEST(x87::fild(state, static_cast<uint64_t>(get<int16_t>(operand)))));
  compare("fildll", HOST("fildll %1"), GUEST(x87::fild(state, get<uint64_t>(operand))));
  compare("fldpi", HOST("fldpi"), GUEST(x87::fld_constant(state, x87::kPi)));
  compare("fldl2t", HOST("fldl2t"), GUEST(x87::fld_constant(state, x87::kLog2Ten)));
  compare("fldl2e", HOST("fldl2e"), GUEST(x87::fld_constant(state, x87::kLog2E)));
  compare("fldlg2", HOST("fldlg2"), GUEST(x87::fld_constant(state, x87::kLog10Two)));
  compare("fldln2", HOST("fldln2"), GUEST(x87::fld_constant(state, x87::kLnTwo)));
  compare("fld1", HOST("fld1"), GUEST(x87::fld_constant(state, x87::kOne)));
  compare("fldz", HOST("fldz"), GUEST(x87::fld_constant(state, x87::kZero)));
}

// The store has not faulted: the status word follows.
template <typename T>
T stored(void* state, T value) {
  State& s = *static_cast<State*>(state);
  s.fpus = s.fpus_next_;
  return value;
}

TEST(X87, Stores) {
  compare("fsts", HOST("fsts %1"), GUEST(put(operand, stored(state, x87::st0_f32(state)))), true);
  compare("fstl", HOST("fstl %1"), GUEST(put(operand, stored(state, x87::st0_f64(state)))), true);
  compare("fists", HOST("fists %1"),
          GUEST(put(operand, static_cast<uint16_t>(stored(state, x87::st0_int(state, x87::kInt16))))), true);
  compare("fistl", HOST("fistl %1"),
          GUEST(put(operand, static_cast<uint32_t>(stored(state, x87::st0_int(state, x87::kInt32))))), true);
  compare("fistpll", HOST("fistpll %1"), GUEST({
            put(operand, stored(state, x87::st0_int(state, x87::kInt64)));
            Fpu(state).pop();
          }),
          true);
  compare("fisttps", HOST("fisttps %1"), GUEST({
            put(operand, static_cast<uint16_t>(stored(state, x87::st0_int(state, x87::kInt16 | x87::kTrunc))));
            Fpu(state).pop();
          }),
          true);
  compare("fisttpl", HOST("fisttpl %1"), GUEST({
            put(operand, static_cast<uint32_t>(stored(state, x87::st0_int(state, x87::kInt32 | x87::kTrunc))));
            Fpu(state).pop();
          }),
          true);
  compare("fisttpll", HOST("fisttpll %1"), GUEST({
            put(operand, stored(state, x87::st0_int(state, x87::kInt64 | x87::kTrunc)));
            Fpu(state).pop();
          }),
          true);
  compare("fst st", HOST("fst %%st(2)"), GUEST(x87::fst_st(state, 2)));
  compare("fstp st", HOST("fstp %%st(2)"), GUEST(x87::fstp_st(state, 2)));
  compare("fstp st0", HOST("fstp %%st(0)"), GUEST(x87::fstp_st(state, 0)));
}

TEST(X87, Registers) {
  compare("fxch", HOST("fxch %%st(2)"), GUEST(x87::fxch(state, 2)));
  compare("fchs", HOST("fchs"), GUEST(x87::fchs(state)));
  compare("fabs", HOST("fabs"), GUEST(x87::fabs_(state)));
  compare("ffree", HOST("ffree %%st(1)"), GUEST(x87::ffree(state, 1)));
  compare("fincstp", HOST("fincstp"), GUEST(x87::fincstp(state)));
  compare("fdecstp", HOST("fdecstp"), GUEST(x87::fdecstp(state)));
  compare("fcmovb", HOST("stc\n fcmovb %%st(2), %%st"), GUEST(x87::fcmov(state, 2, 1)));
  compare("fcmovnb", HOST("stc\n fcmovnb %%st(1), %%st"), GUEST(x87::fcmov(state, 1, 0)));
}

TEST(X87, Functions) {
  compare("fsqrt", HOST("fsqrt"), GUEST(x87::fsqrt(state)));
  compare("frndint", HOST("frndint"), GUEST(x87::frndint(state)));
  compare("fscale", HOST("fscale"), GUEST(x87::fscale(state)));
  compare("fprem", HOST("fprem"), GUEST(x87::fprem(state)));
  compare("fprem1", HOST("fprem1"), GUEST(x87::fprem1(state)));
  compare("fxtract", HOST("fxtract"), GUEST(x87::fxtract(state)));
}

// --- transcendental functions: within one unit in the last place of the host's, and exact in their special cases
int64_t ulps(const Image& a, const Image& b, unsigned reg) {
  Bits x{}, y{};
  std::memcpy(&x.low, a.registers + 10 * reg, 8);
  std::memcpy(&x.high, a.registers + 10 * reg + 8, 2);
  std::memcpy(&y.low, b.registers + 10 * reg, 8);
  std::memcpy(&y.high, b.registers + 10 * reg + 8, 2);
  if (x.high == y.high) return static_cast<int64_t>(x.low - y.low);
  if (x.low == 0 && y.low == 0) return 1 << 20;
  // Across a power of two: 1.000 against 0.111..1
  return x.high - y.high == 1 ? static_cast<int64_t>((x.low << 1) - y.low - 0)
                              : static_cast<int64_t>(x.low - (y.low << 1));
}

void approximate(const char* name, Host host, Guest guest, unsigned results, bool (*in_domain)(const State&)) {
  Values values(77);
  Machine m;
  int tried = 0;
  for (int round = 0; round < kRounds / 4; ++round) {
    values.state(m.s(), true, true);
    if (!in_domain(m.s())) continue;
    ++tried;
    const Image before = image_of(m.s());
    Image expected = before;
    Operand memory{};
    host(expected, memory);
    guest(m.state(), memory);
    const Image actual = image_of(m.s());
    constexpr uint32_t kInexact = kFpPE | kFpUE | kFpC1;
    ASSERT_EQ(expected.status & ~kInexact & 0xffff, actual.status & ~kInexact & 0xffff)
        << name << "\nbefore   " << text(before) << "\nexpected " << text(expected) << "\nactual   " << text(actual);
    for (unsigned i = 0; i < results; ++i) {
      const int64_t error = ulps(expected, actual, i);
      ASSERT_LE(std::abs(error), 2) << name << "\nbefore   " << text(before) << "\nexpected " << text(expected)
                                    << "\nactual   " << text(actual);
    }
  }
  ASSERT_GT(tried, 300);
}

unsigned exponent(const State& s, unsigned i) { return s.fpregs[(s.fpstt + i) & 7].d.high & 0x7fffu; }
bool normal(const State& s, unsigned i) {
  const uint64_t low = s.fpregs[(s.fpstt + i) & 7].d.low;
  return exponent(s, i) != 0 && exponent(s, i) != 0x7fff && low >> 63 != 0 && s.fptags[(s.fpstt + i) & 7] == 0;
}

TEST(X87, Transcendentals) {
  // Where the host reduces by the same pi; tiny arguments aside, whose rounding hosts differ in.
  const auto trig = [](const State& s) {
    return !normal(s, 0) || (exponent(s, 0) < 0x4010 && exponent(s, 0) > 0x3f00);
  };
  const auto any2 = [](const State& s) {
    return (!normal(s, 0) || !normal(s, 1)) ||
           (exponent(s, 0) > 0x2000 && exponent(s, 1) > 0x2000 && exponent(s, 0) < 0x6000 && exponent(s, 1) < 0x6000);
  };
  const auto small = [](const State& s) {
    return !normal(s, 0) || (exponent(s, 0) < 0x3fff && exponent(s, 0) > 0x3f00);
  };
  const auto near1 = [](const State& s) {
    return normal(s, 0) && exponent(s, 0) < 0x3ffd && exponent(s, 0) > 0x3f00 && normal(s, 1) &&
           exponent(s, 1) < 0x6000 && exponent(s, 1) > 0x2000;
  };
  approximate("fsin", HOST("fsin"), GUEST(x87::fsin(state)), 1, trig);
  approximate("fcos", HOST("fcos"), GUEST(x87::fcos(state)), 1, trig);
  approximate("fsincos", HOST("fsincos"), GUEST(x87::fsincos(state)), 2, trig);
  approximate("fptan", HOST("fptan"), GUEST(x87::fptan(state)), 2, trig);
  approximate("fpatan", HOST("fpatan"), GUEST(x87::fpatan(state)), 1, any2);
  approximate("fyl2x", HOST("fyl2x"), GUEST(x87::fyl2x(state)), 1, any2);
  approximate("f2xm1", HOST("f2xm1"), GUEST(x87::f2xm1(state)), 1, small);
  approximate("fyl2xp1", HOST("fyl2xp1"), GUEST(x87::fyl2xp1(state)), 1, near1);
}

// Results by libquadmath, rounded once, where a host's CPU was seen to be one bit off.
TEST(X87, TranscendentalsAreRoundedOnce) {
  struct Case {
    void (*function)(void*) noexcept;
    Bits st0, st1, want;
  };
  const Case cases[] = {
      {x87::fyl2x, {0xb93659490c58e961, 0x3fd5}, {0xd0c2f60b9d821dda, 0xc012}, {0x8742d55b5f204a26, 0x4018}},
      {x87::fyl2x, {0xe419d128da2f0560, 0x4012}, {0xe6f5e2ee63011a47, 0x400e}, {0x8f2617650b5f29a7, 0x4013}},
      {x87::fyl2x, {0xd508e4381741de4d, 0x403b}, {0xbee78294e0e71d14, 0xc00e}, {0xb52a41e102acfd6c, 0xc014}},
      {x87::fyl2xp1, {0xd1f9ede11a38b572, 0xbfe9}, {0xd13da968fee896c7, 0x3ff1}, {0xf799b6a49c9438ba, 0xbfdc}},
      {x87::fyl2xp1, {0xc23429739915cf6d, 0x3ff4}, {0xb4fa6f1867c387c5, 0xbffd}, {0xc5ff22c3c0deaa18, 0xbff3}},
      {x87::fyl2xp1, {0xbe612ba484c20890, 0xbfdd}, {0x9689fbaf6628b47c, 0xbff3}, {0xa182fd8745830f78, 0x3fd2}},
      {x87::f2xm1, {0xd52d1cde4ef3d9d8, 0xbffe}, {0x0000000000000000, 0x0000}, {0xe0870716233ef776, 0xbffd}},
      {x87::f2xm1, {0xebf2087d29eb4f5c, 0xbffc}, {0x0000000000000000, 0x0000}, {0x97273cccf817064c, 0xbffc}},
      {x87::f2xm1, {0xf1c1c1b0b3ffd085, 0x3fe7}, {0x0000000000000000, 0x0000}, {0xa792b6438e5d6743, 0x3fe7}},
      {x87::fpatan, {0x96e659524f090e69, 0x4013}, {0x99a990e3d9b5c075, 0xbfec}, {0x8257e4b17bba1166, 0xbfd8}},
      {x87::fpatan, {0x965c3288920b1387, 0x400a}, {0xa59d1fd8bcb57b63, 0xc00b}, {0x928458ef98e251f3, 0xbfff}},
      {x87::fpatan, {0xbe6d1d3d5b8afb82, 0x3ff0}, {0xe08cd6f25cb15cd0, 0x3ff2}, {0xae521f5c89f190ac, 0x3fff}},
      {x87::fsin, {0xe63bb651f748a646, 0xbffd}, {0x0000000000000000, 0x0000}, {0xde8d5c81480b8459, 0xbffd}},
      {x87::fsin, {0xcbcc2eeee84e7362, 0x3ffa}, {0x0000000000000000, 0x0000}, {0xcbb6a8ed102c4eb3, 0x3ffa}},
      {x87::fcos, {0xa544caca1f16804b, 0x3ffe}, {0x0000000000000000, 0x0000}, {0xcc7ae792432f470b, 0x3ffe}},
      {x87::fcos, {0xbe8de92cf314c8ac, 0x3ffe}, {0x0000000000000000, 0x0000}, {0xbc4b76804ea258d9, 0x3ffe}},
  };
  for (const Case& c : cases) {
    Machine m;
    fpu_init(m.s());
    for (unsigned i = 0; i < 2; i++) {
      m.s().fpregs[i].d = {i == 0 ? c.st0.low : c.st1.low, i == 0 ? c.st0.high : c.st1.high};
      m.s().fptags[i] = 0;
    }
    c.function(m.state());
    const floatx80 found = m.s().fpregs[m.s().fpstt & 7].d;
    EXPECT_EQ(found.low, c.want.low) << &c - cases;
    EXPECT_EQ(found.high, c.want.high) << &c - cases;
  }
}

TEST(Float128Functions, HoldTheirIdentities) {
  const DefaultMxcsr scope;
  std::mt19937_64 random(5);
  const Float128 limit = Float128{1} / (Uint128{1} << 106);
  const auto magnitude = [](Float128 v) { return v < 0 ? -v : v; };
  for (int i = 0; i < 2000; ++i) {
    const long double x = (static_cast<long double>(random()) / 9223372036854775808.0L - 1) * (i < 1000 ? 1 : 50);
    const SineCosine v = sine_cosine_128(x);
    ASSERT_TRUE(magnitude(v.sine * v.sine + v.cosine * v.cosine - 1) < limit) << static_cast<double>(x);
    if (i >= 1000) continue;
    const Float128 back = log2_plus1_times_128(0.0L, 1);
    ASSERT_TRUE(back == 0);
    // arctan is the inverse of tan for the angle that both are exact for.
    const long double t = static_cast<long double>(v.sine / v.cosine);
    const Float128 angle = arctangent_128(t, 1.0L);
    const SineCosine again = sine_cosine_128(static_cast<long double>(angle));
    ASSERT_TRUE(magnitude(again.sine / again.cosine - static_cast<Float128>(t)) < Float128{1} / (uint64_t{1} << 60));
    // 2^a * 2^b = 2^(a + b)
    const Float128 a = exp2_minus1_128(x / 2) + 1, whole = exp2_minus1_128(x) + 1;
    ASSERT_TRUE(magnitude(a * a - whole) < limit * 4) << static_cast<double>(x);
    // log2(u) + log2(v) = log2(u v) where the product is exact
    const auto u = static_cast<long double>(1 + random() % 0xffffffff),
               w = static_cast<long double>(1 + random() % 0xffffffff);
    ASSERT_TRUE(magnitude(log2_times_128(u, 1) + log2_times_128(w, 1) - log2_times_128(u * w, 1)) < limit * 64);
  }
}

TEST(X87, UnmaskedExceptionStaysPendingAndStopsTheResult) {
  Machine m;
  fpu_init(m.s());
  set_fpu_control(m.s(), 0x37b);  // zero divide unmasked
  x87::fld_f64(m.state(), 0);
  x87::fld_f64(m.state(), 0x3ff0000000000000);
  x87::arith_st<Arith::DivR, false>(m.state(), 1, 0);  // ST(1) = 1 / 0
  EXPECT_TRUE(m.s().fpus & kFpES);
  x87::arith_st<Arith::Div, false>(m.state(), 0, 1);
  EXPECT_EQ(m.s().fpus & (kFpES | kFpB | kFpZE), kFpES | kFpB | kFpZE);
  EXPECT_EQ(Fpu(m.state()).st(0), 1.0L);
  EXPECT_FALSE(fpu_flat(m.s()));
}

}  // namespace
}  // namespace panda::x86
