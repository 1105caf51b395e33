// The parts of plugins that need no guest: recognising calls, shadow stacks, searching.
#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "callstack_instr/call_sites.hpp"
#include "callstack_instr/shadow_stacks.hpp"
#include "stringsearch/matcher.hpp"

namespace {

using callstack::Branch;
using callstack::Mode;
using callstack::Target;

// ---- decode(), against a whole decoder

struct ModeRow {
  Mode mode;
  ZydisMachineMode machine;
  ZydisStackWidth width;
};
constexpr ModeRow kModes[] = {
    {Mode::Bits16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
    {Mode::Bits32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
    {Mode::Bits64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
};

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string out;
  for (const uint8_t byte : bytes)
    out += "0123456789abcdef"[byte >> 4], out += "0123456789abcdef"[byte & 15], out += ' ';
  return out;
}

// How many calls and returns were among them.
int check_decode(const ModeRow& row, const std::vector<uint8_t>& bytes) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, row.machine, row.width);
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &insn, operands))) return 0;
  const callstack::Decoded got = callstack::decode(bytes.data(), bytes.size(), row.mode);
  const bool is_call = insn.mnemonic == ZYDIS_MNEMONIC_CALL;
  const bool is_return = insn.mnemonic == ZYDIS_MNEMONIC_RET;
  EXPECT_EQ(got.branch, is_call ? Branch::Call : is_return ? Branch::Return : Branch::None) << hex(bytes);
  if (!is_call) return is_return ? 1 : 0;
  EXPECT_EQ(got.size, insn.length) << hex(bytes) << static_cast<int>(row.mode);
  const ZydisDecodedOperand& operand = operands[0];
  const bool far = insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    EXPECT_EQ(got.target, Target::Relative) << hex(bytes);
    EXPECT_EQ(got.displacement, operand.imm.value.s) << hex(bytes);
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    EXPECT_EQ(got.target, Target::Register) << hex(bytes);
    EXPECT_EQ(got.base, ZydisRegisterGetId(operand.reg.value)) << hex(bytes);
  } else if (far || insn.address_width == 16) {
    EXPECT_EQ(got.target, Target::Other) << hex(bytes);
  } else {
    EXPECT_EQ(got.target, Target::Memory) << hex(bytes);
    const bool pc_base = operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP;
    EXPECT_EQ(got.base, pc_base ? callstack::kPcRegister : ZydisRegisterGetId(operand.mem.base)) << hex(bytes);
    EXPECT_EQ(got.index, ZydisRegisterGetId(operand.mem.index)) << hex(bytes);
    EXPECT_EQ(got.scale, got.index >= 0 ? operand.mem.scale : 1) << hex(bytes);
    EXPECT_EQ(got.displacement, operand.mem.disp.has_displacement ? operand.mem.disp.value : 0) << hex(bytes);
    EXPECT_EQ(got.address_bytes * 8, insn.address_width) << hex(bytes);
    // The decoder takes 3e before a call for CET's "notrack" only. 64-bit code has bases in FS and GS alone.
    const bool notrack = (insn.attributes & ZYDIS_ATTRIB_HAS_NOTRACK) != 0;
    if (!notrack && (row.mode != Mode::Bits64 || got.segment >= 4)) {
      EXPECT_EQ(got.segment, ZydisRegisterGetId(operand.mem.segment)) << hex(bytes);
    }
  }
  if (!far) {
    EXPECT_EQ(got.operand_bytes * 8, insn.operand_width) << hex(bytes);
  }
  return 1;
}

TEST(CallSites, DecodesAsAWholeDecoderDoes) {
  std::minstd_rand random(1);
  const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x3e, 0x64, 0x65, 0x48, 0x41, 0x4f};
  const uint8_t opcodes[] = {0xe8, 0xff, 0xff, 0xff, 0x9a, 0xc3, 0xc2, 0xcb, 0xca};
  int found = 0;
  for (int i = 0; i < 300'000; i++) {
    std::vector<uint8_t> bytes;
    for (auto n = random() % 3; n > 0; n--) bytes.push_back(prefixes[random() % std::size(prefixes)]);
    bytes.push_back(random() % 4 != 0 ? opcodes[random() % std::size(opcodes)] : static_cast<uint8_t>(random()));
    while (bytes.size() < 15) bytes.push_back(static_cast<uint8_t>(random()));
    for (const ModeRow& row : kModes) found += check_decode(row, bytes);
    if (HasFailure()) return;
  }
  EXPECT_GT(found, 100'000);
}

