// The project's version, for -version, `info version` and logs.
#pragma once

#include <string_view>

namespace panda {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace panda
