// The x86 guest: binds decoder, translators and the system architecture (system.h) to the engine's
// interface. One class serves both targets; the layout differs (Layout).
#pragma once

#include <cstdint>

#include "exec/frontend.h"
#include "guest/x86/decoder.h"
#include "guest/x86/insn_context.h"
#include "guest/x86/row_table.h"
#include "guest/x86/state.h"
#include "guest/x86/x87_inline.h"

namespace panda::x86 {

class X86Frontend final : public exec::Frontend {
 public:
  // cpu_model: State::cpu_model (cpuid.h lists them).
  X86Frontend(bool is_64bit_target, uint32_t cpu_model);

  // Mmu
  bool translate(VcpuContext& cpu, uint64_t address, Access access, unsigned mode, bool probe,
                 Translation& out) noexcept override;
  void misaligned(VcpuContext& cpu, uint64_t address, Access access) noexcept override;
  void misaligned_operand(VcpuContext& cpu, uint64_t address, Access access) noexcept override;

  // Frontend
  [[nodiscard]] std::string_view name() const override { return layout_.is64 ? "x86_64" : "i386"; }
  [[nodiscard]] size_t state_size() const override { return sizeof(State); }
  [[nodiscard]] unsigned max_insn_bytes() const override { return kMaxInsnBytes; }
  [[nodiscard]] uint32_t pc_offset() const override { return offsetof(State, eip); }
  [[nodiscard]] ir::Type pc_type() const override { return layout_.word(); }

  [[nodiscard]] exec::UnitKey current_key(VcpuContext& cpu) override;
  [[nodiscard]] unsigned fetch_mode(uint64_t flags) override;
  void begin_unit(const exec::UnitKey& key) override;
  [[nodiscard]] unsigned insn_size(const exec::InsnRequest& request) override;
  exec::InsnResult translate(const exec::InsnRequest& request, ir::Builder& b) override;
  void branch_passed() override { known_ = known_before_; }

  void set_pc(VcpuContext& cpu, uint64_t pc) override;
  [[nodiscard]] uint64_t get_pc(const VcpuContext& cpu) override;
  bool deliver_exception(VcpuContext& cpu) override;
  void starts(const VcpuContext& cpu) override;
  bool after_exact(VcpuContext& cpu) override;
  [[nodiscard]] bool wants_single_step(const VcpuContext& cpu) override;
  [[nodiscard]] bool accepts_interrupt(const VcpuContext& cpu) override;
  bool deliver_interrupt(VcpuContext& cpu, uint8_t vector) override;
  [[nodiscard]] bool halted(const VcpuContext& cpu) override;
  void wake(VcpuContext& cpu) override;
  void reset(VcpuContext& cpu) override;

  [[nodiscard]] std::string describe_registers(const VcpuContext& cpu) override;
  [[nodiscard]] std::string disassemble(std::span<const uint8_t> bytes, uint64_t pc, uint64_t flags) override;
  [[nodiscard]] std::string field_name(uint32_t offset) const override;
  [[nodiscard]] std::string save_state(const VcpuContext& cpu) override;
  bool load_state(VcpuContext& cpu, std::string_view bytes) override;

  [[nodiscard]] X87Misses& x87_misses() { return x87_misses_; }

 private:
  [[nodiscard]] DecodeStatus decode(const exec::InsnRequest& request);
  exec::InsnEnd emit(const exec::InsnRequest& request, ir::Builder& b);
  [[nodiscard]] bool addresses_stack(VcpuContext& cpu);
  void read_features(const State& s);

  Layout layout_;
  uint32_t cpu_model_;
  Decoder decoder_;
  RowTable rows_;
  FlagsKnown known_;
  FlagsKnown known_before_;   // what was known as the last instruction ended its block
  bool shadow_open_ = false;  // the last instruction of the unit was STI
  X87Known x87_;
  X87Misses x87_misses_;
  const State* running_ = nullptr;  // whose state the next unit is made for (current_key)
  uint64_t features_ = 0;           // bit per Feature
  bool features_read_ = false;

  // The last instruction decoded: asked for its size first, translated next.
  DecodedInsn decoded_{};
  DecodeStatus decoded_status_ = DecodeStatus::Undefined;
  uint64_t decoded_flags_ = 0;
  uint8_t decoded_bytes_[kMaxInsnBytes] = {};
  size_t decoded_size_ = 0;  // bytes looked at; 0: nothing cached

  // As the unit that runs found them (starts()): what after_exact() compares with.
  bool shadow_at_start_ = false;
  bool trap_at_start_ = false;
};

}  // namespace panda::x86
