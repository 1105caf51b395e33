// A C++ function that translated code calls. The descriptor is what the verifier checks the call
// against and what tells a back end how much to synchronise around it.
//
// The function is noexcept, has C linkage or is a static member, and its first parameter is the
// guest state pointer (void*; VcpuContext::of(state) leads to the engine's part). Its other
// parameters and result are integers as in the signature (I1, I8, I16 and I32 are passed as
// uint32_t, zero-extended; I64 as uint64_t).
//
// A helper that raises a guest fault, or must leave the unit, sets VcpuContext::exit_request and
// returns any value; the back end tests it after every helper that says may_exit, and leaves with
// the state of the instruction's beginning plus whatever the helper itself wrote.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "ir/type.h"

namespace panda::ir {

// Guest-state bytes [begin, end) that a helper reads or writes. Empty: none.
struct StateRange {
  uint32_t begin = 0;
  uint32_t end = 0;
  [[nodiscard]] constexpr bool touches(uint32_t offset, uint32_t size) const {
    return offset < end && offset + size > begin;
  }
};
inline constexpr StateRange kNoState{};
inline constexpr StateRange kAllState{0, ~uint32_t{0}};

// What a `guard` calls where its operands differ. Requests an exit.
using GuardFailed = void (*)(void* state, uint64_t pc) noexcept;

struct HelperDesc {
  std::string_view name;
  const void* function = nullptr;
  Type result = Type::Void;
  std::array<Type, 4> params{};  // Void: absent
  StateRange reads = kAllState;
  StateRange writes = kAllState;
  bool may_exit = true;      // may set VcpuContext::exit_request
  bool pure = false;         // depends on its parameters alone: may be removed and shared
  bool uses_fp = false;      // reads or writes the guest FP control and status (host MXCSR is the guest's)
  bool uses_budget = false;  // reads or writes VcpuContext::budget
  // Plugins' callbacks, which may be exchanged while translations call them.
  bool indirect = false;     // `function` is where the address of the function stands
  bool has_context = false;  // the function's first parameter is `context`, the state pointer its second
  const void* context = nullptr;
  // What is known of its machine code beyond the calling convention.
  uint32_t keeps = 0;   // host registers (16 and on: vector registers) that it leaves alone, callee-saved or not
  uint8_t ignores = 0;  // bit n: does not look at its n-th parameter, the state pointer and the context included
};

}  // namespace panda::ir
