#include "replay/event.h"

#include <array>

namespace panda::replay {
namespace {

using snapshot::ByteReader;
using snapshot::ByteWriter;

struct KindInfo {
  std::string_view name;
  uint8_t code;
  bool async;
  std::string_view help;
};

constexpr std::array kKinds = {
#define EVENT(Name, code, async, help) KindInfo{#Name, code, async, help},
#include "replay/events.inc"
#undef EVENT
};
static_assert(kKinds.size() == kEventKinds, "events.inc and the variant must agree");

// The variant's alternatives stand in the table's order.
enum KindIndex : size_t {
#define EVENT(Name, code, async, help) k##Name,
#include "replay/events.inc"
#undef EVENT
};
#define EVENT(Name, code, async, help) \
  static_assert(std::is_same_v<std::variant_alternative_t<k##Name, EventBody>, Name>);
#include "replay/events.inc"
#undef EVENT

constexpr uint32_t kRegisterKinds = 4;
constexpr uint8_t kEndReasons = 7;
constexpr uint8_t kSerialKinds = 3;

void put(ByteWriter& w, const snapshot::Hash128& h) {
  w.u64(h.low);
  w.u64(h.high);
}
void put(ByteWriter& w, const PortRead& e) {
  w.varint(e.port);
  w.u8(e.size);
  w.varint(e.value);
}
void put(ByteWriter& w, const MmioRead& e) {
  w.varint(e.address.value);
  w.u8(e.size);
  w.varint(e.value);
}
void put(ByteWriter& w, const UnassignedRead& e) {
  w.varint(e.address.value);
  w.u8(e.size);
  w.varint(e.value);
}
void put(ByteWriter& w, const UnassignedWrite& e) {
  w.varint(e.address.value);
  w.u8(e.size);
}
void put(ByteWriter& w, const Serial& e) {
  w.u8(static_cast<uint8_t>(e.traffic.kind));
  w.varint(e.traffic.port);
  w.u8(e.traffic.slot);
  w.u8(e.traffic.value);
  w.u8(e.in_access);
}
void put(ByteWriter& w, const RegisterRead& e) {
  w.varint(static_cast<uint32_t>(e.kind));
  w.varint(e.index);
  w.u8(e.value.has_value());
  if (e.value) w.varint(*e.value);
}
void put(ByteWriter& w, const RegisterWrite& e) {
  w.varint(static_cast<uint32_t>(e.kind));
  w.varint(e.index);
  w.u8(e.accepted);
}
void put(ByteWriter& w, const Interrupt& e) { w.u8(e.vector); }
void put(ByteWriter& w, const ClockAdjust& e) {
  w.varint(e.offset_ns);
  w.u8(e.in_access);
}
void put(ByteWriter& w, const Dma& e) {
  w.varint(e.address.value);
  w.u8(e.in_access);
  w.string({reinterpret_cast<const char*>(e.bytes.data()), e.bytes.size()});
}
void put(ByteWriter& w, const PluginWrite& e) {
  w.varint(e.address.value);
  w.u8(e.in_access);
  w.string({reinterpret_cast<const char*>(e.bytes.data()), e.bytes.size()});
}
void put(ByteWriter& w, const StateCheck& e) {
  put(w, e.registers);
  w.string(e.registers_text);
}
void put(ByteWriter& w, const End& e) {
  w.u8(static_cast<uint8_t>(e.reason));
  put(w, e.digest.registers);
  put(w, e.digest.memory);
  w.varint(e.digest.regions.size());
  for (const uint64_t r : e.digest.regions) w.u64(r);
  w.string(e.registers_text);
}

void put(ByteWriter& w, const CpuWrite& e) { w.string(e.state); }

bool boolean(ByteReader& r, bool& valid) {
  const uint8_t v = r.u8();
  valid = valid && v <= 1;
  return v == 1;
}
bool access_size(uint8_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

bool get(ByteReader& r, snapshot::Hash128& h) {
  h.low = r.u64();
  h.high = r.u64();
  return true;
}
bool get(ByteReader& r, PortRead& e) {
  const uint64_t port = r.varint();
  e.port = static_cast<uint16_t>(port);
  e.size = r.u8();
  e.value = r.varint();
  return port <= 0xffff && access_size(e.size);
}
bool get(ByteReader& r, MmioRead& e) {
  e.address = GuestPhysAddr(r.varint());
  e.size = r.u8();
  e.value = r.varint();
  return access_size(e.size);
}
bool get(ByteReader& r, UnassignedRead& e) {
  e.address = GuestPhysAddr(r.varint());
  e.size = r.u8();
  e.value = r.varint();
  return access_size(e.size);
}
bool get(ByteReader& r, UnassignedWrite& e) {
  e.address = GuestPhysAddr(r.varint());
  e.size = r.u8();
  return access_size(e.size);
}
bool get(ByteReader& r, Serial& e) {
  const uint8_t kind = r.u8();
  const uint64_t port = r.varint();
  bool valid = kind < kSerialKinds && port <= 0xffff;
  e.traffic.kind = static_cast<SerialTraffic::Kind>(kind);
  e.traffic.port = static_cast<uint16_t>(port);
  e.traffic.slot = r.u8();
  e.traffic.value = r.u8();
  e.in_access = boolean(r, valid);
  return valid;
}
bool get_register(ByteReader& r, OutsideRegister& kind, uint32_t& index) {
  const uint64_t k = r.varint();
  const uint64_t i = r.varint();
  kind = static_cast<OutsideRegister>(k);
  index = static_cast<uint32_t>(i);
  return k < kRegisterKinds && i <= 0xffffffff;
}
bool get(ByteReader& r, RegisterRead& e) {
  bool valid = get_register(r, e.kind, e.index);
  if (boolean(r, valid)) e.value = r.varint();
  return valid;
}
bool get(ByteReader& r, RegisterWrite& e) {
  bool valid = get_register(r, e.kind, e.index);
  e.accepted = boolean(r, valid);
  return valid;
}
bool get(ByteReader& r, Interrupt& e) {
  e.vector = r.u8();
  return true;
}
bool get(ByteReader& r, ClockAdjust& e) {
  bool valid = true;
  e.offset_ns = r.varint();
  e.in_access = boolean(r, valid);
  return valid;
}
bool get(ByteReader& r, Dma& e) {
  bool valid = true;
  e.address = GuestPhysAddr(r.varint());
  e.in_access = boolean(r, valid);
  const std::string bytes = r.string();
  e.bytes.assign(bytes.begin(), bytes.end());
  return valid;
}
bool get(ByteReader& r, PluginWrite& e) {
  bool valid = true;
  e.address = GuestPhysAddr(r.varint());
  e.in_access = boolean(r, valid);
  const std::string bytes = r.string();
  e.bytes.assign(bytes.begin(), bytes.end());
  return valid;
}
bool get(ByteReader& r, StateCheck& e) {
  get(r, e.registers);
  e.registers_text = r.string();
  return true;
}
bool get(ByteReader& r, End& e) {
  const uint8_t reason = r.u8();
  e.reason = static_cast<EndReason>(reason);
  get(r, e.digest.registers);
  get(r, e.digest.memory);
  const uint64_t regions = r.varint();
  if (r.bad() || regions > r.left() / sizeof(uint64_t)) return false;
  for (uint64_t i = 0; i < regions; i++) e.digest.regions.push_back(r.u64());
  e.registers_text = r.string();
  return reason < kEndReasons;
}

bool get(ByteReader& r, CpuWrite& e) {
  e.state = r.string();
  return true;
}

template <size_t Kind = 0>
bool decode_body(uint8_t code, ByteReader& in, EventBody& body) {
  if constexpr (Kind < kEventKinds) {
    if (kKinds[Kind].code != code) return decode_body<Kind + 1>(code, in, body);
    return get(in, body.emplace<Kind>());
  }
  return false;
}

std::string_view name_of(OutsideRegister kind) {
  switch (kind) {
    case OutsideRegister::ApicBase:
      return "apic-base";
    case OutsideRegister::TaskPriority:
      return "task-priority";
    case OutsideRegister::TscDeadline:
      return "tsc-deadline";
    case OutsideRegister::X2Apic:
      return "x2apic";
  }
  return "?";
}

std::string_view name_of(SerialTraffic::Kind kind) {
  switch (kind) {
    case SerialTraffic::Kind::Received:
      return "received";
    case SerialTraffic::Kind::Read:
      return "read";
    case SerialTraffic::Kind::Sent:
      return "sent";
  }
  return "?";
}

struct Describe {
  std::string operator()(const PortRead& e) const {
    return fmt::format("port {:#06x} size {} value {:#x}", e.port, e.size, e.value);
  }
  std::string operator()(const MmioRead& e) const {
    return fmt::format("address {:#x} size {} value {:#x}", e.address.value, e.size, e.value);
  }
  std::string operator()(const RegisterRead& e) const {
    return fmt::format("{} index {} value {}", name_of(e.kind), e.index,
                       e.value ? fmt::format("{:#x}", *e.value) : std::string("none"));
  }
  std::string operator()(const RegisterWrite& e) const {
    return fmt::format("{} index {} {}", name_of(e.kind), e.index, e.accepted ? "accepted" : "refused");
  }
  std::string operator()(const Interrupt& e) const { return fmt::format("vector {:#04x}", e.vector); }
  std::string operator()(const ClockAdjust& e) const {
    return fmt::format("offset {} ns{}", static_cast<int64_t>(e.offset_ns), e.in_access ? " in access" : "");
  }
  std::string operator()(const Dma& e) const {
    return fmt::format("address {:#x} bytes {}{}", e.address.value, e.bytes.size(), e.in_access ? " in access" : "");
  }
  std::string operator()(const UnassignedRead& e) const {
    return fmt::format("address {:#x} size {} value {:#x}", e.address.value, e.size, e.value);
  }
  std::string operator()(const UnassignedWrite& e) const {
    return fmt::format("address {:#x} size {}", e.address.value, e.size);
  }
  std::string operator()(const Serial& e) const {
    return fmt::format("port {:#06x} {} {:#04x} slot {}{}", e.traffic.port, name_of(e.traffic.kind), e.traffic.value,
                       e.traffic.slot, e.in_access ? " in access" : "");
  }
  std::string operator()(const PluginWrite& e) const {
    return fmt::format("address {:#x} bytes {}{}", e.address.value, e.bytes.size(), e.in_access ? " in access" : "");
  }
  std::string operator()(const StateCheck& e) const { return fmt::format("registers {}", e.registers.hex()); }
  std::string operator()(const End& e) const {
    return fmt::format("{} registers {} ram {}", replay::name_of(e.reason), e.digest.registers.hex(),
                       e.digest.memory.hex());
  }
  std::string operator()(const CpuWrite& e) const { return fmt::format("bytes {}", e.state.size()); }
};

}  // namespace

std::string_view name_of(EndReason reason) {
  switch (reason) {
    case EndReason::Requested:
      return "end_record";
    case EndReason::PowerOff:
      return "power-off";
    case EndReason::Reset:
      return "reset";
    case EndReason::Quit:
      return "quit";
    case EndReason::Signal:
      return "signal";
    case EndReason::Shutdown:
      return "CPU shutdown";
    case EndReason::IdleForever:
      return "idle for ever";
  }
  return "?";
}

std::string_view kind_name(size_t kind) { return kKinds.at(kind).name; }
std::string_view kind_help(size_t kind) { return kKinds.at(kind).help; }

bool is_async(const EventBody& body) {
  if (const auto* dma = std::get_if<Dma>(&body)) return !dma->in_access;
  if (const auto* clock = std::get_if<ClockAdjust>(&body)) return !clock->in_access;
  if (const auto* serial = std::get_if<Serial>(&body)) return !serial->in_access;
  if (const auto* write = std::get_if<PluginWrite>(&body)) return !write->in_access;
  return kKinds[body.index()].async;
}

std::string describe(const EventBody& body) {
  return fmt::format("{} {}", kind_name(body.index()), std::visit(Describe{}, body));
}

void encode(const Event& event, InsnCount& last, snapshot::ByteWriter& out) {
  out.u8(kKinds[event.body.index()].code);
  out.varint(event.count - last);
  last = event.count;
  std::visit([&](const auto& e) { put(out, e); }, event.body);
}

bool decode(snapshot::ByteReader& in, InsnCount& last, Event& event) {
  const uint8_t code = in.u8();
  const uint64_t delta = in.varint();
  if (in.bad() || delta > ~uint64_t{0} - last.value) return false;
  last += delta;
  event.count = last;
  return decode_body(code, in, event.body) && !in.bad();
}

}  // namespace panda::replay
