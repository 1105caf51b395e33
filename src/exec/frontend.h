// What the engine asks of a guest architecture. Nothing above this interface knows which one it is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/types.h"
#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "memory/mmu.h"
#include "memory/vcpu_context.h"

namespace panda::exec {

// One instruction to translate.
struct InsnRequest {
  std::span<const uint8_t>
      bytes;        // what is there, at least 1; up to max_insn_bytes(), fewer at the end of mapped memory
  uint64_t pc = 0;  // linear address
  uint64_t pc_base = 0;
  uint64_t flags = 0;  // UnitKey::flags
  bool first = false;  // first of its unit
  bool exact = false;  // the unit is exact: this is its only instruction
};

enum class InsnEnd : uint8_t {
  Next,       // falls through; the translator goes on or closes the unit
  Closed,     // the instruction ended the unit: its last block is terminated
  NeedExact,  // nothing emitted: it must be alone in an exact unit
  NeedBytes,  // nothing emitted: `bytes` ends before the instruction does (its next page is not mapped, or not offered
              // yet)
};

struct InsnResult {
  InsnEnd end = InsnEnd::Next;
  unsigned size = 0;  // bytes
  // With Next: where the unit ends behind this instruction, the engine must look before the next one.
  bool needs_look = false;
};

class Frontend : public Mmu {
 public:
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual size_t state_size() const = 0;
  [[nodiscard]] virtual unsigned max_insn_bytes() const = 0;
  [[nodiscard]] virtual uint32_t pc_offset() const = 0;  // of the pc slot
  [[nodiscard]] virtual ir::Type pc_type() const = 0;

  // --- translation
  [[nodiscard]] virtual UnitKey current_key(VcpuContext& cpu) = 0;
  [[nodiscard]] virtual unsigned fetch_mode(uint64_t flags) = 0;  // MMU mode of instruction fetches
  // A unit begins: forget what was known from the last one (lazy flags).
  virtual void begin_unit(const UnitKey& key) = 0;
  // Size in bytes of the instruction at `bytes`, or 0 if it is not complete.
  [[nodiscard]] virtual unsigned insn_size(const InsnRequest& request) = 0;
  // Emits one instruction. The translator has emitted its `insn` mark and instrumentation.
  virtual InsnResult translate(const InsnRequest& request, ir::Builder& b) = 0;
  // The branch that closed the unit was taken back and the unit goes on behind it, with the values that it had.
  virtual void branch_passed() {}

  // --- running
  virtual void set_pc(VcpuContext& cpu, uint64_t pc) = 0;
  [[nodiscard]] virtual uint64_t get_pc(const VcpuContext& cpu) = 0;
  // exit_request was Fault: enter the guest's handler for the pending exception (the pc slot is the
  // faulting instruction's). False: the CPU shut down (x86: triple fault).
  virtual bool deliver_exception(VcpuContext& cpu) = 0;
  // The engine is about to run a unit from this state: what after_exact() must know of it is noted now. Everything
  // else here may be asked at any time, in the middle of an instruction too.
  virtual void starts(const VcpuContext& /*cpu*/) {}
  // After an instruction completed: traps (x86 single-step, breakpoints), end of interrupt shadow.
  // True where it changed the flow.
  virtual bool after_exact(VcpuContext& cpu) = 0;
  // The next instruction must run alone (interrupt shadow, single-step): the engine runs an exact unit.
  [[nodiscard]] virtual bool wants_single_step(const VcpuContext& cpu) = 0;
  [[nodiscard]] virtual bool accepts_interrupt(const VcpuContext& cpu) = 0;
  virtual bool deliver_interrupt(VcpuContext& cpu, uint8_t vector) = 0;  // false: shut down
  [[nodiscard]] virtual bool halted(const VcpuContext& cpu) = 0;
  virtual void wake(VcpuContext& cpu) = 0;
  virtual void reset(VcpuContext& cpu) = 0;

  // --- for people
  // One instruction as text, and the name of the state's field at an offset. Empty: not known.
  [[nodiscard]] virtual std::string disassemble(std::span<const uint8_t> /*bytes*/, uint64_t /*pc*/,
                                                uint64_t /*flags*/) {
    return {};
  }
  [[nodiscard]] virtual std::string field_name(uint32_t /*offset*/) const { return {}; }
  [[nodiscard]] virtual std::string describe_registers(const VcpuContext& cpu) = 0;  // `info registers`
  // The bytes of the state that are architecture (digest, snapshot): what is derived or host-side left out.
  [[nodiscard]] virtual std::string save_state(const VcpuContext& cpu) = 0;
  virtual bool load_state(VcpuContext& cpu, std::string_view bytes) = 0;
};

}  // namespace panda::exec
