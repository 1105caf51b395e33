// The events of a recording. Each alternative of the variant is a row of events.inc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/types.h"
#include "memory/outside.h"
#include "memory/serial_traffic.h"
#include "snapshot/bytes.h"
#include "snapshot/digest.h"

namespace panda::replay {

struct PortRead {
  uint16_t port = 0;
  uint8_t size = 0;  // bytes
  uint64_t value = 0;
};

struct MmioRead {
  GuestPhysAddr address;
  uint8_t size = 0;
  uint64_t value = 0;
};

struct RegisterRead {
  OutsideRegister kind = OutsideRegister::ApicBase;
  uint32_t index = 0;
  std::optional<uint64_t> value;
};

struct RegisterWrite {
  OutsideRegister kind = OutsideRegister::ApicBase;
  uint32_t index = 0;
  bool accepted = false;
};

struct Interrupt {
  uint8_t vector = 0;
};

// in_access: it happened inside a device access, not between two instructions; it is applied when
// the guest makes that access.
struct ClockAdjust {
  uint64_t offset_ns = 0;
  bool in_access = false;
};

struct Dma {
  GuestPhysAddr address;
  bool in_access = false;
  std::vector<uint8_t> bytes;
};

// As MmioRead, where no device is.
struct UnassignedRead {
  GuestPhysAddr address;
  uint8_t size = 0;
  uint64_t value = 0;
};

struct UnassignedWrite {
  GuestPhysAddr address;
  uint8_t size = 0;
};

struct Serial {
  SerialTraffic traffic;
  bool in_access = false;
};

struct PluginWrite {
  GuestPhysAddr address;
  bool in_access = false;
  std::vector<uint8_t> bytes;
};

struct StateCheck {
  snapshot::Hash128 registers;
  std::string registers_text;  // for the report of a difference
};

enum class EndReason : uint8_t { Requested, PowerOff, Reset, Quit, Signal, Shutdown, IdleForever };
[[nodiscard]] std::string_view name_of(EndReason reason);

struct End {
  EndReason reason = EndReason::Requested;
  snapshot::StateDigest digest;
  std::string registers_text;
};

struct CpuWrite {
  std::string state;  // as in a snapshot
};

using EventBody = std::variant<PortRead, MmioRead, RegisterRead, RegisterWrite, Interrupt, ClockAdjust, Dma, StateCheck,
                               UnassignedRead, UnassignedWrite, Serial, PluginWrite, CpuWrite, End>;

struct Event {
  InsnCount count;
  EventBody body;
};

inline constexpr size_t kEventKinds = std::variant_size_v<EventBody>;
[[nodiscard]] std::string_view kind_name(size_t kind);
[[nodiscard]] std::string_view kind_help(size_t kind);
// Does it happen between two instructions?
[[nodiscard]] bool is_async(const EventBody& body);
// One line for people.
[[nodiscard]] std::string describe(const EventBody& body);

// Each event is stamped with the distance of its count to `last`, which is moved on.
void encode(const Event& event, InsnCount& last, snapshot::ByteWriter& out);
// False where the bytes make no sense.
[[nodiscard]] bool decode(snapshot::ByteReader& in, InsnCount& last, Event& event);

}  // namespace panda::replay
