// Reads the printer's text form. The result is structurally sound (operands and types exist) but
// not verified. A bad text gives an error that names its line. `#` starts a comment.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "ir/ir.h"

namespace panda::ir {

// The helper of that name, or nullptr.
using HelperLookup = std::function<const HelperDesc*(std::string_view)>;

[[nodiscard]] Result<Unit> parse(std::string_view text, const HelperLookup& helpers = {});

}  // namespace panda::ir
