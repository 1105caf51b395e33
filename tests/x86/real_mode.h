// Single instructions in real mode: encodings with 16-bit defaults, and our engine as their executor
// (all segments with base 0 and limit 64 KiB, no paging). The host cannot run these; Unicorn can.
#pragma once

#include <memory>

#include "engine_executor.h"
#include "forms.h"
#include "machine_state.h"

namespace panda::x86test {

inline constexpr uint64_t kRealCode = 0x1000;
inline constexpr uint64_t kRealData = 0x4000;  // kDataBytes

// As encode() and prepare(), for 16-bit code: of a form of the 32-bit list. Memory operands by 16-bit
// and by 32-bit addressing. Upper halves of registers are random where 16-bit addressing ignores them.
[[nodiscard]] Encoded encode_real(const Form& form, Rng& rng, MachineState& state);
void prepare_real(const Form& form, MachineState& state, Rng& rng);

class RealModeExecutor : public Executor {
 public:
  explicit RealModeExecutor(BackendKind backend);
  ~RealModeExecutor() override;
  [[nodiscard]] std::string name() const override;
  Result run(const std::vector<uint8_t>& code, const MachineState& before) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace panda::x86test
