#include "board/pc.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace panda::board {

using device::IrqLine;

namespace {

uint64_t host_now_ns() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// A sleep is cut into pieces of this length, so that a missed wake-up cannot hang an idle guest.
constexpr uint64_t kLongestSleepNs = 1'000'000'000;

}  // namespace

Pc::Pc(const PcConfig& config, GuestMemory& memory, VirtualClock& clock)
    : config_(config),
      memory_(memory),
      clock_(clock),
      ioapic_(kIoApicId, [this](const device::ApicMessage& m) { lapic_.receive(m); }),
      lapic_({.id = 0, .x2apic = config.x2apic, .physical_address_bits = config.physical_address_bits}, timers_,
             [this](uint8_t vector) { ioapic_.end_of_interrupt(vector); }),
      pic_(IrqLine([this](bool level) { lapic_.set_lint(0, level); })),
      pit_(IrqLine([this](bool level) { set_irq(kTimerIrq, level); }), timers_),
      rtc_(IrqLine([this](bool level) { set_irq(kRtcIrq, level); }), timers_, config.rtc_start,
           std::min(memory.size_bytes(), kLowRamEnd),
           memory.size_bytes() > kLowRamEnd ? memory.size_bytes() - kLowRamEnd : 0),
      com1_(kCom1Base, IrqLine([this](bool level) { set_irq(kCom1Irq, level); }),
            config.com1 != nullptr ? *config.com1 : null_char_),
      com2_(kCom2Base, IrqLine([this](bool level) { set_irq(kCom2Irq, level); }),
            config.com2 != nullptr ? *config.com2 : null_char_),
      pm_(kPmBase, IrqLine([this](bool level) { set_irq(kSciIrq, level); }), timers_,
          [this] { request_power(PowerRequest::PowerOff); }),
      reset_ports_([this] { request_power(PowerRequest::Reset); }),
      acpi_(build_acpi_tables({.base = GuestPhysAddr(kBiosAreaBase), .ioapic_id = kIoApicId, .pm_base = kPmBase})),
      serials_{Serial{&com1_, config.com1 != nullptr ? config.com1 : &null_char_},
               Serial{&com2_, config.com2 != nullptr ? config.com2 : &null_char_}} {
  using device::ResetPorts;
  bus_.add_ports(0x20, 2, pic_);
  bus_.add_ports(0xa0, 2, pic_);
  bus_.add_ports(0x4d0, 2, pic_);
  bus_.add_ports(0x40, 4, pit_);
  bus_.add_ports(0x61, 1, pit_);
  bus_.add_ports(0x70, 2, rtc_);
  bus_.add_ports(kCom1Base, device::Uart16550::kPorts, com1_);
  bus_.add_ports(kCom2Base, device::Uart16550::kPorts, com2_);
  bus_.add_ports(kPmBase, device::AcpiPm::kPorts, pm_, 4);
  bus_.add_ports(ResetPorts::kKeyboardCommand, 1, reset_ports_);
  bus_.add_ports(ResetPorts::kSystemControl, 1, reset_ports_);
  bus_.add_ports(ResetPorts::kPciPorts, 8, reset_ports_, 4);
  bus_.add_mmio(GuestPhysAddr(kIoApicBase), device::IoApic::kMmioBytes, ioapic_);
  reset();
}

void Pc::reset() {
  // What drives interrupt lines first, what latches them last.
  const std::array<device::Device*, 9> devices{&pit_,         &rtc_, &com1_,   &com2_, &pm_,
                                               &reset_ports_, &pic_, &ioapic_, &lapic_};
  for (device::Device* d : devices) d->reset();
  lapic_.set_up_virtual_wire();
  pic_.port_write(0x4d1, 1, 1u << (kSciIrq - 8));  // the SCI is level-triggered
  power_ = PowerRequest::None;
  memory_.write(acpi_.base, acpi_.bytes.data(), acpi_.bytes.size());
  update_interrupt();
}

Result<LinuxEntry> Pc::load_linux(std::span<const uint8_t> kernel, std::span<const uint8_t> initrd,
                                  std::string command_line) {
  return board::load_linux(
      memory_, {.kernel = kernel, .initrd = initrd, .command_line = std::move(command_line), .acpi_rsdp = acpi_.base});
}

