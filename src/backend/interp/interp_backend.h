// The reference back end: interprets IR. Slow and obviously right; the others are tested against
// it. An IR unit is flattened into steps, each with the function of its op (see step.h).
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "exec/backend.h"

namespace panda::interp {

struct Program;

class InterpBackend final : public exec::Backend {
 public:
  static constexpr size_t kDefaultCapacitySteps = size_t{1} << 23;

  explicit InterpBackend(size_t capacity_steps = kDefaultCapacitySteps);
  ~InterpBackend() override;

  [[nodiscard]] std::string_view name() const override { return "interp"; }
  bool compile(const ir::Unit& ir, exec::TranslationUnit& unit) override;
  exec::ExitInfo run(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to) override;
  void unlink(exec::TranslationUnit& from, uint32_t index) override;
  void release(exec::TranslationUnit& unit) override;
  void reset() override;

 private:
  struct RegisterFile;

  void bury(std::unique_ptr<Program> program);

  std::vector<std::unique_ptr<Program>> programs_;
  std::vector<std::unique_ptr<Program>> graveyard_;  // released while running: the running one may be among them
  std::unique_ptr<RegisterFile> registers_;
  size_t capacity_steps_;
  size_t used_steps_ = 0;
  unsigned running_ = 0;
};

}  // namespace panda::interp
