// The call of a function that is told of a guest access, as plugins want to be: with the data in memory, and perhaps
// as a filter alone. A HelperDesc with more to it, so that all that knows helpers need not know these.
#pragma once

#include <cstdint>

#include "ir/helper.h"

namespace panda::ir {

struct ReportCall : HelperDesc {
  // The last parameter, of any type, is stored here, and its address is passed. Null: it has none of that kind.
  void* buffer = nullptr;
  // Called where the function's result, a byte, is not 0: with all of the guest's state brought up to date, whatever
  // `reads` says. It changes nothing of that. `address` is the second parameter.
  void (*then)(void* state, const ReportCall& call, uint32_t refund, uint64_t address) noexcept = nullptr;
};

// HelperDesc::ignores: it is a ReportCall. No function has so many parameters.
inline constexpr uint8_t kIsReport = 0x80;

[[nodiscard]] inline const ReportCall* as_report(const HelperDesc& helper) {
  return (helper.ignores & kIsReport) != 0 ? static_cast<const ReportCall*>(&helper) : nullptr;
}

}  // namespace panda::ir
