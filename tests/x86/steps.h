// An instruction where the JIT makes a region of it: behind instructions that leave registers dirty in
// host registers, and in a loop where that makes sense. The host's CPU runs the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "forms.h"
#include "machine_state.h"

namespace panda::x86test {

using Bytes = std::vector<uint8_t>;

// Instructions one behind the other; LOOP to one of them at the end, if any.
struct Steps {
  std::vector<Bytes> insns;
  std::optional<size_t> loop_to;

  [[nodiscard]] Bytes bytes() const;
  [[nodiscard]] size_t offset_of(size_t insn) const;
  // The instruction that `offset` lies in, or the number of them.
  [[nodiscard]] size_t insn_at(size_t offset) const;
};

// `code` of `form` among others, so that it meets the state `before` where it runs for the first time;
// `before` becomes what the steps begin with.
[[nodiscard]] Steps in_region(const Form& form, const Encoded& code, Mode mode, MachineState& before, Rng& rng);

// The instruction of 32-bit code as 64-bit code that does the same, where there is such.
[[nodiscard]] std::optional<Bytes> in_long_mode(const Bytes& insn);

// The bytes and the names of instructions, a line each.
[[nodiscard]] std::string listing(const Bytes& code, Mode mode);

}  // namespace panda::x86test
