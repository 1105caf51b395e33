// The x64 JIT: compiles ir::Units into a code area that is used as a ring (code_ring.h). Needs a host with SSE4.2 and
// POPCNT; uses AVX, BMI2 and LZCNT where the host has them.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/x64/features.h"
#include "base/result.h"
#include "exec/backend.h"

namespace panda::x64 {

// code_bytes: size of the code area, up to 1 GiB.
[[nodiscard]] Result<std::unique_ptr<exec::Backend>> create_backend(size_t code_bytes);
// With less than the host offers, so that tests reach the code for older hosts.
[[nodiscard]] Result<std::unique_ptr<exec::Backend>> create_backend(size_t code_bytes, const Features& features);
[[nodiscard]] Features host_features();

}  // namespace panda::x64
