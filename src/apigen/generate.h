// What NAME_ext.h is: a plugin that includes it calls NAME's functions as if they were its own, once
// init_NAME_api() has returned true.
#pragma once

#include <string>

#include "apigen/declarations.h"

namespace panda::apigen {

// `header`: the file that the prototypes are from, as #include spells it; "" where it cannot be included
// (a NAME_int.h, whose types are stand-ins): then its includes and prototypes are repeated.
[[nodiscard]] std::string generate(const std::string& plugin, const std::string& header, const Declarations& d);

}  // namespace panda::apigen