// --- wiring

void Pc::set_irq(unsigned irq, bool level) {
  pic_.set_irq(irq, level);
  ioapic_.set_irq(irq == kTimerIrq ? kTimerGsi : irq, level);
}

void Pc::update_interrupt() {
  interrupt_pending_ =
      lapic_.interrupt_pending() || (pic_.output() && (lapic_.passes_ext_int() || ioapic_.passes_ext_int()));
}

void Pc::request_power(PowerRequest request) {
  if (power_ == PowerRequest::None) power_ = request;
}

PowerRequest Pc::take_power_request() { return std::exchange(power_, PowerRequest::None); }

void Pc::press_power_button() {
  pm_.press_power_button();
  update_interrupt();
}

// --- accesses

void Pc::at_access() {
  PANDA_CHECK(cpu_ != nullptr);
  at(InsnCount(cpu_->completed()));
}

uint64_t Pc::port_read(uint16_t port, unsigned size) {
  at_access();
  const uint64_t value = bus_.port_read(port, size);
  update_interrupt();
  return value;
}

void Pc::port_write(uint16_t port, unsigned size, uint64_t value) {
  at_access();
  bus_.port_write(port, size, static_cast<uint32_t>(value));
  update_interrupt();
}

uint64_t Pc::mmio_read(GuestPhysAddr address, unsigned size) {
  at_access();
  const uint64_t value = lapic_.answers_at(address.value)
                             ? lapic_.mmio_read(address.value & (device::LocalApic::kMmioBytes - 1), size)
                             : bus_.mmio_read(address, size);
  update_interrupt();
  return value;
}

void Pc::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
  at_access();
  if (lapic_.answers_at(address.value))
    lapic_.mmio_write(address.value & (device::LocalApic::kMmioBytes - 1), size, value);
  else
    bus_.mmio_write(address, size, value);
  update_interrupt();
}

bool Pc::mmio_assigned(GuestPhysAddr address, unsigned) {
  return lapic_.answers_at(address.value) || bus_.has_mmio(address);
}

void Pc::set_serial_observer(SerialObserver* observer) {
  for (const Serial& s : serials_) s.uart->set_observer(observer);
}

std::optional<uint64_t> Pc::register_read(OutsideRegister kind, uint32_t index) {
  at_access();
  switch (kind) {
    case OutsideRegister::ApicBase:
      return lapic_.base_msr();
    case OutsideRegister::TaskPriority:
      return lapic_.task_priority();
    case OutsideRegister::TscDeadline:
      return lapic_.tsc_deadline();
    case OutsideRegister::X2Apic: {
      const auto value = lapic_.x2apic_read(index);
      update_interrupt();
      return value;
    }
  }
  return {};
}

bool Pc::register_write(OutsideRegister kind, uint32_t index, uint64_t value) {
  at_access();
  bool done = false;
  switch (kind) {
    case OutsideRegister::ApicBase:
      done = lapic_.write_base_msr(value);
      break;
    case OutsideRegister::TaskPriority:
      done = value < 16;
      if (done) lapic_.set_task_priority(static_cast<uint8_t>(value));
      break;
    case OutsideRegister::TscDeadline:
      lapic_.write_tsc_deadline(value);
      done = true;
      break;
    case OutsideRegister::X2Apic:
      done = lapic_.x2apic_write(index, value);
      break;
  }
  update_interrupt();
  return done;
}

std::optional<uint8_t> Pc::acknowledge_interrupt(InsnCount now) {
  at(now);
  std::optional<uint8_t> vector;
  if (lapic_.interrupt_pending())
    vector = lapic_.acknowledge();
  else if (interrupt_pending_)
    vector = pic_.acknowledge();
  update_interrupt();
  return vector;
}

// --- time

InsnCount Pc::next_event(InsnCount now) {
  const uint64_t slice = config_.icount ? kIcountSlice : kInteractiveSlice;
  // After a jump of the count (a machine restored elsewhere) the old poll count means nothing.
  if (next_poll_ > now.value + slice) next_poll_ = now.value;
  uint64_t next = next_poll_;
  if (const auto deadline = timers_.next_deadline()) next = std::min(next, clock_.count_at(*deadline).value);
  return InsnCount(next);
}

