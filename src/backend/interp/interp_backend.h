// The reference back end: interprets IR. Slow and obviously right; the others are tested against
// it. An IR unit is flattened into steps, each with the function of its op (see step.h).
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "exec/backend.h"

namespace panda::interp {

struct Program;

class InterpBackend final : public exec::Backend {
 public:
  static constexpr size_t kDefaultCapacityBytes = size_t{512} << 20;

  // capacity_bytes: what all steps together may take.
  explicit InterpBackend(size_t capacity_bytes = kDefaultCapacityBytes);
  ~InterpBackend() override;

  [[nodiscard]] std::string_view name() const override { return "interp"; }
  bool compile(const ir::Unit& ir, exec::TranslationUnit& unit) override;
  exec::ExitInfo run(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) override;
  void unlink(exec::TranslationUnit& from, uint32_t index) override;
  void release(exec::TranslationUnit& unit) override;
  void reset() override;
  [[nodiscard]] exec::TranslationUnit* in_the_way() const override { return in_the_way_; }
  [[nodiscard]] exec::CodeSpace code_space() const override { return {used_bytes_, capacity_bytes_}; }

 private:
  struct RegisterFile;

  std::list<Program> programs_;  // the oldest first
  std::unique_ptr<RegisterFile> registers_;
  size_t capacity_bytes_;
  size_t used_bytes_ = 0;
  exec::TranslationUnit* in_the_way_ = nullptr;
  unsigned running_ = 0;
};

}  // namespace panda::interp
