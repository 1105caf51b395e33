// Stands around the live outside while a recording runs: everything passes through unchanged, and
// what comes in is logged with the instruction count at which it did.
#pragma once

#include <memory>
#include <string>

#include "memory/outside.h"
#include "replay/line.h"
#include "replay/log.h"
#include "snapshot/snapshot.h"

namespace panda::replay {

class Recorder final : public Outside, public SerialObserver, private DmaObserver {
 public:
  // Between two instructions: writes NAME-rr-snp and opens NAME-rr-nondet.log. Refuses where one exists.
  // flush_ns: the log is written out when so much guest time has passed, so that a recording that is
  // cut off lacks little; 0 where guest time does not run with the host's (-icount): then, as always,
  // every 50 million instructions.
  static Result<std::unique_ptr<Recorder>> begin(const std::string& name, Outside& live, Line line,
                                                 const snapshot::MachineDescription& machine,
                                                 uint64_t flush_ns = kFlushInterval_ns);
  static constexpr uint64_t kFlushInterval_ns = 1'000'000'000;
  ~Recorder() override;

  // Between two instructions: writes the end and closes. The recorder only passes through afterwards.
  Status end(EndReason reason);
  // The host could not write (disk full): the recording is good up to its last whole chunk.
  [[nodiscard]] const std::optional<Error>& failure() const { return log_->failure(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] InsnCount start() const { return start_; }
  [[nodiscard]] uint64_t log_bytes() const { return log_->size_bytes(); }
  [[nodiscard]] const snapshot::StateDigest& final_digest() const { return final_digest_; }

  // Until it is called with nothing: RAM is written by a plugin, at that count.
  void plugin_writes(std::optional<InsnCount> at) { plugin_write_at_ = at; }
  // What passes through the serial ports of `live`.
  void serial_traffic(const SerialTraffic& traffic) override;
  // A plugin has written the CPU's state; called within an instruction or between two.
  void cpu_written() { cpu_written_ = true; }

  uint64_t port_read(uint16_t port, unsigned size) override;
  void port_write(uint16_t port, unsigned size, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;
  bool mmio_assigned(GuestPhysAddr address, unsigned size) override { return live_.mmio_assigned(address, size); }
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override;
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override;
  InsnCount next_event(InsnCount now) override;
  void service(InsnCount now) override;
  bool interrupt_pending() override { return live_.interrupt_pending(); }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override;
  bool idle(InsnCount now) override;
  bool stop_requested() override { return live_.stop_requested(); }

 private:
  Recorder(std::string name, Outside& live, Line line, std::unique_ptr<LogWriter> log, uint64_t flush_ns);
  void dma_written(GuestPhysAddr address, std::span<const uint8_t> bytes) override;
  void log(EventBody body);
  void note_clock();
  template <typename Access>
  auto in_access(Access access);

  std::string name_;
  Outside& live_;
  Line line_;
  std::unique_ptr<LogWriter> log_;
  InsnCount start_;
  InsnCount next_check_;
  InsnCount live_due_;
  uint64_t clock_offset_ns_;
  uint64_t flush_ns_;
  VirtualNs last_flush_;
  std::optional<InsnCount> plugin_write_at_;
  bool in_access_ = false;
  bool cpu_written_ = false;
  bool ended_ = false;
  snapshot::StateDigest final_digest_;
};

}  // namespace panda::replay
