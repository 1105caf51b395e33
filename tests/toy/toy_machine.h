// A machine of the toy architecture for tests: engine, memory, a scripted outside, and beside it a
// plain simulator that says what the state must be after any number of instructions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "exec/backend.h"
#include "exec/engine.h"
#include "toy_frontend.h"

namespace panda::toy {

inline constexpr uint64_t kRamBytes = 256 * 1024;

// A crossing of the line, with the count it happened at.
struct Crossing {
  uint64_t count = 0;
  uint64_t where = 0;  // port, or MMIO address
  uint64_t value = 0;
  friend bool operator==(const Crossing&, const Crossing&) = default;
};

// Input ports read as a function of the port and how many reads there were.
[[nodiscard]] constexpr uint32_t port_input(uint32_t port, size_t nth) {
  return port * 1000 + static_cast<uint32_t>(nth);
}

class ScriptedOutside final : public Outside {
 public:
  explicit ScriptedOutside(std::vector<uint64_t> interrupts_at) : interrupts_at_(std::move(interrupts_at)) {}
  void attach(exec::Engine& engine) { engine_ = &engine; }

  uint64_t port_read(uint16_t port, unsigned) override;
  void port_write(uint16_t port, unsigned, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr address, unsigned) override;
  void mmio_write(GuestPhysAddr address, unsigned, uint64_t value) override;
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override { return std::nullopt; }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return false; }
  InsnCount next_event(InsnCount now) override;
  void service(InsnCount now) override;
  bool interrupt_pending() override { return pending_ > 0; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override;
  bool idle(InsnCount) override { return false; }
  bool stop_requested() override { return stop_; }

  std::vector<Crossing> crossings;

 private:
  exec::Engine* engine_ = nullptr;
  std::vector<uint64_t> interrupts_at_;  // ascending
  size_t next_interrupt_ = 0;
  unsigned pending_ = 0;
  size_t reads_ = 0;
  bool stop_ = false;
};

// The same architecture, executed one instruction at a time without anything of ours.
class Simulator {
 public:
  Simulator(std::vector<uint8_t> ram, std::vector<uint64_t> interrupts_at)
      : ram_(std::move(ram)), interrupts_at_(std::move(interrupts_at)) {}
  // False: halted for good.
  bool run_until(uint64_t count);

  State state;
  uint64_t count = 0;
  std::vector<Crossing> crossings;
  [[nodiscard]] const std::vector<uint8_t>& ram() const { return ram_; }

 private:
  void take_events();
  void step();
  void fault(uint32_t cause);
  bool load(uint32_t address, unsigned size, uint32_t& value);
  bool store(uint32_t address, uint32_t value);

  std::vector<uint8_t> ram_;
  std::vector<uint64_t> interrupts_at_;
  size_t next_interrupt_ = 0;
  unsigned pending_ = 0;
  size_t reads_ = 0;
};

struct BackendFactory {
  std::string name;
  std::function<std::unique_ptr<exec::Backend>()> create;
};
// The interpreter, and the JIT where this host has it.
[[nodiscard]] std::vector<BackendFactory> backends();

struct Machine {
  Machine(const BackendFactory& factory, const std::vector<uint8_t>& program, std::vector<uint64_t> interrupts_at = {});

  [[nodiscard]] State& state() { return ToyFrontend::state(engine->cpu()); }
  exec::StopReason run(uint64_t until) { return engine->run(InsnCount(until)); }

  ToyFrontend frontend;
  VirtualClock clock;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<exec::Backend> backend;
  std::unique_ptr<exec::Engine> engine;
  ScriptedOutside outside;
  Simulator simulator;
};

}  // namespace panda::toy
