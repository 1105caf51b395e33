// The host registers that a helper's call changes. Of plugins' callbacks more is known than the calling convention
// says (HelperDesc::keeps), and values may stay where they are across their calls.
#pragma once

#include <cstdint>

#include "backend/x64/frame.h"
#include "ir/helper.h"

namespace panda::x64 {

// rdi, rsi, rdx, rcx, r8, r9
inline constexpr int kParameterRegs[] = {7, 6, 2, 1, 8, 9};

[[nodiscard]] constexpr uint32_t call_clobbers(const ir::HelperDesc& desc) {
  uint32_t clobbered = (kCallerSavedGprs | kAllXmms) & ~desc.keeps;
  unsigned n = desc.has_context ? 1 : 0;  // then the state pointer
  for (unsigned i = 0; i < n + 1; i++) {
    if ((desc.ignores >> i & 1) == 0) clobbered |= 1u << kParameterRegs[i];
  }
  for (const ir::Type t : desc.params) {
    n++;
    if (t != ir::Type::Void && (desc.ignores >> n & 1) == 0) clobbered |= 1u << kParameterRegs[n];
  }
  return clobbered;
}

}  // namespace panda::x64