TEST(CallSites, OneAddressWithTwoCallsIsNotKnown) {
  const uint8_t forward[] = {0xe8, 0, 0x10, 0, 0};
  const uint8_t through_eax[] = {0xff, 0xd0};
  const callstack::Site a{0x1005, callstack::decode(forward, 5, Mode::Bits32)};
  const callstack::Site b{0x1002, callstack::decode(through_eax, 2, Mode::Bits32)};
  callstack::Sites sites;
  EXPECT_FALSE(sites.find(0x1000));
  for (int i = 0; i < 2; i++) {
    sites.add(0x1000, a);
    EXPECT_EQ(sites.find(0x1000), a);
  }
  for (int i = 0; i < 2; i++) {
    sites.add(0x1000, b);
    EXPECT_FALSE(sites.find(0x1000));
  }
  // Two addresses in one place of the table of recent ones.
  sites.add(1, a);
  sites.add(1 + 4093, b);
  EXPECT_EQ(sites.find(1), a);
  EXPECT_EQ(sites.find(1 + 4093), b);
}

// ---- shadow stacks

using Word = uint64_t;
using Frame = callstack::Frame<Word>;
using Place = callstack::Place<Word>;

struct Stacks {
  std::map<Word, Word> memory;
  callstack::ShadowStacks<Word, std::function<bool(const Frame&)>> stacks{
      [this](const Frame& f) { return memory.count(f.slot) != 0 && memory[f.slot] == f.ret; }};

  void call(const Place& place, Word ret, Word function) {
    memory[place.sp] = ret;
    stacks.call(place, ret, function);
  }
  std::vector<Word> callers(const Place& place) {
    std::vector<Word> out;
    if (auto* stack = stacks.at(place)) {
      for (auto f = stack->frames.rbegin(); f != stack->frames.rend(); ++f) out.push_back(f->ret);
    }
    return out;
  }
};

Place user(Word sp, Word asid = 1) { return {asid, sp, false}; }
Place kernel(Word sp, Word asid = 1) { return {asid, sp, true}; }
using Words = std::vector<Word>;

