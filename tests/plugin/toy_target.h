// The toy architecture as plugins' API sees it, and a host for plugins in a machine of it.
#pragma once

#include <span>
#include <string>
#include <utility>

#include "plugin/plugin_host.h"
#include "toy_machine.h"

namespace panda::plugin {

inline const Target kToyTarget{
    .name = "x86_64",
    .guest_pc_offset = offsetof(toy::State, plugin_view.pc),
    .instr_count_offset = offsetof(toy::State, plugin_view.count),
    .address_mask = 0xffffffff,
    .asid = [](VcpuContext&) -> uint64_t { return 0; },
    .flags = [](VcpuContext&) -> uint32_t { return 0; },
    .disassemble = [](VcpuContext&, uint64_t, std::span<const uint8_t>, std::string& text) -> unsigned {
      text = "insn";
      return 4;
    }};

inline auto create_toy_host(toy::Machine& machine, MachineHooks hooks = {}, const Target& target = kToyTarget) {
  return PluginHost::create({.engine = machine.engine.get(),
                             .arch = "x86_64",
                             .executable_dir = "",
                             .library_dir = "",
                             .hooks = std::move(hooks),
                             .target = &target});
}

}  // namespace panda::plugin
