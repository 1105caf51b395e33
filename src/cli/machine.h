// A whole machine, assembled: RAM, clock, CPU, engine and, where it runs live, the PC board with a
// kernel loaded. For a replay there is no board: the log takes its place.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/check/check_backend.h"
#include "base/result.h"
#include "base/virtual_clock.h"
#include "board/pc.h"
#include "cli/options.h"
#include "exec/backend.h"
#include "exec/engine.h"
#include "guest/x86/frontend.h"
#include "memory/guest_memory.h"
#include "replay/replayer.h"
#include "snapshot/snapshot.h"

namespace panda::cli {

class Machine {
 public:
  static Result<std::unique_ptr<Machine>> create_live(const Config& config, device::CharBackend& serial);
  static Result<std::unique_ptr<Machine>> create_replay(const Config& config);  // restore() makes it complete
  // A CPU with a little RAM and nothing around it: to be looked at, not to run.
  static Result<std::unique_ptr<Machine>> create_empty(const Config& config);

  [[nodiscard]] exec::Engine& engine() { return *engine_; }
  [[nodiscard]] board::Pc* board() { return board_.get(); }               // null in a replay
  [[nodiscard]] replay::Replayer* replayer() { return replayer_.get(); }  // null when live
  [[nodiscard]] Outside& outside() { return board_ ? static_cast<Outside&>(*board_) : *replayer_; }
  [[nodiscard]] check::CheckBackend* checker() { return checker_; }  // null but for --backend=check
  [[nodiscard]] const snapshot::MachineDescription& description() const { return description_; }

  // Of a replay, before it runs: RAM and CPU as the recording began.
  Status restore();
  // Live, between two instructions: devices, CPU and kernel as at power-on; the clock goes on.
  Status reset();

 private:
  Machine() = default;
  static Result<std::unique_ptr<Machine>> create_core(const Config& config,
                                                      const snapshot::MachineDescription& description,
                                                      unsigned clock_shift);
  Status load_kernel();

  snapshot::MachineDescription description_;
  std::unique_ptr<GuestMemory> memory_;
  VirtualClock clock_;
  std::unique_ptr<x86::X86Frontend> frontend_;
  std::unique_ptr<exec::Backend> backend_;
  check::CheckBackend* checker_ = nullptr;
  std::unique_ptr<exec::Engine> engine_;
  std::unique_ptr<board::Pc> board_;
  std::unique_ptr<replay::Replayer> replayer_;
  std::string recording_;                             // that is replayed
  std::optional<snapshot::SnapshotReader> snapshot_;  // until it is restored
  std::vector<uint8_t> kernel_;
  std::vector<uint8_t> initrd_;
  std::string append_;
};

// What -cpu help prints.
[[nodiscard]] std::string cpu_help(std::string_view architecture);

}  // namespace panda::cli
