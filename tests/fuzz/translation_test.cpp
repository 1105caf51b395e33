// The fuzz target on fixed seeds, for the test suite: random bytes, and random bytes behind prefixes
// and opcode maps that random bytes seldom hit. PANDA_FUZZ_INPUTS sets how many per mode.
#include "translation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <vector>

namespace panda::fuzz {
namespace {

unsigned inputs_per_mode() {
  const char* text = std::getenv("PANDA_FUZZ_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 4000;
}

std::vector<uint8_t> random_input(std::mt19937_64& rng, unsigned mode) {
  constexpr uint8_t kPrefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65, 0x48, 0x41, 0x4f};
  std::vector<uint8_t> input = {static_cast<uint8_t>(mode), static_cast<uint8_t>(rng()), static_cast<uint8_t>(rng()),
                                static_cast<uint8_t>(rng())};
  const size_t instructions = 1 + rng() % 4;
  for (size_t i = 0; i < instructions; i++) {
    for (uint64_t n = rng() % 6; n > 3; n--) input.push_back(kPrefixes[rng() % std::size(kPrefixes)]);
    switch (rng() % 8) {
      case 0:
      case 1:
      case 2:
        input.push_back(0x0f);
        break;
      case 3:
        input.insert(input.end(), {0x66, 0x0f});
        break;
      case 4:
        input.insert(input.end(), {0x0f, 0x38});
        break;
      case 5:
        input.push_back(static_cast<uint8_t>(0xd8 + rng() % 8));
        break;
      default:
        break;
    }
    for (uint64_t n = 2 + rng() % 6; n > 0; n--) input.push_back(static_cast<uint8_t>(rng()));
  }
  return input;
}

class TranslationFuzz : public testing::TestWithParam<unsigned> {};

TEST_P(TranslationFuzz, RandomBytes) {
  TranslationFuzzer fuzzer;
  std::mt19937_64 rng(0x5eed + GetParam());
  uint64_t decoded = 0, insns = 0, problems = 0;
  const unsigned inputs = inputs_per_mode();
  for (unsigned i = 0; i < inputs; i++) {
    const Outcome outcome = fuzzer.run(random_input(rng, GetParam()));
    decoded += outcome.decoded ? 1 : 0;
    insns += outcome.insns;
    if (outcome.problem.empty()) continue;
    ADD_FAILURE() << outcome.problem;
    if (++problems == 5) break;
  }
  EXPECT_GT(decoded, inputs / 3) << "the inputs must mean something";
  EXPECT_GT(insns, inputs / 3);
  std::printf("%s: %u inputs, %llu decoded, %llu instructions compared\n", mode_name(GetParam()), inputs,
              static_cast<unsigned long long>(decoded), static_cast<unsigned long long>(insns));
}

INSTANTIATE_TEST_SUITE_P(X86, TranslationFuzz, testing::Range(0u, kModes),
                         [](const auto& mode) { return std::string(mode_name(mode.param)); });

}  // namespace
}  // namespace panda::fuzz
