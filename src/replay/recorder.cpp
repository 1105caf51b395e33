#include "replay/recorder.h"

#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace panda::replay {
namespace {

// Registers are digested this often, so that a divergence is noticed near to where it happened.
constexpr uint64_t kCheckInterval_insns = 50'000'000;

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::begin(const std::string& name, Outside& live, Line line,
                                                  const snapshot::MachineDescription& machine, uint64_t flush_ns) {
  if (name.empty()) return fail("a recording needs a name");
  const std::string snapshot_file = snapshot_path(name);
  const std::string log_file = log_path(name);
  for (const std::string& path : {snapshot_file, log_file}) {
    if (::access(path.c_str(), F_OK) == 0) {
      return fail("{} exists already; recordings are not overwritten: choose another name or remove it", path);
    }
  }
  snapshot::SnapshotHeader header;
  header.machine = machine;
  header.clock_shift = line.clock.shift();
  header.clock_offset_ns = line.clock.offset_ns();
  header.count = line.count();
  // The machine goes on from the very state that a replay starts with: what is not in the snapshot
  // (soft TLBs, which decide when accessed bits are set again) must not differ.
  const std::string cpu_state = line.frontend.save_state(line.cpu);
  PANDA_CHECK(line.frontend.load_state(line.cpu, cpu_state));
  line.memory.flush_tlb(line.cpu);
  PANDA_TRY(const snapshot::Hash128 id, snapshot::write_snapshot(snapshot_file, header, cpu_state, line.memory));
  auto log = LogWriter::create(log_file, {machine.architecture, id, header.count});
  if (!log) {
    ::unlink(snapshot_file.c_str());
    return tl::unexpected<Error>(log.error());
  }
  return std::unique_ptr<Recorder>(new Recorder(name, live, line, std::move(*log), flush_ns));
}

Recorder::Recorder(std::string name, Outside& live, Line line, std::unique_ptr<LogWriter> log, uint64_t flush_ns)
    : name_(std::move(name)),
      live_(live),
      line_(line),
      log_(std::move(log)),
      start_(line.count()),
      next_check_(start_ + kCheckInterval_insns),
      live_due_(start_),
      clock_offset_ns_(line.clock.offset_ns()),
      flush_ns_(flush_ns),
      last_flush_(line.clock.now(start_)) {
  line_.memory.set_dma_observer(this);
}

Recorder::~Recorder() {
  if (!ended_) line_.memory.set_dma_observer(nullptr);
}

Status Recorder::end(EndReason reason) {
  if (ended_) return {};
  ended_ = true;
  line_.memory.set_dma_observer(nullptr);
  final_digest_ = snapshot::state_digest(line_.frontend, line_.cpu, line_.memory);
  End end{reason, final_digest_, line_.frontend.describe_registers(line_.cpu)};
  return log_->finish({line_.count(), std::move(end)});
}

void Recorder::log(EventBody body) {
  const InsnCount now = line_.count();
  log_->append({now, std::move(body)});
  if (flush_ns_ == 0) return;
  const VirtualNs time = line_.clock.now(now);
  if (static_cast<int64_t>(time - last_flush_) >= static_cast<int64_t>(flush_ns_)) {
    last_flush_ = time;
    log_->flush();
  }
}

void Recorder::note_clock() {
  if (ended_ || line_.clock.offset_ns() == clock_offset_ns_) return;
  clock_offset_ns_ = line_.clock.offset_ns();
  log(ClockAdjust{clock_offset_ns_, in_access_});
}

void Recorder::dma_written(GuestPhysAddr address, std::span<const uint8_t> bytes) {
  if (plugin_write_at_) {
    log_->append({*plugin_write_at_, PluginWrite{address, in_access_, {bytes.begin(), bytes.end()}}});
    return;
  }
  note_clock();
  log(Dma{address, in_access_, {bytes.begin(), bytes.end()}});
}

void Recorder::serial_traffic(const SerialTraffic& traffic) {
  if (ended_) return;
  note_clock();
  log(Serial{traffic, in_access_});
}

// Runs a device access; what it does to the clock and to RAM belongs to the access.
template <typename Access>
auto Recorder::in_access(Access access) {
  in_access_ = true;
  auto result = access();
  note_clock();
  in_access_ = false;
  return result;
}

uint64_t Recorder::port_read(uint16_t port, unsigned size) {
  const uint64_t value = in_access([&] { return live_.port_read(port, size); });
  if (!ended_) log(PortRead{port, static_cast<uint8_t>(size), value});
  return value;
}

void Recorder::port_write(uint16_t port, unsigned size, uint64_t value) {
  in_access([&] {
    live_.port_write(port, size, value);
    return 0;
  });
}

uint64_t Recorder::mmio_read(GuestPhysAddr address, unsigned size) {
  const bool assigned = live_.mmio_assigned(address, size);
  const uint64_t value = in_access([&] { return live_.mmio_read(address, size); });
  if (ended_) return value;
  if (assigned)
    log(MmioRead{address, static_cast<uint8_t>(size), value});
  else
    log(UnassignedRead{address, static_cast<uint8_t>(size), value});
  return value;
}

void Recorder::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
  in_access([&] {
    live_.mmio_write(address, size, value);
    return 0;
  });
  if (!ended_ && !live_.mmio_assigned(address, size)) log(UnassignedWrite{address, static_cast<uint8_t>(size)});
}

std::optional<uint64_t> Recorder::register_read(OutsideRegister kind, uint32_t index) {
  const auto value = in_access([&] { return live_.register_read(kind, index); });
  if (!ended_) log(RegisterRead{kind, index, value});
  return value;
}

bool Recorder::register_write(OutsideRegister kind, uint32_t index, uint64_t value) {
  const bool accepted = in_access([&] { return live_.register_write(kind, index, value); });
  if (!ended_ && !accepted) log(RegisterWrite{kind, index, accepted});
  return accepted;
}

InsnCount Recorder::next_event(InsnCount now) {
  live_due_ = live_.next_event(now);
  if (cpu_written_ && !ended_) return now;
  return ended_ ? live_due_ : std::min(live_due_, next_check_);
}

void Recorder::service(InsnCount now) {
  if (cpu_written_ && !ended_) {
    // As in a replay, which takes the state from the event: what is not in it must not differ.
    const std::string state = line_.frontend.save_state(line_.cpu);
    PANDA_CHECK(line_.frontend.load_state(line_.cpu, state));
    line_.memory.flush_tlb(line_.cpu);
    log(CpuWrite{state});
  }
  cpu_written_ = false;
  if (live_due_ <= now) {
    live_.service(now);
    note_clock();
  }
  if (!ended_ && next_check_ <= now) {
    next_check_ = now + kCheckInterval_insns;
    log(StateCheck{snapshot::registers_digest(line_.frontend, line_.cpu),
                   line_.frontend.describe_registers(line_.cpu)});
    log_->flush();
  }
}

std::optional<uint8_t> Recorder::acknowledge_interrupt(InsnCount now) {
  const auto vector = live_.acknowledge_interrupt(now);
  note_clock();
  if (vector && !ended_) log(Interrupt{*vector});
  return vector;
}

bool Recorder::idle(InsnCount now) {
  const bool woken = live_.idle(now);
  note_clock();
  return woken;
}

}  // namespace panda::replay
