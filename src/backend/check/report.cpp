// What a user sees of a difference: which fields differ, both states of them, the unit's guest code
// and its IR.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backend/check/check_backend.h"
#include "exec/translation_unit.h"
#include "ir/printer.h"

namespace panda::check {
namespace {

constexpr const char* kExits[] = {"direct", "indirect", "dispatch", "budget", "request"};

std::string describe(const exec::ExitInfo& exit) {
  return fmt::format("{} {}", kExits[static_cast<unsigned>(exit.kind)], exit.index);
}

template <typename T>
std::string line(const char* name, T before, T want, T got) {
  return want == got ? std::string() : fmt::format("  {}: {:#x} | {:#x}  (before: {:#x})\n", name, want, got, before);
}

}  // namespace

std::string CheckBackend::difference_of_states() const {
  std::string text;
  text += line("budget", before_.budget, want_.budget, got_.budget);
  text += line("count limit", before_.count_limit, want_.count_limit, got_.count_limit);
  text += line("exact", before_.exact, want_.exact, got_.exact);
  text += line("exit request", before_.exit_request, want_.exit_request, got_.exit_request);
  text += line("host's copy of MXCSR", before_.guest_mxcsr, want_.guest_mxcsr, got_.guest_mxcsr);
  text += line("watch hits", before_.watch_hits, want_.watch_hits, got_.watch_hits);
  if (want_.watches != got_.watches) text += "  the watched addresses\n";
  for (size_t at = 0; at < want_.state.size(); at += 8) {
    uint64_t before = 0, want = 0, got = 0;
    const size_t size = std::min<size_t>(8, want_.state.size() - at);
    std::memcpy(&before, before_.state.data() + at, size);
    std::memcpy(&want, want_.state.data() + at, size);
    std::memcpy(&got, got_.state.data() + at, size);
    if (want == got) continue;
    std::string name = frontend_.field_name(static_cast<uint32_t>(at));
    if (name.empty()) name = "state";
    text += fmt::format("  {} [{}]: {:016x} | {:016x}  (before: {:016x})\n", name, at, want, got, before);
  }
  return text;
}

std::string CheckBackend::report(const exec::TranslationUnit& unit, const exec::ExitInfo& want,
                                 const exec::ExitInfo& got) {
  const uint64_t count = before_.count_limit - static_cast<uint64_t>(before_.budget) - before_.exact;
  std::string text = fmt::format(
      "{} and {} differ after a unit that began at count {}\n"
      "unit: pc {:#x}, physical {:#x}, {} instructions, mode {:#x}, variant {:#x}\n"
      "left by: {} | {}; instructions done: {} | {}\n"
      "differing ({} | {}):\n",
      oracle_->name(), subject_->name(), count, unit.key.pc - unit.key.pc_base, unit.phys, unit.insn_count,
      unit.key.flags, unit.variant, describe(want), describe(got), before_.budget - want_.budget,
      before_.budget - got_.budget, oracle_->name(), subject_->name());
  text += difference_of_states();
  text += journal_.differences();
  text += "guest instructions:\n";
  for (const ir::GuestInsn& insn : unit.insns) {
    std::vector<uint8_t> bytes(insn.size);
    const uint64_t offset = insn.pc + unit.key.pc_base - unit.key.pc;
    uint64_t phys = unit.phys + offset;
    const uint64_t here = std::min<uint64_t>(insn.size, kPageSize - phys % kPageSize);
    memory_.read(GuestPhysAddr(phys), bytes.data(), here);
    if (here < insn.size) memory_.read(GuestPhysAddr(unit.phys_next), bytes.data() + here, insn.size - here);
    std::string hex;
    for (const uint8_t b : bytes) hex += fmt::format("{:02x} ", b);
    text += fmt::format("  {:#x}: {:<32}{}\n", insn.pc, hex, frontend_.disassemble(bytes, insn.pc, unit.key.flags));
  }
  text += "IR:\n" + ir::print(pair_of(const_cast<exec::TranslationUnit&>(unit)).ir);
  return text;
}

}  // namespace panda::check
