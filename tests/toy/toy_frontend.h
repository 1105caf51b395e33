// The toy architecture for the engine: what a front end must do, in its smallest form.
#pragma once

#include "exec/frontend.h"
#include "toy_isa.h"

namespace panda::toy {

class ToyFrontend final : public exec::Frontend {
 public:
  [[nodiscard]] std::string_view name() const override { return "toy"; }
  [[nodiscard]] size_t state_size() const override { return sizeof(State); }
  [[nodiscard]] unsigned max_insn_bytes() const override { return 4; }
  [[nodiscard]] uint32_t pc_offset() const override { return offsetof(State, pc); }
  [[nodiscard]] ir::Type pc_type() const override { return ir::Type::I32; }

  [[nodiscard]] exec::UnitKey current_key(VcpuContext& cpu) override;
  [[nodiscard]] unsigned fetch_mode(uint64_t) override { return 0; }
  void begin_unit(const exec::UnitKey&) override {}
  [[nodiscard]] unsigned insn_size(const exec::InsnRequest& request) override;
  exec::InsnResult translate(const exec::InsnRequest& request, ir::Builder& b) override;

  void set_pc(VcpuContext& cpu, uint64_t pc) override;
  [[nodiscard]] uint64_t get_pc(const VcpuContext& cpu) override;
  bool deliver_exception(VcpuContext& cpu) override;
  bool after_exact(VcpuContext&) override { return false; }
  [[nodiscard]] bool wants_single_step(const VcpuContext&) override { return false; }
  [[nodiscard]] bool accepts_interrupt(const VcpuContext& cpu) override;
  bool deliver_interrupt(VcpuContext& cpu, uint8_t vector) override;
  [[nodiscard]] bool halted(const VcpuContext& cpu) override;
  void wake(VcpuContext& cpu) override;
  void reset(VcpuContext& cpu) override;

  [[nodiscard]] std::string describe_registers(const VcpuContext& cpu) override;
  [[nodiscard]] std::string save_state(const VcpuContext& cpu) override;
  bool load_state(VcpuContext& cpu, std::string_view bytes) override;

  bool translate(VcpuContext& cpu, uint64_t address, Access access, unsigned mode, bool probe,
                 Translation& out) noexcept override;
  void misaligned(VcpuContext& cpu, uint64_t address, Access access) noexcept override;

  [[nodiscard]] static State& state(VcpuContext& cpu) { return *static_cast<State*>(cpu.state()); }
  [[nodiscard]] static const State& state(const VcpuContext& cpu) {
    return *static_cast<const State*>(static_cast<const void*>(&cpu + 1));
  }
};

}  // namespace panda::toy
