// Runs one instruction in our engine: a CPU with flat segments and identity paging, user privilege,
// on a given back end.
#pragma once

#include <memory>

#include "exec/backend.h"
#include "forms.h"
#include "machine_state.h"

namespace panda::x86test {

// JitForOldHost: using nothing that the host's CPU need not have.
enum class BackendKind : uint8_t { Interpreter, Jit, JitForOldHost };

[[nodiscard]] std::unique_ptr<exec::Backend> make_backend(BackendKind kind);

class EngineExecutor : public Executor {
 public:
  EngineExecutor(Mode mode, BackendKind backend);
  ~EngineExecutor() override;
  [[nodiscard]] std::string name() const override;
  Result run(const std::vector<uint8_t>& code, const MachineState& before) override;
  // Runs all of `code`. slices: leaves and re-enters the engine at random counts.
  Result run_to_end(const std::vector<uint8_t>& code, const MachineState& before, Rng* slices = nullptr);
  void set_max_unit_insns(unsigned n);
  void protect(PageAccess access);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace panda::x86test
