// IR text in, IR text out. Each *.ir file here: `#` lines that say what it is about, a line
// `passes:` with names (or `all`), a unit, `===`, and the unit as the passes leave it.
// `ir_file_test --update` writes what comes out into the files instead of comparing.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ir/opt/passes.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "ir_machine.h"

namespace panda::ir::test {
namespace {

bool g_update = false;  // the command line's

struct Case {
  std::string head;  // comments and the `passes:` line
  std::vector<std::string> passes;
  std::string input;
  std::string expected;
};

Case read_case(const std::filesystem::path& path) {
  std::ifstream in(path);
  Case c;
  std::string line;
  bool after = false;
  while (std::getline(in, line)) {
    if (line.starts_with("passes:")) {
      std::istringstream words(line.substr(7));
      for (std::string word; words >> word;) c.passes.push_back(word);
      c.head += line + "\n";
    } else if (line == "===") {
      after = true;
    } else if (after) {
      c.expected += line + "\n";
    } else if (c.passes.empty()) {
      c.head += line + "\n";
    } else {
      c.input += line + "\n";
    }
  }
  return c;
}

void run_pass(std::string_view name, Unit& unit, opt::Scratch& scratch) {
  bool found = false;
  for (const opt::Pass& pass : opt::passes()) {
    if (name != "all" && pass.name != name) continue;
    found = true;
    pass.run(unit, scratch);
    const Status status = verify(unit);
    ASSERT_TRUE(status.has_value()) << "after " << pass.name << ": " << status.error().message << "\n" << print(unit);
  }
  ASSERT_TRUE(found) << "no such pass: " << name;
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> all;
  for (const auto& entry : std::filesystem::directory_iterator(PANDA_IR_TEST_DIR)) {
    if (entry.path().extension() == ".ir") all.push_back(entry.path());
  }
  std::sort(all.begin(), all.end());
  return all;
}

class FileTest : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(FileTest, ComesOutAsWritten) {
  const Case c = read_case(GetParam());
  ASSERT_FALSE(c.passes.empty()) << "no `passes:` line";
  auto unit = parse(c.input, helper);
  ASSERT_TRUE(unit.has_value()) << unit.error().message;
  const Status status = verify(*unit);
  ASSERT_TRUE(status.has_value()) << status.error().message;
  opt::Scratch scratch;
  for (const std::string& name : c.passes) ASSERT_NO_FATAL_FAILURE(run_pass(name, *unit, scratch));
  const std::string result = print(*unit);
  if (g_update) {
    std::ofstream(GetParam()) << c.head << c.input << "===\n" << result;
    return;
  }
  EXPECT_EQ(result, c.expected);
}

INSTANTIATE_TEST_SUITE_P(Files, FileTest, testing::ValuesIn(files()), [](const auto& tested) {
  std::string name = tested.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace panda::ir::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; i++) panda::ir::test::g_update |= std::string_view(argv[i]) == "--update";
  return RUN_ALL_TESTS();
}
