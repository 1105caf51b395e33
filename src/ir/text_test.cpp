// The verifier, printer and parser.
#include <gtest/gtest.h>

#include <random>

#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/verifier.h"

namespace panda::ir {
namespace {

uint64_t function(void*, uint64_t) noexcept { return 0; }
const HelperDesc kHelper{
    .name = "helper", .function = reinterpret_cast<const void*>(&function), .result = Type::I64, .params = {Type::I64}};
const HelperDesc* lookup(std::string_view name) { return name == "helper" ? &kHelper : nullptr; }

constexpr std::string_view kUnit =
    R"(unit pc=[16]:i64 exits=3
guest 0 pc=0x1000 size=4 refund=2
guest 1 pc=0x1004 size=2 refund=1
block 0:
  count 2
  insn 0
  %0 = get.i64 [0]
  %1 = konst.i64 0x10
  %2 = add.i64 %0, %1
  %3 = load.i32 %2, mode=1 rmw align=4 strict
  store.i32 %2, %3, mode=0
  %4 = zext.i64 %3
  %5 = deposit.i64 %4, %1, bit=8 width=16
  set.i64 [0], %5
  insn 1
  %6 = call.i64 helper(%5)
  %7 = icmp ult %6, %1
  %8 = select.i64 %7, %6, %1
  %9 = get.v128 [32]
  %10 = vpshufd %9, imm=0x1b
  %11 = vadd_f32 %10, %9
  %12 = vmovmsk %11, aux=4
  %13 = vcmp_f64 %9, %10, imm=0x3
  set.v128 [32], %13
  bump 0x7fff0010, by=3
  exit_if not %7, 0x3000, exit=2
  exit_if %7, 0x40000, looked_up
  brc %7, block 1, block 2
block 1:
  exit_direct 0x2000, exit=0
block 2:
  %14 = insn_count_source
)";

std::string good_text() {
  std::string text(kUnit);
  text.resize(text.find("  %14"));
  return text + "  exit_direct 0x1006, exit=1\n";
}

TEST(TextTest, PrintsWhatItParsed) {
  const auto unit = parse(good_text(), lookup);
  ASSERT_TRUE(unit.has_value()) << unit.error().message;
  const Status status = verify(*unit);
  EXPECT_TRUE(status.has_value()) << status.error().message;
  EXPECT_EQ(print(*unit), good_text());
}

TEST(TextTest, ErrorsNameTheLine) {
  const auto bad_op = parse(kUnit, lookup);
  ASSERT_FALSE(bad_op.has_value());
  EXPECT_EQ(bad_op.error().message, "line 32: no such op `insn_count_source`");
  const auto bad_helper = parse(good_text(), [](std::string_view) { return nullptr; });
  ASSERT_FALSE(bad_helper.has_value());
  EXPECT_EQ(bad_helper.error().message, "line 16: no such helper `helper`");
  EXPECT_FALSE(parse("", lookup).has_value());
}

// Replaces `from` by `to` in the good unit; what the verifier says to that.
std::string complaint(std::string_view from, std::string_view to) {
  std::string text = good_text();
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const auto unit = parse(text, lookup);
  if (!unit) return "parser: " + unit.error().message;
  const Status status = verify(*unit);
  return status ? "" : status.error().message;
}

TEST(VerifierTest, FindsWhatIsWrong) {
  EXPECT_EQ(complaint("insn 0", "insn 0"), "");
  const std::pair<std::pair<std::string_view, std::string_view>, std::string_view> kCases[] = {
      {{"add.i64 %0, %1", "add.i32 %0, %1"}, "wrong operand type"},
      {{"add.i64 %0, %1", "add.i64 %0"}, "wrong number of operands"},
      {{"count 2\n  insn 0", "insn 0\n  count 2"}, "count must precede"},
      {{"insn 1", "insn 2"}, "no such guest instruction"},
      {{"  count 2\n  insn 0\n", "  count 2\n"}, "no insn mark precedes"},
      {{"set.i64 [0]", "set.i64 [4]"}, "overlap"},
      {{"set.i64 [0]", "set.i64 [32]"}, "two types"},
      {{"exit=1", "exit=0"}, "used twice"},
      {{"exit=1", "exit=3"}, "out of range"},
      {{"exit=2", "exit=3"}, "out of range"},
      {{"exit=2", "exit=0"}, "used twice"},
      {{"exit_if %7", "exit_if %6"}, "wrong operand type"},
      {{"block 2\nblock 1", "block 9\nblock 1"}, "no such block"},
      {{"bit=8 width=16", "bit=60 width=16"}, "bit field"},
      {{"  brc %7, block 1, block 2\n", ""}, "terminator"},
      {{"exit_direct 0x2000, exit=0", "exit_indirect %5"}, "not an earlier value of this block"},
      {{"vpshufd %9", "vpshufd %8"}, "wrong operand type"},
      {{"aux=4", "aux=2"}, "lane bytes"},
      {{"imm=0x3", "imm=0x9"}, "bad predicate"},
      {{"exits=3", "exits=3 exact"}, "exact_begin"},
      {{"helper(%5)", "helper(%5, %5)"}, "helper's"},
      {{"konst.i64 0x10", "konst.i8 0x100"}, "wider than its type"},
  };
  for (const auto& [change, expected] : kCases) {
    const std::string what = complaint(change.first, change.second);
    EXPECT_NE(what.find(expected), std::string::npos) << change.second << ": " << what;
  }
}

// Damaged text gives an error or a unit; never a crash. Whatever verifies prints and parses again.
TEST(ParserTest, SurvivesDamagedText) {
  std::mt19937_64 random(7);
  const std::string good = good_text();
  unsigned parsed = 0;
  unsigned verified = 0;
  for (unsigned round = 0; round < 20000; round++) {
    std::string text = good;
    for (uint64_t n = 1 + random() % 3; n > 0; n--) {
      const size_t at = random() % text.size();
      switch (random() % 5) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 20);
          break;
        case 2:
          text.insert(at, text.substr(random() % text.size(), random() % 30));
          break;
        case 3:
          text[at] = static_cast<char>('0' + random() % 10);
          break;
        default:
          std::swap(text[at], text[random() % text.size()]);
          break;
      }
      if (text.empty()) text = "x";
    }
    const auto unit = parse(text, lookup);
    if (!unit) {
      ASSERT_TRUE(unit.error().message.starts_with("line "));
      continue;
    }
    parsed++;
    const std::string printed = print(*unit);
    if (!verify(*unit)) continue;
    verified++;
    const auto again = parse(printed, lookup);
    ASSERT_TRUE(again.has_value()) << again.error().message << "\n" << text;
    ASSERT_EQ(print(*again), printed);
    ASSERT_TRUE(verify(*again).has_value());
  }
  EXPECT_GT(parsed, 300u);
  EXPECT_GT(verified, 200u);
}

}  // namespace
}  // namespace panda::ir
