// Runs one instruction in Unicorn: a second opinion, and the only one outside 64-bit mode.
#pragma once

#include <unicorn/unicorn.h>

#include "machine_state.h"

namespace panda::x86test {

class UnicornExecutor : public Executor {
 public:
  explicit UnicornExecutor(Mode mode);
  ~UnicornExecutor() override;
  UnicornExecutor(const UnicornExecutor&) = delete;
  UnicornExecutor& operator=(const UnicornExecutor&) = delete;
  [[nodiscard]] std::string name() const override { return "unicorn"; }
  Result run(const std::vector<uint8_t>& code, const MachineState& before) override;

 private:
  Mode mode_;
  uc_engine* uc_ = nullptr;
  uint32_t vector_ = 0;
  bool raised_ = false;
  static void on_interrupt(uc_engine* uc, uint32_t vector, void* self);
};

}  // namespace panda::x86test
