// What is known of calls and returns before they run: decided when they are translated, looked up when they have
// run. An address where different processes have different ones is decoded anew each time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <unordered_map>

namespace callstack {

enum class Branch : uint8_t { None, Call, Return };
enum class Mode { Bits16, Bits32, Bits64 };

// Where a call's target stands.
enum class Target : uint8_t {
  Relative,  // the next instruction's address plus displacement
  Register,  // in the register `base`
  Memory,    // at base + index * scale + displacement in `segment`
  Other,     // a far call, or 16-bit addressing
};

constexpr int8_t kNoRegister = -1;
constexpr int8_t kPcRegister = 16;  // as base: the next instruction's address

struct Decoded {
  Branch branch = Branch::None;
  // of a call:
  uint8_t size = 0;  // bytes
  Target target = Target::Other;
  uint8_t operand_bytes = 0;  // of the target, and of the return address
  uint8_t address_bytes = 0;  // 4, 8
  int8_t base = kNoRegister;  // numbers as in encodings: R_EAX ...
  int8_t index = kNoRegister;
  uint8_t scale = 1;
  int8_t segment = 3;  // R_DS
  int32_t displacement = 0;
  bool operator==(const Decoded&) const = default;
};

namespace detail {

struct Prefixes {
  bool operand = false, address = false;
  int8_t segment = -1;
  uint8_t rex = 0;
};

// By segment number (R_ES ...): its prefix.
constexpr uint8_t kSegmentPrefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
constexpr uint8_t kOperandPrefix = 0x66;
constexpr uint8_t kAddressPrefix = 0x67;
constexpr uint8_t kPlainPrefixes[] = {0xf0, 0xf2, 0xf3};

// The place of the opcode; `available` where there is none.
inline size_t skip_prefixes(const uint8_t* bytes, size_t available, Mode mode, Prefixes& out) {
  for (size_t at = 0; at < available; at++) {
    const uint8_t byte = bytes[at];
    if (mode == Mode::Bits64 && (byte & 0xf0) == 0x40) {
      out.rex = byte;
      continue;
    }
    const auto* const segment = std::find(std::begin(kSegmentPrefixes), std::end(kSegmentPrefixes), byte);
    if (segment != std::end(kSegmentPrefixes)) {
      out.segment = static_cast<int8_t>(segment - std::begin(kSegmentPrefixes));
    } else if (byte == kOperandPrefix) {
      out.operand = true;
    } else if (byte == kAddressPrefix) {
      out.address = true;
    } else if (std::find(std::begin(kPlainPrefixes), std::end(kPlainPrefixes), byte) == std::end(kPlainPrefixes)) {
      return at;
    }
    out.rex = 0;  // counts only right before the opcode
  }
  return available;
}

inline int32_t read_signed(const uint8_t* bytes, size_t size) {
  uint32_t value = 0;
  for (size_t i = 0; i < size; i++) value |= static_cast<uint32_t>(bytes[i]) << (8 * i);
  return size == 1 ? static_cast<int8_t>(value) : size == 2 ? static_cast<int16_t>(value) : static_cast<int32_t>(value);
}

// The operand of FF /2 and /3; `at` is behind the ModRM byte. False: it is not there as a whole.
inline bool decode_operand(const uint8_t* bytes, size_t available, Mode mode, const Prefixes& prefixes, size_t at,
                           Decoded& out) {
  const uint8_t modrm = bytes[at - 1];
  const unsigned mod = modrm >> 6;
  unsigned rm = modrm & 7;
  const auto high = [&](unsigned bit) { return static_cast<unsigned>(prefixes.rex >> bit & 1) << 3; };
  if (mod == 3) {
    out.target = Target::Register;
    out.base = static_cast<int8_t>(rm | high(0));
    out.size = static_cast<uint8_t>(at);
    return true;
  }
  if (mode != Mode::Bits64 && (mode == Mode::Bits16) != prefixes.address) {
    out.size = static_cast<uint8_t>(at + (mod == 2 || (mod == 0 && rm == 6) ? 2 : mod));
    return out.size <= available;
  }
  out.target = Target::Memory;
  out.address_bytes = mode == Mode::Bits64 && !prefixes.address ? 8 : 4;
  const bool sib = rm == 4;
  if (sib) {
    if (at >= available) return false;
    const uint8_t byte = bytes[at++];
    const unsigned index = (byte >> 3 & 7u) | high(1);
    if (index != 4) {
      out.index = static_cast<int8_t>(index);
      out.scale = static_cast<uint8_t>(1u << (byte >> 6));
    }
    rm = byte & 7;
  }
  size_t displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  if (mod == 0 && rm == 5) {
    displacement = 4;
    if (!sib && mode == Mode::Bits64) out.base = kPcRegister;
  } else {
    out.base = static_cast<int8_t>(rm | high(0));
  }
  if (at + displacement > available) return false;
  if (displacement != 0) out.displacement = read_signed(bytes + at, displacement);
  out.size = static_cast<uint8_t>(at + displacement);
  if (out.base == 4 || out.base == 5) out.segment = 2;
  // 64-bit code has bases only in FS and GS.
  if (prefixes.segment >= (mode == Mode::Bits64 ? 4 : 0)) out.segment = prefixes.segment;
  return true;
}

}  // namespace detail

// Calls and returns, near and far; anything else is None, as is what does not fit into `available` bytes.
inline Decoded decode(const uint8_t* bytes, size_t available, Mode mode) {
  detail::Prefixes prefixes;
  size_t at = detail::skip_prefixes(bytes, available, mode, prefixes);
  if (at >= available) return {};
  const uint8_t opcode = bytes[at++];
  Decoded out;
  if (opcode == 0xc3 || opcode == 0xc2 || opcode == 0xcb || opcode == 0xca) {
    out.branch = Branch::Return;
    return out;
  }
  out.branch = Branch::Call;
  const bool operand_16 = mode != Mode::Bits64 && (mode == Mode::Bits16) != prefixes.operand;
  out.operand_bytes = mode == Mode::Bits64 ? 8 : operand_16 ? 2 : 4;
  if (opcode == 0xe8) {
    const size_t size = operand_16 ? 2 : 4;
    if (at + size > available) return {};
    out.target = Target::Relative;
    out.displacement = detail::read_signed(bytes + at, size);
    out.size = static_cast<uint8_t>(at + size);
    return out;
  }
  if (opcode == 0x9a && mode != Mode::Bits64) {
    out.size = static_cast<uint8_t>(at + (operand_16 ? 4 : 6));
    return out.size <= available ? out : Decoded{};
  }
  if (opcode != 0xff || at >= available) return {};
  const unsigned extension = bytes[at++] >> 3 & 7;
  if (extension != 2 && extension != 3) return {};
  if (!detail::decode_operand(bytes, available, mode, prefixes, at, out)) return {};
  if (extension == 3) {
    if (out.target == Target::Register) return {};
    out.target = Target::Other;
  }
  return out;
}

// A call or a return at an address.
struct Site {
  uint64_t ret = 0;  // of a call: the return address
  Decoded insn;      // None: not the same for all who have this address
  bool operator==(const Site&) const = default;
};

class Sites {
 public:
  void add(uint64_t pc, const Site& site) {
    const auto [found, is_new] = all_.try_emplace(pc, site);
    if (!is_new && found->second != site) found->second = {};
    recent_[pc % kRecent] = {pc, found->second};
  }
  // nullopt: to be decoded.
  std::optional<Site> find(uint64_t pc) {
    Entry& entry = recent_[pc % kRecent];
    if (entry.pc != pc) {
      const auto found = all_.find(pc);
      if (found == all_.end()) return std::nullopt;
      entry = {pc, found->second};
    }
    if (entry.site.insn.branch == Branch::None) return std::nullopt;
    return entry.site;
  }

 private:
  static constexpr size_t kRecent = 4093;  // prime: addresses have patterns
  struct Entry {
    uint64_t pc = ~uint64_t{0};
    Site site;
  };
  std::unordered_map<uint64_t, Site> all_;
  std::array<Entry, kRecent> recent_;
};

}  // namespace callstack
