// `-rtc base=`: the date that the guest's clock shows at virtual time 0.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace panda::board {

// What runs that must not depend on the host start with: 2024-01-01T00:00:00 UTC.
inline constexpr int64_t kFixedRtcBase = 1'704'067'200;

// "utc" (the host's clock), "localtime", "2006-06-17" or "2006-06-17T16:01:21". Seconds since 1970, UTC.
[[nodiscard]] Result<int64_t> parse_rtc_base(std::string_view text);

}  // namespace panda::board