TEST(ShadowStacks, CallsAndReturns) {
  Stacks s;
  EXPECT_EQ(s.callers(user(0x7000'0000)), Words{});
  s.call(user(0x7000'0000), 11, 1);
  s.call(user(0x6fff'ff00), 12, 2);
  EXPECT_EQ(s.callers(user(0x6fff'fe80)), (Words{12, 11}));
  Frame from{};
  EXPECT_TRUE(s.stacks.ret(user(0x6fff'ff08), from));
  EXPECT_EQ(from.function, 2u);
  EXPECT_FALSE(s.stacks.ret(user(0x6fff'ff08), from));
  EXPECT_EQ(s.callers(user(0x6fff'ff10)), Words{11});
  // Back to elsewhere: the return address was overwritten, to be jumped to.
  s.call(user(0x6fff'ff00), 13, 3);
  s.memory[0x6fff'ff00] = 99;
  EXPECT_FALSE(s.stacks.ret(user(0x6fff'ff08), from));
  EXPECT_EQ(s.callers(user(0x6fff'ff08)), Words{11});
}

TEST(ShadowStacks, WhatTheStackPointerLeftHasReturned) {
  Stacks s;
  for (Word i = 0; i < 10; i++) s.call(user(0x7000'0000 - 16 * i), 100 + i, i);
  EXPECT_EQ(s.callers(user(0x7000'0000 - 16)), (Words{101, 100}));  // longjmp
  // A call whose return address takes the place of another's.
  s.call(user(0x7000'0000 - 16), 50, 5);
  EXPECT_EQ(s.callers(user(0x6fff'0000)), (Words{50, 100}));
}

TEST(ShadowStacks, StacksOfAProgramAreToldApart) {
  Stacks s;
  s.call(user(0x7000'0000), 11, 1);
  s.call(user(0x3000'0000), 21, 2);
  s.call(user(0x2fff'ff00), 22, 3);
  EXPECT_EQ(s.callers(user(0x2fff'fe00)), (Words{22, 21}));
  EXPECT_EQ(s.callers(user(0x6fff'ff00)), (Words{11}));
  EXPECT_EQ(s.callers(user(0x2fff'fe00)), (Words{22, 21}));
  EXPECT_EQ(s.stacks.count(), 2u);
  // The same addresses in another address space are another stack.
  EXPECT_EQ(s.callers(user(0x6fff'ff00, 2)), Words{});
  s.memory.clear();
  s.call(user(0x6fff'ff80, 2), 31, 4);
  EXPECT_EQ(s.callers(user(0x6fff'ff00, 2)), (Words{31}));
}

TEST(ShadowStacks, KernelStacksAreBlocksOfAllAddressSpaces) {
  Stacks s;
  s.call(user(0x7000'0000), 11, 1);
  s.call(kernel(0xffff'8000'0000'3ff8), 41, 1);
  s.call(kernel(0xffff'8000'0000'3f00), 42, 1);
  s.call(kernel(0xffff'8000'0000'7f00), 51, 1);  // the stack above: 16 KiB each
  EXPECT_EQ(s.callers(kernel(0xffff'8000'0000'3000, 9)), (Words{42, 41}));
  EXPECT_EQ(s.callers(kernel(0xffff'8000'0000'7e00)), (Words{51}));
  EXPECT_EQ(s.callers(kernel(0xffff'8000'0000'4000)), (Words{})) << "behind the lower stack's end: it is empty";
  EXPECT_EQ(s.callers(user(0x6fff'ff00)), (Words{11}));
}

TEST(ShadowStacks, AReturnOntoAnotherStack) {
  Stacks s;
  s.call(kernel(0x3f00), 41, 1);
  s.call(kernel(0x3e00), 42, 2);
  s.call(kernel(0x7f00), 51, 3);
  s.memory[0x3f00] = 0;  // meanwhile
  Frame from{};
  EXPECT_TRUE(s.stacks.ret(kernel(0x3e08), from));
  EXPECT_EQ(from.function, 2u);
  EXPECT_EQ(s.callers(kernel(0x3e08)), Words{});
}

TEST(ShadowStacks, WhatIsGoneFromMemoryIsDropped) {
  Stacks s;
  s.call(user(0x7000'0000), 11, 1);
  s.call(user(0x6fff'ff00), 12, 2);
  s.call(user(0x7000'0000, 2), 21, 2);  // the slot has another return address now
  s.memory[0x7000'0000] = 11;
  s.memory[0x6fff'ff00] = 0;
  EXPECT_EQ(s.callers(user(0x6fff'fe00)), (Words{11}));
}

// ---- stringsearch

std::vector<size_t> search(const std::vector<std::string>& strings, const std::string& text) {
  const stringsearch::Matcher matcher(strings);
  std::vector<size_t> counts(strings.size());
  stringsearch::Matcher::State state = 0;
  for (const char c : text) {
    state = matcher.next(state, static_cast<uint8_t>(c));
    for (const size_t index : matcher.matches(state)) counts[index]++;
  }
  return counts;
}

TEST(Matcher, AgreesWithASlowSearch) {
  std::minstd_rand random(2);
  for (int round = 0; round < 2000; round++) {
    const auto word = [&](size_t most) {
      std::string s(1 + random() % most, ' ');
      for (char& c : s) c = static_cast<char>("ab\0\xff"[random() % (round % 3 + 2)]);
      return s;
    };
    std::vector<std::string> strings;
    for (auto n = 1 + random() % 5; n > 0; n--) {
      const std::string s = word(6);
      if (std::find(strings.begin(), strings.end(), s) == strings.end()) strings.push_back(s);
    }
    const std::string text = word(200);
    std::vector<size_t> slow;
    for (const std::string& s : strings) {
      size_t n = 0;
      for (size_t at = text.find(s); at != std::string::npos; at = text.find(s, at + 1)) n++;
      slow.push_back(n);
    }
    ASSERT_EQ(search(strings, text), slow) << "round " << round;
  }
}

TEST(Matcher, KnowsWhereStringsBegin) {
  const stringsearch::Matcher matcher({"abc", "\xff"});
  EXPECT_TRUE(matcher.begins('a'));
  EXPECT_TRUE(matcher.begins(0xff));
  EXPECT_FALSE(matcher.begins('b'));
  EXPECT_FALSE(stringsearch::Matcher({}).begins(0));
}

TEST(SearchStrings, TextAndHexBytes) {
  std::string out;
  EXPECT_TRUE(stringsearch::parse_string("\"two words\"", out));
  EXPECT_EQ(out, "two words");
  EXPECT_TRUE(stringsearch::parse_string("0:a:FF:7f", out));
  EXPECT_EQ(out, std::string("\0\n\xff\x7f", 4));
  for (const char* bad : {"", "\"\"", "\"open", "words", "01:", ":01", "01::02", "100", "0g", "01 02"}) {
    EXPECT_FALSE(stringsearch::parse_string(bad, out)) << bad;
  }
}

}  // namespace
