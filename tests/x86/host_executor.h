// Runs one instruction on the host's own CPU.
#pragma once

#include "machine_state.h"
#include "steps.h"

namespace panda::x86test {

// Only one may exist at a time: it owns the fixed addresses and the fault signals while it lives.
class HostExecutor : public Executor {
 public:
  explicit HostExecutor(Mode mode);
  // A kernel need not offer a segment for 32-bit code (Linux without IA-32 emulation).
  [[nodiscard]] static bool offers(Mode mode);
  ~HostExecutor() override;
  [[nodiscard]] std::string name() const override { return "host"; }
  // 32-bit code that has an equal in 64-bit code can be asked about nevertheless.
  [[nodiscard]] bool runs(const Bytes& insn) const;
  Result run(const Bytes& code, const MachineState& before) override;
  Result run(const Steps& steps, const MachineState& before);
  // Supervisor: the page is not there, as far as the host's CPU can see.
  void protect(PageAccess access) { access_ = access; }

 private:
  Result execute(const Bytes& code, Mode mode, const MachineState& before);

  PageAccess access_ = PageAccess::Writable;
  Mode mode_;
};

}  // namespace panda::x86test