void Pc::service(InsnCount now) {
  at(now);
  if (now.value >= next_poll_) {
    const uint64_t slice = config_.icount ? kIcountSlice : kInteractiveSlice;
    next_poll_ = (now.value / slice + 1) * slice;
    if (!config_.icount && pull(now)) next_poll_ = now.value + kCatchUpSlice;
    poll_input();
    flush_output();
  }
  run_timers();
}

void Pc::run_timers() {
  timers_.run_due();
  update_interrupt();
}

void Pc::advance_to(InsnCount now, uint64_t virtual_ns) {
  const uint64_t current = clock_.now(now).value;
  if (virtual_ns > current) clock_.set_offset_ns(clock_.offset_ns() + (virtual_ns - current));
  at(now);
}

// Where the host's clock says that virtual time should be.
uint64_t Pc::host_virtual_ns(InsnCount now) {
  const uint64_t host = host_now_ns();
  if (!host_epoch_ns_) host_epoch_ns_ = host - clock_.now(now).value;
  return host - *host_epoch_ns_;
}

bool Pc::pull(InsnCount now) {
  const uint64_t current = clock_.now(now).value;
  const uint64_t host = host_virtual_ns(now);
  const auto ahead = static_cast<int64_t>(host - current);
  if (ahead <= 0) return false;
  const auto deadline = timers_.next_deadline();
  const uint64_t target = deadline ? std::min(host, std::max(deadline->value, current)) : host;
  advance_to(now, target);
  if (const uint64_t lag = host - target; lag > kLongestLagNs) *host_epoch_ns_ += lag - kLongestLagNs;
  return host != target;
}

void Pc::resume(InsnCount now) {
  if (!config_.icount) host_epoch_ns_ = host_now_ns() - clock_.now(now).value;
}

bool Pc::poll_input() {
  bool any = false;
  for (const Serial& s : serials_) {
    while (s.uart->can_receive()) {
      const auto byte = s.backend->get();
      if (!byte) break;
      s.uart->receive(*byte);
      any = true;
    }
  }
  if (any) update_interrupt();
  return any;
}

bool Pc::input_possible() const {
  return std::any_of(serials_.begin(), serials_.end(),
                     [](const Serial& s) { return s.backend->may_get() && s.uart->can_receive(); });
}

void Pc::flush_output() {
  for (const Serial& s : serials_) s.backend->flush();
}

bool Pc::idle(InsnCount now) {
  at(now);
  if (stop_requested()) return true;
  {
    std::lock_guard lock(wake_mutex_);
    woken_ = false;  // before the input is looked at: what comes later wakes again
  }
  if (poll_input()) return true;
  run_timers();
  if (interrupt_pending_) return true;
  flush_output();
  const auto deadline = timers_.next_deadline();
  if (!deadline && !input_possible()) return false;
  if (config_.icount && deadline) {
    advance_to(now, deadline->value);
  } else if (sleep(now, deadline)) {
    poll_input();
  }
  run_timers();
  return true;
}

// Until the deadline, a wake-up or a stop. True where something woke it.
bool Pc::sleep(InsnCount now, std::optional<VirtualNs> deadline) {
  const uint64_t before = config_.icount ? 0 : host_virtual_ns(now);
  uint64_t wait_ns = kLongestSleepNs;
  if (deadline) {
    const auto left = static_cast<int64_t>(deadline->value - before);
    wait_ns = std::min(wait_ns, left > 0 ? static_cast<uint64_t>(left) : 0);
  }
  bool woken = false;
  if (wait_ns > 0) {
    std::unique_lock lock(wake_mutex_);
    woken = wake_condition_.wait_for(lock, std::chrono::nanoseconds(wait_ns),
                                     [this] { return woken_ || stop_.load(std::memory_order_relaxed); });
  }
  if (!config_.icount) pull(now);
  return woken;
}

void Pc::request_stop() {
  {
    std::lock_guard lock(wake_mutex_);
    stop_.store(true);
  }
  wake_condition_.notify_all();
}

void Pc::wake() {
  {
    std::lock_guard lock(wake_mutex_);
    woken_ = true;
  }
  wake_condition_.notify_all();
}

}  // namespace panda::board
