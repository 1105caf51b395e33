// The ways a guest resets a PC without a keyboard controller or chipset being there: port 0xcf9
// (what the FADT names), the reset pulse of the absent keyboard controller (command 0xfe to port
// 0x64), and port 0x92. Port 0x64 reads as ones: there is no controller. A20 is always open.
// 0xcf9 lies inside PCI's configuration ports, which are absent: wider accesses there belong to
// those, must not reset the machine, and read as ones.
#pragma once

#include <cstdint>
#include <functional>

#include "device/bus.h"
#include "device/device.h"

namespace panda::device {

class ResetPorts final : public Device, public PortDevice {
 public:
  static constexpr uint16_t kKeyboardCommand = 0x64, kSystemControl = 0x92, kResetControl = 0xcf9;
  static constexpr uint16_t kPciPorts = 0xcf8;  // eight, up to four bytes wide

  explicit ResetPorts(std::function<void()> request_reset) : request_reset_(std::move(request_reset)) {}

  [[nodiscard]] std::string_view name() const override { return "reset-ports"; }
  void reset() override { s_ = State{}; }
  [[nodiscard]] std::string save() const override { return save_plain(s_); }
  bool load(std::string_view bytes) override { return load_plain(bytes, s_); }

  uint32_t port_read(uint16_t port, unsigned size_bytes) override {
    if (size_bytes > 1) return ~0u;
    if (port == kResetControl) return s_.control;
    return port == kSystemControl ? 0x02 : 0xff;
  }
  void port_write(uint16_t port, unsigned size_bytes, uint32_t value) override {
    bool wanted = false;
    if (size_bytes > 1) return;
    if (port == kKeyboardCommand) wanted = value == 0xfe;
    if (port == kSystemControl) wanted = (value & 1) != 0;
    if (port == kResetControl) {
      wanted = (value & 4) != 0 && (s_.control & 4) == 0;  // the rising edge of RST_CPU
      s_.control = value & 0x0e;
    }
    if (wanted) request_reset_();
  }

 private:
  struct State {
    uint32_t control = 0;
  };
  std::function<void()> request_reset_;
  State s_;
};

}  // namespace panda::device
