// The CPU state as text for people and as bytes for digests and snapshots.
#pragma once

#include <string>
#include <string_view>

#include "guest/x86/state.h"

namespace panda::x86 {

// The layout that users of `info registers` know.
[[nodiscard]] std::string describe_registers(const State& s);
// Canonical: equal architecture states give equal bytes, whatever back end ran and however the flags
// were kept. The state must stand behind its VcpuContext.
[[nodiscard]] std::string save_state(const State& s);
// False where the bytes are not such a state of this target; the state is then as it was.
[[nodiscard]] bool load_state(State& s, std::string_view bytes);

}  // namespace panda::x86
