// Branches, calls, returns and loops in all operand sizes: each is run alone and its target, stack and
// counter compared with what the manual says, which fits in a few lines here.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "engine_executor.h"
#include "guest/x86/state.h"
#include "random_state.h"

namespace panda::x86test {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr unsigned kRcx = 1, kRsp = 4, kRbx = 3;

class ControlTest : public testing::TestWithParam<std::tuple<Mode, BackendKind>> {
 protected:
  [[nodiscard]] Mode mode() const { return std::get<0>(GetParam()); }
  [[nodiscard]] bool wide() const { return mode() == Mode::Long64; }
  [[nodiscard]] unsigned pointer_bytes() const { return wide() ? 8 : 4; }
  ControlTest() : engine_(mode(), std::get<1>(GetParam())) {}

  Result run(const Bytes& code, const MachineState& before) { return engine_.run(code, before); }
  static uint64_t stack_value(const MachineState& s, uint64_t at, unsigned bytes) {
    uint64_t v = 0;
    std::memcpy(&v, &s.data[at - kData], bytes);
    return v;
  }
  static void poke(MachineState& s, uint64_t at, uint64_t value, unsigned bytes) {
    std::memcpy(&s.data[at - kData], &value, bytes);
  }
  MachineState state(Rng& rng) const { return random_state(rng, mode()); }

