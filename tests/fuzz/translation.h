// Takes any bytes as x86 code, in every mode and on every CPU model: translates them, verifies the
// IR, and runs them on interpreter and JIT in lockstep from a random state. Every difference, broken
// unit or stray read ends in a report.
//
// Input: byte 0 the mode, byte 1 the CPU model, byte 2 what the page behind the code is and how many
// instructions run, byte 3 seeds the registers; the rest is code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace panda::fuzz {

inline constexpr size_t kHeaderBytes = 4;

struct Outcome {
  std::string problem;   // empty: none
  bool decoded = false;  // at least the first instruction was translated whole
  uint64_t insns = 0;    // compared
};

class TranslationFuzzer {
 public:
  TranslationFuzzer();
  ~TranslationFuzzer();
  Outcome run(std::span<const uint8_t> input);

 private:
  struct Machine;
  struct Guard;
  std::unique_ptr<Machine>& machine(bool is_64bit, unsigned model);
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<Machine> machines_[2][8];
};

inline constexpr unsigned kModes = 7;
[[nodiscard]] const char* mode_name(unsigned mode);

}  // namespace panda::fuzz
