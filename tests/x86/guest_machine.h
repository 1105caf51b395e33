// A whole small machine for guest programs: flat RAM from 0, the CPU at 0000:1000 in real mode, and
// ports to log a value, to request an interrupt and to end (guest/common.inc).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine_executor.h"
#include "exec/engine.h"
#include "memory/outside.h"

namespace panda::x86test {

class GuestMachine : private Outside {
 public:
  // program: the name of a file of guest/, without the suffix.
  GuestMachine(const std::string& program, BackendKind backend, bool is_64bit = true);
  using MakeBackend = std::function<std::unique_ptr<exec::Backend>(exec::Frontend&, GuestMemory&)>;
  GuestMachine(const std::string& program, const MakeBackend& make, bool is_64bit = true);
  ~GuestMachine() override;

  // Runs to the program's end; step: in slices of that many instructions (0: at once).
  void run(uint64_t step = 0, uint64_t limit = 1'000'000);
  // Runs exactly `insns` more, or to the end.
  void advance(uint64_t insns);
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool shut_down() const { return shut_down_; }
  [[nodiscard]] uint64_t count() const { return engine_->count().value; }
  [[nodiscard]] const std::vector<uint32_t>& log() const { return log_; }
  [[nodiscard]] std::string cpu_state();  // architecture only
  [[nodiscard]] std::string describe();
  [[nodiscard]] std::vector<uint8_t> ram();
  exec::Engine& engine() { return *engine_; }
  exec::Backend& backend() { return *backend_; }

 private:
  uint64_t port_read(uint16_t, unsigned) override { return ~uint64_t{0}; }
  void port_write(uint16_t port, unsigned size, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr, unsigned) override { return ~uint64_t{0}; }
  void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override { return std::nullopt; }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return false; }
  InsnCount next_event(InsnCount) override { return InsnCount(~uint64_t{0}); }
  void service(InsnCount) override {}
  bool interrupt_pending() override { return vector_ >= 0; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override;
  bool idle(InsnCount) override { return false; }
  bool stop_requested() override { return ended_; }

  VirtualClock clock_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<exec::Frontend> frontend_;
  std::unique_ptr<exec::Backend> backend_;
  std::unique_ptr<exec::Engine> engine_;
  std::vector<uint32_t> log_;
  int vector_ = -1;
  bool ended_ = false;
  bool shut_down_ = false;
};

}  // namespace panda::x86test
