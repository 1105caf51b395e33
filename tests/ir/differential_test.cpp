// Random units mean the same before and after the passes, through the text form, and on every back
// end.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ir/opt/passes.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "ir_machine.h"
#include "random_unit.h"

namespace panda::ir::test {
namespace {

struct Seeds {
  uint64_t first, last;
};

// PANDA_TEST_SEED=n tries that one alone.
Seeds seeds(uint64_t n) {
  if (const char* given = std::getenv("PANDA_TEST_SEED")) {
    const uint64_t seed = std::strtoull(given, nullptr, 0);
    return {seed, seed};
  }
  return {1, n};
}

class DifferentialTest : public testing::TestWithParam<BackendFactory> {};

TEST(RandomUnitTest, Verifies) {
  const auto [first, last] = seeds(500);
  for (uint64_t seed = first; seed <= last; seed++) {
    const RandomUnit r = random_unit(seed);
    const Status status = verify(r.unit);
    ASSERT_TRUE(status.has_value()) << "seed " << seed << ": " << status.error().message << "\n" << print(r.unit);
  }
}

TEST(RandomUnitTest, TextFormReadsBack) {
  const auto [first, last] = seeds(500);
  for (uint64_t seed = first; seed <= last; seed++) {
    const std::string text = print(random_unit(seed).unit);
    const auto again = parse(text, helper);
    ASSERT_TRUE(again.has_value()) << "seed " << seed << ": " << again.error().message << "\n" << text;
    ASSERT_TRUE(verify(*again).has_value()) << "seed " << seed;
    ASSERT_EQ(print(*again), text) << "seed " << seed;
  }
}

TEST_P(DifferentialTest, AgreesWithTheInterpreter) {
  IrMachine oracle(backends().front().create());
  IrMachine tested(GetParam().create());
  const auto [first, last] = seeds(3000);
  unsigned kinds[5] = {};
  for (uint64_t seed = first; seed <= last; seed++) {
    const RandomUnit r = random_unit(seed);
    const Outcome expected = oracle.run(r.unit, r.state, r.ram, r.budget, r.mxcsr);
    const Outcome actual = tested.run(r.unit, r.state, r.ram, r.budget, r.mxcsr);
    kinds[static_cast<unsigned>(expected.kind)]++;
    ASSERT_TRUE(expected == actual) << "seed " << seed << "\nexpected " << describe(expected) << "actual "
                                    << describe(actual) << print(r.unit);
  }
  if (first == last) return;
  for (const unsigned n : kinds) EXPECT_GT(n, 50u) << "some way out is hardly tested";
}

TEST_P(DifferentialTest, PassesChangeNothing) {
  IrMachine oracle(backends().front().create());
  IrMachine tested(GetParam().create());
  opt::Optimizer optimizer(true);
  const auto [first, last] = seeds(3000);
  size_t before = 0;
  size_t after = 0;
  for (uint64_t seed = first; seed <= last; seed++) {
    const RandomUnit r = random_unit(seed);
    Unit optimised = r.unit;
    optimizer.run(optimised);
    before += r.unit.insts.size();
    after += optimised.insts.size();
    const Outcome expected = oracle.run(r.unit, r.state, r.ram, r.budget, r.mxcsr);
    const Outcome actual = tested.run(optimised, r.state, r.ram, r.budget, r.mxcsr);
    ASSERT_TRUE(expected == actual) << "seed " << seed << "\nexpected " << describe(expected) << "actual "
                                    << describe(actual) << print(r.unit) << "optimised\n"
                                    << print(optimised);
  }
  EXPECT_LT(after, before);
}

INSTANTIATE_TEST_SUITE_P(Backends, DifferentialTest, testing::ValuesIn(backends()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace panda::ir::test
