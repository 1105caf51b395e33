// Runs one instruction in Unicorn: a second opinion beside the host CPU, and the only one on 16-bit code.
// What it gives: general registers, EFLAGS, the instruction pointer, memory at kData (kRealData), XMM
// registers. x87 and MMX state is neither set nor read: Unicorn computes it in its own way (tags and the
// status word are not what a CPU has) and the host CPU is the oracle for them. Faults are only told
// apart from success.
#pragma once

#include <unicorn/unicorn.h>

#include "machine_state.h"

namespace panda::x86test {

enum class UnicornMode : uint8_t { Real16, Protected32, Long64 };

class UnicornExecutor : public Executor {
 public:
  explicit UnicornExecutor(UnicornMode mode);
  ~UnicornExecutor() override;
  UnicornExecutor(const UnicornExecutor&) = delete;
  UnicornExecutor& operator=(const UnicornExecutor&) = delete;
  [[nodiscard]] std::string name() const override { return "unicorn"; }
  // Outcome::Done, or Outcome::Other for any fault.
  Result run(const std::vector<uint8_t>& code, const MachineState& before) override;

 private:
  UnicornMode mode_;
  uint64_t code_at_, data_at_;
  uc_engine* uc_ = nullptr;
  bool raised_ = false;
  static void on_interrupt(uc_engine* uc, uint32_t vector, void* self);
};

}  // namespace panda::x86test
