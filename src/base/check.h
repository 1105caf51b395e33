// PANDA_CHECK: an invariant of our own code that must hold, in release builds too.
// It is never used for what a guest, a file, a packet or an option can cause.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace panda {

[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "panda: internal error: %s does not hold (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace panda

#define PANDA_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::panda::check_failed(#expression, __FILE__, __LINE__))
