#include "device/acpi_pm.h"

#include <array>

#include "device/register_bank.h"

namespace panda::device {
namespace {

constexpr uint32_t kTimerStatus = 1, kPowerButton = 1u << 8;
constexpr uint32_t kStatusBits = 0x8731, kEnableBits = 0x0721;
constexpr uint16_t kSciEnable = 1, kSleepEnable = 1u << 13;
constexpr unsigned kHalfTurnBits = 23;  // TMR_STS follows bit 23

}  // namespace

struct AcpiPmRows {
  static uint32_t status(AcpiPm& d) {
    d.update();
    return d.s_.status;
  }
  static void clear_status(AcpiPm& d, uint32_t value, uint32_t written) {
    d.update();
    d.s_.status &= ~(value & written);
    d.update();
  }
  static uint32_t enable(AcpiPm& d) { return d.s_.enable; }
  static void set_enable(AcpiPm& d, uint32_t value, uint32_t) {
    d.s_.enable = static_cast<uint16_t>(value & kEnableBits);
    d.update();
  }
  static uint32_t control(AcpiPm& d) { return d.s_.control | kSciEnable; }
  static void set_control(AcpiPm& d, uint32_t value, uint32_t) { d.write_control(static_cast<uint16_t>(value)); }
  static uint32_t timer(AcpiPm& d) { return static_cast<uint32_t>(d.ticks() & 0xff'ffff); }
  static constexpr std::array<RegisterRow<AcpiPm>, 4> kRows{{
      {AcpiPm::kEventBlock, 2, status, clear_status},
      {AcpiPm::kEventBlock + 2, 2, enable, set_enable},
      {AcpiPm::kControlBlock, 2, control, set_control},
      {AcpiPm::kTimerBlock, 4, timer, nullptr},
  }};
  static constexpr RegisterBank<AcpiPm> kBank{kRows, 0x00};
};

AcpiPm::AcpiPm(uint16_t base, IrqLine sci, Timers& timers, std::function<void()> power_off)
    : base_(base),
      sci_(std::move(sci)),
      timers_(timers),
      timer_(timers, [this] { update(); }),
      power_off_(std::move(power_off)) {
  reset();
}

void AcpiPm::reset() {
  s_ = State{};
  s_.carry_seen = ticks() >> kHalfTurnBits;
  update();
}

bool AcpiPm::load(std::string_view bytes) {
  if (!load_plain(bytes, s_)) return false;
  rearm();
  return true;
}

uint64_t AcpiPm::ticks() const { return mul_div(timers_.now().value, kPmTimerHz, 1'000'000'000); }

void AcpiPm::update() {
  const uint64_t half_turns = ticks() >> kHalfTurnBits;
  if (half_turns != s_.carry_seen) s_.status |= kTimerStatus;
  s_.carry_seen = half_turns;
  sci_.set((s_.status & s_.enable) != 0);
  rearm();
}

void AcpiPm::rearm() {
  if ((s_.enable & kTimerStatus) != 0)
    timer_.arm(VirtualNs(mul_div_up((s_.carry_seen + 1) << kHalfTurnBits, 1'000'000'000, kPmTimerHz)));
  else
    timer_.cancel();
}

void AcpiPm::press_power_button() {
  s_.status |= kPowerButton & kStatusBits;
  update();
}

void AcpiPm::write_control(uint16_t value) {
  s_.control = static_cast<uint16_t>(value & 0x1c02);  // SLP_TYP, BM_RLD; SLP_EN reads as zero
  // Only S5 is declared in the DSDT: any other sleep type does nothing.
  if ((value & kSleepEnable) != 0 && ((value >> 10) & 7) == kS5SleepType) power_off_();
}

uint32_t AcpiPm::port_read(uint16_t port, unsigned size_bytes) {
  return static_cast<uint32_t>(AcpiPmRows::kBank.read(*this, static_cast<uint16_t>(port - base_), size_bytes));
}

void AcpiPm::port_write(uint16_t port, unsigned size_bytes, uint32_t value) {
  AcpiPmRows::kBank.write(*this, static_cast<uint16_t>(port - base_), size_bytes, value);
}

}  // namespace panda::device
