// A report's filter let an access through (ir::ReportCall::then): out of line, by the description that slow accesses
// have. SlowHeader::constant is the ReportCall, SaveArea::address the access's.
#pragma once

#include <cstdint>

namespace panda::x64 {

inline constexpr uint8_t kCallsThen = 2;  // SlowHeader::is_store

}  // namespace panda::x64
