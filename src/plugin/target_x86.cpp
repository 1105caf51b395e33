#include <Zydis/Zydis.h>

#include <array>

#include "guest/x86/state.h"
#include "plugin/target.h"

namespace panda::plugin {
namespace {

uint64_t asid(VcpuContext& cpu) { return x86::Cpu(cpu).cr(3); }

uint32_t flags(VcpuContext& cpu) { return x86::Cpu(cpu).eflags(); }

unsigned disassemble(VcpuContext& cpu, uint64_t pc, std::span<const uint8_t> bytes, std::string& text) {
  const uint64_t mode_bits = x86::Cpu(cpu).s().hflags;
  const ZydisMachineMode mode = mode_bits & x86::kModeCs64   ? ZYDIS_MACHINE_MODE_LONG_64
                                : mode_bits & x86::kModeCs32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                             : ZYDIS_MACHINE_MODE_LEGACY_16;
  ZydisDisassembledInstruction insn;
  if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, pc, bytes.data(), bytes.size(), &insn))) return 0;
  text = insn.text;
  return insn.info.length;
}

constexpr Target target(std::string_view name, uint64_t address_mask) {
  return {.name = name,
          .guest_pc_offset = offsetof(x86::State, panda_guest_pc),
          .instr_count_offset = offsetof(x86::State, rr_guest_instr_count),
          .env_ptr_offset = offsetof(x86::State, env_ptr),
          .privileged_mode = x86::kMmuKernelNoSmap,
          .address_mask = address_mask,
          .asid = asid,
          .flags = flags,
          .disassemble = disassemble};
}

constexpr std::array kTargets = {target("x86_64", ~uint64_t{0}), target("i386", 0xffffffff)};

}  // namespace

const Target* find_target(std::string_view name) {
  for (const Target& t : kTargets) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

}  // namespace panda::plugin
