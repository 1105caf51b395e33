// libFuzzer target (make fuzz).
#include <cstdio>
#include <cstdlib>

#include "translation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static panda::fuzz::TranslationFuzzer fuzzer;
  const panda::fuzz::Outcome outcome = fuzzer.run({data, size});
  if (!outcome.problem.empty()) {
    std::fputs(outcome.problem.c_str(), stderr);
    std::abort();
  }
  return 0;
}
