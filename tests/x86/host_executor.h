// Runs one instruction on the host's own CPU.
#pragma once

#include "machine_state.h"

namespace panda::x86test {

// Only one may exist at a time: it owns the fixed addresses and the fault signals while it lives.
class HostExecutor : public Executor {
 public:
  explicit HostExecutor(Mode mode);
  // A kernel need not offer a segment for 32-bit code (Linux without IA-32 emulation).
  [[nodiscard]] static bool offers(Mode mode);
  ~HostExecutor() override;
  [[nodiscard]] std::string name() const override { return "host"; }
  Result run(const std::vector<uint8_t>& code, const MachineState& before) override;

 private:
  Mode mode_;
};

}  // namespace panda::x86test