  EngineExecutor engine_;
};

// SDM vol. 2, Jcc: the condition of each code.
bool condition(unsigned code, uint64_t flags) {
  const bool cf = flags & 1, pf = flags & 4, zf = flags & 0x40, sf = flags & 0x80, of = flags & 0x800;
  const bool values[] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
  return values[code >> 1] != ((code & 1) != 0);
}

TEST_P(ControlTest, ConditionalJumps) {
  Rng rng(1);
  for (unsigned code = 0; code < 16; code++) {
    for (unsigned i = 0; i < 64; i++) {
      MachineState s = state(rng);
      const bool taken = condition(code, s.rflags);
      EXPECT_EQ(run({static_cast<uint8_t>(0x70 + code), 0x90}, s).state.rip, kCode + 2 - (taken ? 0x70 : 0)) << code;
      const Bytes far{0x0f, static_cast<uint8_t>(0x80 + code), 0x34, 0x12, 0, 0};
      EXPECT_EQ(run(far, s).state.rip, kCode + 6 + (taken ? 0x1234 : 0)) << code;
    }
  }
}

TEST_P(ControlTest, LoopsCountAndTest) {
  Rng rng(2);
  for (const bool short_address : {false, true}) {
    for (const uint8_t opcode : {uint8_t{0xe0}, uint8_t{0xe1}, uint8_t{0xe2}, uint8_t{0xe3}}) {
      for (unsigned i = 0; i < 60; i++) {
        MachineState s = state(rng);
        if (i % 3 == 0) s.gpr[kRcx] = i % 2;
        if (i % 7 == 0) s.gpr[kRcx] = wide() ? uint64_t{1} << 32 : 0x10000;
        // The address size says which counter: 67 makes it ECX in 64-bit mode and CX in 32-bit mode.
        const uint64_t mask =
            wide() ? (short_address ? 0xffffffff : ~uint64_t{0}) : (short_address ? 0xffff : 0xffffffff);
        const bool counts = opcode != 0xe3, zf = (s.rflags & 0x40) != 0;
        const uint64_t count = (s.gpr[kRcx] - (counts ? 1 : 0)) & mask;
        uint64_t after = s.gpr[kRcx];
        if (counts) after = wide() ? count : (s.gpr[kRcx] & ~mask) | count;
        const bool taken = opcode == 0xe3 ? count == 0 : count != 0 && (opcode == 0xe2 || zf == (opcode == 0xe1));
        const Bytes code = short_address ? Bytes{0x67, opcode, 0x20} : Bytes{opcode, 0x20};
        const Result r = run(code, s);
        EXPECT_EQ(r.state.rip, kCode + code.size() + (taken ? 0x20 : 0))
            << unsigned{opcode} << fmt::format(" {:x}", s.gpr[kRcx]);
        EXPECT_EQ(r.state.gpr[kRcx], after) << unsigned{opcode} << fmt::format(" {:x}", s.gpr[kRcx]);
        EXPECT_EQ(r.state.rflags & 0x8d5, s.rflags & 0x8d5);
      }
    }
  }
}

TEST_P(ControlTest, JumpsAndCalls) {
  Rng rng(3);
  for (unsigned i = 0; i < 40; i++) {
    MachineState s = state(rng);
    const uint64_t target = kCode + 0x100 + rng() % 0x200, at = kData + 0x200;
    s.gpr[kRbx] = target;
    poke(s, at, target, 8);
    EXPECT_EQ(run({0xeb, 0x10}, s).state.rip, kCode + 0x12);
    EXPECT_EQ(run({0xe9, 0xf0, 0xff, 0xff, 0xff}, s).state.rip, kCode + 5 - 0x10);
    EXPECT_EQ(run({0xff, 0xe3}, s).state.rip, target);  // JMP RBX
    struct Call {
      Bytes code;
      uint64_t to;
    };
    const Call calls[] = {{{0xe8, 0x00, 0x01, 0x00, 0x00}, kCode + 0x105}, {{0xff, 0xd3}, target}};
    for (const Call& c : calls) {
      const Result r = run(c.code, s);
      EXPECT_EQ(r.state.rip, c.to);
      EXPECT_EQ(r.state.gpr[kRsp], s.gpr[kRsp] - pointer_bytes());
      EXPECT_EQ(stack_value(r.state, r.state.gpr[kRsp], pointer_bytes()), kCode + c.code.size());
    }
    MachineState by_memory = s;
    by_memory.gpr[kRbx] = at;
    EXPECT_EQ(run({0xff, 0x23}, by_memory).state.rip, target);  // JMP [RBX]
    const Result called = run({0xff, 0x13}, by_memory);         // CALL [RBX]
    EXPECT_EQ(called.state.rip, target);
    EXPECT_EQ(stack_value(called.state, called.state.gpr[kRsp], pointer_bytes()), kCode + 2);
    by_memory.gpr[kRsp] = kData + 0x300;
    poke(by_memory, kData + 0x300, target, 8);
    by_memory.gpr[kRbx] = 0;
    const Bytes call_by_stack{0xff, 0x14, 0x24};  // CALL [RSP]: the old RSP
    EXPECT_EQ(run(call_by_stack, by_memory).state.rip, target);
  }
}

TEST_P(ControlTest, Returns) {
  Rng rng(4);
  for (unsigned i = 0; i < 40; i++) {
    MachineState s = state(rng);
    const uint64_t target = kCode + 0x10 + rng() % 0x800, sp = s.gpr[kRsp];
    const auto release = static_cast<uint16_t>(rng() % 0x200);
    poke(s, sp, target, 8);
    Result r = run({0xc3}, s);
    EXPECT_EQ(r.state.rip, target);
    EXPECT_EQ(r.state.gpr[kRsp], sp + pointer_bytes());
    r = run({0xc2, static_cast<uint8_t>(release), static_cast<uint8_t>(release >> 8)}, s);
    EXPECT_EQ(r.state.rip, target);
    EXPECT_EQ(r.state.gpr[kRsp], sp + pointer_bytes() + release);
  }
}

// A fault of the push or of the fetched pointer leaves everything as it was.
TEST_P(ControlTest, FaultsChangeNothing) {
  Rng rng(5);
  MachineState s = state(rng);
  s.gpr[kRsp] = kData + pointer_bytes() / 2;  // across the border of what is mapped
  s.gpr[kRbx] = kCode + 0x80;
  for (const Bytes& code : {Bytes{0xe8, 0, 1, 0, 0}, Bytes{0xff, 0xd3}, Bytes{0x53}, Bytes{0x6a, 1}}) {
    const Result r = run(code, s);
    EXPECT_EQ(r.outcome, Outcome::Protection);
    EXPECT_EQ(r.state.rip, kCode);
    EXPECT_EQ(r.state.gpr, s.gpr);
    EXPECT_EQ(r.state.data, s.data);
  }
  s.gpr[kRsp] = kData + kDataBytes - pointer_bytes() / 2;
  for (const Bytes& code : {Bytes{0xc3}, Bytes{0x5b}, Bytes{0xc2, 8, 0}}) {
    const Result r = run(code, s);
    EXPECT_EQ(r.outcome, Outcome::Protection);
    EXPECT_EQ(r.state.rip, kCode);
    EXPECT_EQ(r.state.gpr, s.gpr);
  }
}

INSTANTIATE_TEST_SUITE_P(X86, ControlTest,
                         testing::Combine(testing::Values(Mode::Long64, Mode::Protected32),
                                          testing::Values(BackendKind::Interpreter, BackendKind::Jit)),
                         [](const auto& which) {
                           return std::string(std::get<0>(which.param) == Mode::Long64 ? "Long64" : "Protected32") +
                                  (std::get<1>(which.param) == BackendKind::Jit ? "Jit" : "Interpreter");
                         });

}  // namespace
}  // namespace panda::x86test
