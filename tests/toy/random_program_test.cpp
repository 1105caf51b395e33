// Random toy programs, with stores into their own code, faults, devices, calls and interrupts,
// against the simulator: the state must agree at whatever count the engine is stopped.
#include "random_program.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "toy_machine.h"

namespace panda::toy {
namespace {

class RandomProgramTest : public testing::TestWithParam<BackendFactory> {};

TEST_P(RandomProgramTest, AgreesWithTheSimulatorAtEveryStop) {
  const char* given = std::getenv("PANDA_TEST_SEED");
  const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  const uint64_t seeds = given != nullptr ? 1 : 150;
  constexpr uint64_t kEnd = 4000;
  uint64_t self_modified = 0;
  uint64_t exceptions = 0;
  uint64_t interrupts = 0;
  uint64_t regions = 0;
  uint64_t device_accesses = 0;
  for (uint64_t seed = first; seed < first + seeds; seed++) {
    const bool calm = seed % 3 == 0;
    Generator g(seed, calm);
    const auto program = g.program();
    Machine m(GetParam(), program, calm ? std::vector<uint64_t>{} : g.interrupts(kEnd));
    m.engine->set_chaining(seed % 5 != 0);
    m.engine->set_region_threshold(seed % 11 == 0 ? 0 : static_cast<int32_t>(1 + seed % 3));
    m.engine->set_max_unit_insns(seed % 7 == 0 ? 1 : seed % 7 == 1 ? 3 : 64);
    for (uint64_t count = 0; count < kEnd;) {
      count += 1 + g.pick(g.pick(4) == 0 ? 3 : calm ? 1500 : 400);
      const bool goes_on = m.simulator.run_until(count);
      ASSERT_TRUE(goes_on) << "the program got stuck; seed " << seed;
      ASSERT_EQ(m.run(count), exec::StopReason::CountReached);
      ASSERT_TRUE(m.state() == m.simulator.state)
          << "seed " << seed << ", count " << count << "\n"
          << m.frontend.describe_registers(m.engine->cpu()) << fmt::format("\npc={:08x}", m.simulator.state.pc) << [&] {
               std::string text;
               for (const uint32_t r : m.simulator.state.regs) text += fmt::format(" {:08x}", r);
               return text;
             }();
      ASSERT_TRUE(m.outside.crossings == m.simulator.crossings) << "seed " << seed << ", count " << count;
      const auto ram = m.memory->ram();
      ASSERT_TRUE(std::equal(ram.begin(), ram.end(), m.simulator.ram().begin())) << "seed " << seed;
    }
    self_modified += m.engine->stats().smc_invalidations;
    exceptions += m.engine->stats().exceptions;
    interrupts += m.engine->stats().interrupts;
    regions += m.engine->stats().regions_translated;
    for (const Crossing& c : m.outside.crossings) device_accesses += c.where >= kRamBytes ? 1 : 0;
  }
  // The programs must reach what they are for.
  EXPECT_GT(self_modified, 5 * seeds);
  EXPECT_GT(exceptions, 5 * seeds);
  EXPECT_GT(interrupts, 5 * seeds);
  EXPECT_GT(regions, seeds / 10);
  EXPECT_GT(device_accesses, 5 * seeds);
}

INSTANTIATE_TEST_SUITE_P(Backends, RandomProgramTest, testing::ValuesIn(backends()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace panda::toy
