// I/O APIC (82093AA with the EOI register of version 0x20): 24 inputs, each routed by a redirection
// entry to a message on the APIC bus. An edge that arrives while its entry is masked is lost, as on
// the chip; a level is delivered when unmasked, and again after an EOI while it is still high.
// Offsets other than select, window and EOI read as zeros.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "device/bus.h"
#include "device/device.h"

namespace panda::device {

// What an I/O APIC, or a local one's interrupt command, sends to the local APICs.
struct ApicMessage {
  uint8_t vector = 0;
  uint8_t delivery = 0;  // 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT
  bool logical = false;  // destination mode
  bool level = false;    // level-triggered: its EOI is broadcast
  uint32_t destination = 0;
};

class IoApic final : public Device, public MmioDevice {
 public:
  static constexpr unsigned kPins = 24;
  static constexpr uint64_t kMmioBytes = 0x1000;

  IoApic(uint8_t id, std::function<void(const ApicMessage&)> bus) : id_(id), bus_(std::move(bus)) { reset(); }

  [[nodiscard]] std::string_view name() const override { return "ioapic"; }
  void reset() override;
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override { return load_plain(bytes, s_); }

  uint64_t mmio_read(uint64_t offset, unsigned size_bytes) override;
  void mmio_write(uint64_t offset, unsigned size_bytes, uint64_t value) override;

  void set_irq(unsigned pin, bool level);
  void end_of_interrupt(uint8_t vector);
  // Pin 0 passes the 8259s' output through (ExtINT): the I/O APIC's virtual wire mode.
  [[nodiscard]] bool passes_ext_int() const;

 private:
  struct State {
    std::array<uint64_t, kPins> entries{};
    uint32_t lines = 0;
    uint32_t id = 0;
    uint64_t select = 0;
  };

  [[nodiscard]] uint32_t read_register(unsigned index) const;
  void write_register(unsigned index, uint32_t value);
  void deliver_level(unsigned pin);
  void send(unsigned pin);

  uint8_t id_;
  std::function<void(const ApicMessage&)> bus_;
  State s_;
};

}  // namespace panda::device
