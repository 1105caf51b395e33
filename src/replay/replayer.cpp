#include "replay/replayer.h"

#include <algorithm>

namespace panda::replay {

Replayer::Replayer(std::unique_ptr<LogReader> log, Line line)
    : log_(std::move(log)), line_(line), last_good_(log_->header().start) {
  fill();
}

// Reads on until an asynchronous event is in the queue: the CPU must know where to stop next.
void Replayer::fill() {
  while (async_.empty() && !exhausted_) {
    auto event = log_->next();
    if (!event) {
      exhausted_ = true;
      finish(Outcome::Damaged, event.error().message);
    } else if (!*event) {
      exhausted_ = true;
    } else {
      if (is_async((*event)->body)) async_.push_back((*event)->count);
      queue_.push_back(std::move(**event));
    }
  }
}

void Replayer::pop() {
  taken_ = std::move(queue_.front());
  queue_.pop_front();
  if (is_async(taken_.body)) async_.pop_front();
  fill();
}

void Replayer::finish(Outcome outcome, std::string report) {
  if (outcome_ != Outcome::Running) return;
  outcome_ = outcome;
  report_ = std::move(report);
}

std::string Replayer::expected_next() const {
  if (queue_.empty()) return "nothing more";
  return fmt::format("{} at instruction {}", describe(queue_.front().body), queue_.front().count.value);
}

void Replayer::diverge(const std::string& what) {
  finish(Outcome::Diverged,
         fmt::format("the replay diverged at instruction {} (pc {:#x}): {}; the log has next: {}; the registers last "
                     "agreed at instruction {}",
                     line_.count().value, line_.frontend.get_pc(line_.cpu), what, expected_next(), last_good_.value));
}

// What devices and plugins did inside the access that the guest is making now.
void Replayer::apply_access_effects() {
  const InsnCount now = line_.count();
  while (at_front(now)) {
    const EventBody& body = queue_.front().body;
    const bool effect = std::holds_alternative<Dma>(body) || std::holds_alternative<ClockAdjust>(body) ||
                        std::holds_alternative<Serial>(body) || std::holds_alternative<PluginWrite>(body);
    if (!effect || is_async(body)) return;
    pop();
    apply(taken_);
  }
}

// The log's answer to what the guest asks now; nullptr, with the divergence reported, where it has none.
template <typename T>
const T* Replayer::take(const std::string& question) {
  if (outcome_ != Outcome::Running) return nullptr;
  apply_access_effects();
  if (at_front(line_.count()) && std::holds_alternative<T>(queue_.front().body)) {
    pop();
    return &std::get<T>(taken_.body);
  }
  // Where the log was cut off, the rest of the guest's last instruction has no answer: that is its end.
  if (queue_.empty() && !log_->complete()) return nullptr;
  diverge(question);
  return nullptr;
}

uint64_t Replayer::port_read(uint16_t port, unsigned size) {
  const auto* e = take<PortRead>("the guest reads a port");
  if (e == nullptr) return 0;
  if (e->port != port || e->size != size) {
    diverge(fmt::format("the guest reads port {:#06x} size {}, recorded was {}", port, size, describe(*e)));
  }
  return e->value;
}

// One event answers an access; where there was no device it says so.
bool Replayer::mmio_assigned(GuestPhysAddr address, unsigned size) {
  if (outcome_ != Outcome::Running) return true;
  apply_access_effects();
  if (!at_front(line_.count())) return true;
  const EventBody& body = queue_.front().body;
  const auto is_it = [&](const auto* e) { return e != nullptr && e->address == address && e->size == size; };
  return !is_it(std::get_if<UnassignedRead>(&body)) && !is_it(std::get_if<UnassignedWrite>(&body));
}

uint64_t Replayer::mmio_read(GuestPhysAddr address, unsigned size) {
  return mmio_assigned(address, size) ? answer_load<MmioRead>(address, size)
                                      : answer_load<UnassignedRead>(address, size);
}

template <typename T>
uint64_t Replayer::answer_load(GuestPhysAddr address, unsigned size) {
  const auto* e = take<T>("the guest reads device memory");
  if (e == nullptr) return 0;
  if (e->address != address || e->size != size) {
    diverge(fmt::format("the guest reads device memory at {:#x} size {}, recorded was {}", address.value, size,
                        describe(*e)));
  }
  return e->value;
}

std::optional<uint64_t> Replayer::register_read(OutsideRegister kind, uint32_t index) {
  const auto* e = take<RegisterRead>("the guest reads a register of the local APIC");
  if (e == nullptr) return 0;
  if (e->kind != kind || e->index != index) {
    diverge(fmt::format("the guest reads another register of the local APIC (kind {} index {}), recorded was {}",
                        static_cast<unsigned>(kind), index, describe(*e)));
  }
  return e->value;
}

// Logged only where it was refused, which is rare.
bool Replayer::register_write(OutsideRegister kind, uint32_t index, uint64_t) {
  if (outcome_ != Outcome::Running) return true;
  apply_access_effects();
  if (!at_front(line_.count()) || !std::holds_alternative<RegisterWrite>(queue_.front().body)) return true;
  pop();
  const auto& e = std::get<RegisterWrite>(taken_.body);
  if (e.kind != kind || e.index != index) {
    diverge(fmt::format("the guest writes another register of the local APIC (kind {} index {}), recorded was {}",
                        static_cast<unsigned>(kind), index, describe(e)));
  }
  return e.accepted;
}

// What the guest writes leaves the machine; only what came back matters.
void Replayer::port_write(uint16_t, unsigned, uint64_t) { apply_access_effects(); }
void Replayer::mmio_write(GuestPhysAddr address, unsigned size, uint64_t) {
  apply_access_effects();
  if (outcome_ != Outcome::Running || mmio_assigned(address, size)) return;
  take<UnassignedWrite>("the guest writes where no device is");
}

InsnCount Replayer::next_event(InsnCount now) {
  if (outcome_ != Outcome::Running) return now;
  if (!queue_.empty() && queue_.front().count < now) {
    diverge("the CPU went past the next event without it happening");
    return now;
  }
  if (queue_.empty()) return log_->complete() ? now : std::max(now, log_->last_count());
  if (async_.empty()) return std::max(now + 1, log_->last_count());  // cut off behind these answers
  if (async_.front() > now) return async_.front();
  // Due now: it is for service() where it stands first and is no interrupt; else the CPU goes on to meet it.
  const EventBody& body = queue_.front().body;
  return is_async(body) && !std::holds_alternative<Interrupt>(body) ? now : now + 1;
}

void Replayer::service(InsnCount now) {
  while (outcome_ == Outcome::Running && at_front(now)) {
    const EventBody& body = queue_.front().body;
    if (!is_async(body) || std::holds_alternative<Interrupt>(body)) return;
    pop();
    apply(taken_);
  }
  if (outcome_ != Outcome::Running || !queue_.empty()) return;
  if (log_->complete()) {
    diverge("the log ended without its end");
  } else if (now >= log_->last_count()) {
    finish(Outcome::CutOff,
           fmt::format("{}: cut off at byte {}: the recording was not ended properly; replayed up to its last whole "
                       "chunk, instruction {}, where there is no digest to compare",
                       log_->path(), log_->whole_bytes(), now.value));
  }
}

void Replayer::apply(const Event& event) {
  if (const auto* clock = std::get_if<ClockAdjust>(&event.body)) {
    line_.clock.set_offset_ns(clock->offset_ns);
  } else if (const auto* dma = std::get_if<Dma>(&event.body)) {
    if (observer_ != nullptr) observer_->before_dma(dma->address, dma->bytes);
    write_ram(dma->address, dma->bytes, "DMA to");
    if (observer_ != nullptr) observer_->after_dma(dma->address, dma->bytes);
  } else if (const auto* write = std::get_if<PluginWrite>(&event.body)) {
    write_ram(write->address, write->bytes, "a plugin's write at");
  } else if (const auto* serial = std::get_if<Serial>(&event.body)) {
    if (observer_ != nullptr) observer_->serial_traffic(serial->traffic);
  } else if (const auto* cpu = std::get_if<CpuWrite>(&event.body)) {
    if (!line_.frontend.load_state(line_.cpu, cpu->state)) {
      finish(Outcome::Damaged, fmt::format("{}: a CPU state that is not one of this version", log_->path()));
    }
    line_.memory.flush_tlb(line_.cpu);
  } else if (const auto* check = std::get_if<StateCheck>(&event.body)) {
    check_state(*check);
  } else if (const auto* end = std::get_if<End>(&event.body)) {
    check_end(*end);
  }
}

void Replayer::write_ram(GuestPhysAddr address, const std::vector<uint8_t>& bytes, std::string_view what) {
  if (line_.memory.write(address, bytes.data(), bytes.size())) return;
  finish(Outcome::Damaged,
         fmt::format("{}: {} {:#x}, where this machine has no RAM", log_->path(), what, address.value));
}

void Replayer::check_state(const StateCheck& check) {
  if (snapshot::registers_digest(line_.frontend, line_.cpu) == check.registers) {
    last_good_ = line_.count();
    return;
  }
  finish(
      Outcome::Diverged,
      fmt::format(
          "the replay diverged between instructions {} and {}: the registers differ from the recorded ones\n{}",
          last_good_.value, line_.count().value,
          snapshot::describe_register_difference(check.registers_text, line_.frontend.describe_registers(line_.cpu))));
}

void Replayer::check_end(const End& end) {
  final_digest_ = snapshot::state_digest(line_.frontend, line_.cpu, line_.memory);
  if (final_digest_ == end.digest) {
    finish(Outcome::Completed, fmt::format("the recording ended by {}", name_of(end.reason)));
    return;
  }
  std::string what = fmt::format(
      "the replay reached the end, but its state differs from the recorded one (registers "
      "last agreed at instruction {})\n",
      last_good_.value);
  if (final_digest_.registers != end.digest.registers) {
    what += snapshot::describe_register_difference(end.registers_text, line_.frontend.describe_registers(line_.cpu));
  }
  what += snapshot::describe_memory_difference(end.digest, final_digest_, line_.memory.ranges());
  finish(Outcome::Diverged, what);
}

bool Replayer::interrupt_pending() {
  return outcome_ == Outcome::Running && !queue_.empty() && std::holds_alternative<Interrupt>(queue_.front().body) &&
         queue_.front().count == line_.count();
}

std::optional<uint8_t> Replayer::acknowledge_interrupt(InsnCount) {
  if (!interrupt_pending()) return std::nullopt;
  pop();
  return std::get<Interrupt>(taken_.body).vector;
}

bool Replayer::idle(InsnCount now) {
  service(now);
  if (outcome_ != Outcome::Running || interrupt_pending()) return true;
  diverge("the guest waits for an interrupt");
  return true;
}

void Replayer::cpu_stopped(std::string_view why) {
  service(line_.count());
  if (outcome_ == Outcome::Running) diverge(fmt::format("the guest's CPU stopped ({})", why));
}

}  // namespace panda::replay
