// The C API's implementation: compiled once per target, with the plugins' own headers, so that what
// is declared there is what is defined here. See api_bridge.h for what stands behind it.
#pragma once

#include "panda/checkpoint.h"
#include "panda/panda_api.h"
#include "panda/plugin.h"
#include "plugin/api_bridge.h"

namespace panda::plugin::shim {

// A copy that the plugin frees with free().
[[nodiscard]] inline char* copy(const std::string& text) { return strdup(text.c_str()); }

[[nodiscard]] inline std::string_view text(const char* s) { return s != nullptr ? s : ""; }

template <typename Union>
[[nodiscard]] void* function_of(const Union& cb) {
  return reinterpret_cast<void*>(cb.cbaddr);
}

}  // namespace panda::plugin::shim
