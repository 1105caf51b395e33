// The Assembler's own encodings are Xbyak's, byte for byte.
#include "backend/x64/assembler.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace panda::x64 {
namespace {

using Xbyak::Operand;

// One of each for both, and what they have emitted since the last comparison.
class AssemblerTest : public ::testing::Test {
 protected:
  AssemblerTest()
      : ours_(ours_bytes_.size(), ours_bytes_.data(), Features{}),
        theirs_(theirs_bytes_.size(), theirs_bytes_.data()) {}

  template <typename Emit>
  void same(Emit emit) {
    ours_.setSize(0);
    theirs_.setSize(0);
    emit(ours_);
    emit(theirs_);
    const auto text = [](const Xbyak::CodeArray& c) {
      return std::string(reinterpret_cast<const char*>(c.getCode()), c.getSize());
    };
    ASSERT_EQ(text(ours_), text(theirs_));
    compared_++;
  }
  // With each general register of each width.
  template <typename F>
  static void registers(F f) {
    for (int r = 0; r < 16; r++) {
      f(reg8(r));
      f(reg16(r));
      f(reg32(r));
      f(reg64(r));
    }
  }
  template <typename F>
  static void addresses(F f) {
    for (const int disp : {0, 1, -1, 127, 128, -128, -129, 0x12345, -0x7fffffff}) {
      for (int b = 0; b < 16; b++) {
        f(reg64(b) + disp);
        for (const int x : {0, 1, 5, 8, 12, 13, 15}) {
          for (const int scale : {1, 2, 4, 8}) f(reg64(b) + reg64(x) * scale + disp);
        }
      }
      f(reg64(3) * 2 + disp);
      f(reg64(9) * 8 + disp);
    }
  }

  std::array<uint8_t, 4096> ours_bytes_{}, theirs_bytes_{};
  Assembler ours_;
  Xbyak::CodeGenerator theirs_;
  int compared_ = 0;
};

constexpr uint32_t kImmediates[] = {0,          1,          0x7f,       0x80,       0xff,       0x1234,
                                    0x7fffffff, 0x80000000, 0xffffff7f, 0xffffff80, 0xfffff000, 0xffffffff};

TEST_F(AssemblerTest, BetweenRegisters) {
  registers([&](auto a) {
    registers([&](auto b) {
      if (a.getBit() != b.getBit()) return;
      same([&](auto& c) { c.mov(a, b); });
      same([&](auto& c) { c.add(a, b); });
      same([&](auto& c) { c.or_(a, b); });
      same([&](auto& c) { c.and_(a, b); });
      same([&](auto& c) { c.sub(a, b); });
      same([&](auto& c) { c.xor_(a, b); });
      same([&](auto& c) { c.cmp(a, b); });
    });
  });
  EXPECT_EQ(compared_, 4 * 16 * 16 * 7);
}

TEST_F(AssemblerTest, RegistersAndMemory) {
  addresses([&](const Xbyak::RegExp& at) {
    registers([&](auto r) {
      const Xbyak::Address a = theirs_.ptr[at];
      same([&](auto& c) { c.mov(r, a); });
      same([&](auto& c) { c.mov(a, r); });
      same([&](auto& c) { c.add(r, a); });
      same([&](auto& c) { c.cmp(a, r); });
      if (r.getBit() >= 32) same([&](auto& c) { c.lea(r, a); });
    });
  });
  EXPECT_GT(compared_, 100'000);
}

TEST_F(AssemblerTest, Immediates) {
  for (const uint32_t imm : kImmediates) {
    registers([&](auto r) {
      if (r.getBit() < 32) return;
      same([&](auto& c) { c.add(r, imm); });
      same([&](auto& c) { c.or_(r, imm); });
      same([&](auto& c) { c.and_(r, imm); });
      same([&](auto& c) { c.sub(r, imm); });
      same([&](auto& c) { c.xor_(r, imm); });
      same([&](auto& c) { c.cmp(r, imm); });
      same([&](auto& c) { c.mov(r, uint64_t{imm}); });
      if (r.getBit() == 64) same([&](auto& c) { c.mov(r, uint64_t{imm} << 32 | 5); });
      if (r.getBit() == 64) same([&](auto& c) { c.mov(r, static_cast<uint64_t>(int64_t{static_cast<int32_t>(imm)})); });
    });
    addresses([&](const Xbyak::RegExp& at) {
      same([&](auto& c) { c.mov(c.dword[at], uint64_t{imm}); });
      same([&](auto& c) { c.mov(c.qword[at], static_cast<uint64_t>(int64_t{static_cast<int32_t>(imm)})); });
      same([&](auto& c) { c.mov(c.byte[at], uint64_t{imm & 0xff}); });
      same([&](auto& c) { c.mov(c.word[at], uint64_t{imm & 0xffff}); });
      same([&](auto& c) { c.cmp(c.dword[at], imm); });
      same([&](auto& c) { c.sub(c.qword[at], imm); });
    });
  }
  EXPECT_GT(compared_, 100'000);
}

TEST_F(AssemblerTest, OtherAddressesAreLeftToXbyak) {
  same([&](auto& c) { c.mov(c.rax, c.qword[c.rip + 16]); });
  same([&](auto& c) { c.cmp(c.qword[c.rip + 16], 3); });
  same([&](auto& c) { c.mov(c.ecx, c.dword[c.eax + c.edx * 4 + 8]); });
  same([&](auto& c) { c.mov(c.ah, c.byte[c.rbx]); });
  EXPECT_THROW(ours_.mov(ours_.dword[ours_.rax], uint64_t{1} << 40), Xbyak::Error);
}

}  // namespace
}  // namespace panda::x64
