// The bytes that pass through a serial port's FIFOs, for who follows them: recordings carry them, since
// in a replay there is no port.
#pragma once

#include <cstdint>

namespace panda {

struct SerialTraffic {
  enum class Kind : uint8_t {
    Received,  // put into the receive FIFO
    Read,      // taken out of it by the guest
    Sent,      // written by the guest, and sent
  };
  Kind kind = Kind::Received;
  uint16_t port = 0;  // of the data register
  uint8_t slot = 0;   // place in the FIFO: a byte is read from the one that it was received into
  uint8_t value = 0;
  friend bool operator==(const SerialTraffic&, const SerialTraffic&) = default;
};

class SerialObserver {
 public:
  virtual ~SerialObserver() = default;
  virtual void serial_traffic(const SerialTraffic& traffic) = 0;
};

}  // namespace panda
