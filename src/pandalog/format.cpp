#include "pandalog/format.h"

namespace panda::pandalog {
namespace {

struct Cursor {
  std::span<const uint8_t> left;

  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !left.empty(); shift += 7) {
      const uint8_t byte = left.front();
      left = left.subspan(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }
  bool skip(uint64_t bytes) {
    if (bytes > left.size()) return false;
    left = left.subspan(bytes);
    return true;
  }
};

}  // namespace

std::optional<uint64_t> find_varint(std::span<const uint8_t> message, uint32_t tag) {
  Cursor c{message};
  while (!c.left.empty()) {
    const auto key = c.varint();
    if (!key) return std::nullopt;
    switch (*key & 7) {
      case 0: {
        const auto value = c.varint();
        if (!value || *key >> 3 == tag) return value;
        break;
      }
      case 1:
        if (!c.skip(8)) return std::nullopt;
        break;
      case 2: {
        const auto size = c.varint();
        if (!size || !c.skip(*size)) return std::nullopt;
        break;
      }
      case 5:
        if (!c.skip(4)) return std::nullopt;
        break;
      default:
        return std::nullopt;  // groups are not used
    }
  }
  return std::nullopt;
}

}  // namespace panda::pandalog
