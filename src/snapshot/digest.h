// What a machine's state is, as a few numbers: recorded at the end of a recording and at intervals,
// computed again in replay, compared. Registers are what Frontend::save_state says; RAM is hashed
// by 1 MiB regions, so that a difference can be located.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "exec/engine.h"
#include "snapshot/chunk_file.h"

namespace panda::snapshot {

inline constexpr uint64_t kDigestRegionBytes = uint64_t{1} << 20;

struct StateDigest {
  Hash128 registers;
  Hash128 memory;                 // over `regions`
  std::vector<uint64_t> regions;  // by offset in RAM
  friend bool operator==(const StateDigest&, const StateDigest&) = default;
  // One number for both, to print.
  [[nodiscard]] Hash128 combined() const;
};

[[nodiscard]] Hash128 registers_digest(exec::Frontend& frontend, const VcpuContext& cpu);
[[nodiscard]] StateDigest state_digest(exec::Frontend& frontend, const VcpuContext& cpu, GuestMemory& memory);
[[nodiscard]] StateDigest state_digest(exec::Engine& engine);

// For people: what differs between two digests of machines with the same RAM ranges.
[[nodiscard]] std::string describe_memory_difference(const StateDigest& expected, const StateDigest& found,
                                                     std::span<const RamRange> ranges);
// The lines of two register dumps that differ.
[[nodiscard]] std::string describe_register_difference(const std::string& expected, const std::string& found);

}  // namespace panda::snapshot
