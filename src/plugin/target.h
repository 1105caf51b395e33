// What the plugin layer must know of a guest architecture beyond the engine's interfaces: where the
// fields that plugins read stand in the CPU state, and what their questions mean there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "memory/vcpu_context.h"

namespace panda::plugin {

inline constexpr uint32_t kNoField = ~uint32_t{0};

struct Target {
  std::string_view name;                   // "x86_64": the folder of its plugins, and what they were compiled for
  uint32_t guest_pc_offset = kNoField;     // panda_guest_pc, 8 bytes
  uint32_t instr_count_offset = kNoField;  // rr_guest_instr_count, 8 bytes
  uint32_t env_ptr_offset = kNoField;      // pointer to the state itself
  unsigned privileged_mode = 0;            // MMU mode that may read everything mapped
  uint64_t address_mask = ~uint64_t{0};    // of virtual addresses
  uint64_t (*asid)(VcpuContext& cpu) = nullptr;
  uint32_t (*flags)(VcpuContext& cpu) = nullptr;  // the architecture's flags register
  // One instruction as text; returns its size, 0 where it does not decode.
  unsigned (*disassemble)(VcpuContext& cpu, uint64_t pc, std::span<const uint8_t> bytes, std::string& text) = nullptr;
};

// nullptr: no such architecture.
[[nodiscard]] const Target* find_target(std::string_view name);

}  // namespace panda::plugin
