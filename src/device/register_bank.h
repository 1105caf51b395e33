// Registers as rows: offset, width, how to read, how to write. The bank turns an access of any
// width at any offset into accesses of whole registers; bytes that no row covers read as `unmapped`
// (0x00 or 0xff) and swallow writes. A partial write gives the row its current value in the other
// bytes, with `written` telling which bits the guest really wrote (write-one-to-clear needs it).
#pragma once

#include <cstdint>
#include <span>

namespace panda::device {

template <typename Owner>
struct RegisterRow {
  uint64_t offset;
  unsigned size_bytes;  // 1, 2 or 4
  uint32_t (*read)(Owner&);
  void (*write)(Owner&, uint32_t value, uint32_t written);  // null: read-only
};

template <typename Owner>
class RegisterBank {
 public:
  constexpr RegisterBank(std::span<const RegisterRow<Owner>> rows, uint8_t unmapped)
      : rows_(rows), unmapped_(unmapped) {}

  // Each row touched is read once.
  [[nodiscard]] uint64_t read(Owner& owner, uint64_t offset, unsigned size_bytes) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < size_bytes; ++i) value |= uint64_t{unmapped_} << (8 * i);
    for (const auto& row : rows_) {
      if (!overlaps(row, offset, size_bytes)) continue;
      const uint32_t v = row.read(owner);
      for (unsigned i = 0; i < size_bytes; ++i) {
        const uint64_t at = offset + i - row.offset;
        if (at >= row.size_bytes) continue;
        value &= ~(uint64_t{0xff} << (8 * i));
        value |= uint64_t{(v >> (8 * at)) & 0xff} << (8 * i);
      }
    }
    return value;
  }

  void write(Owner& owner, uint64_t offset, unsigned size_bytes, uint64_t value) const {
    for (const auto& row : rows_) {
      if (row.write == nullptr || !overlaps(row, offset, size_bytes)) continue;
      uint32_t v = 0;
      uint32_t written = 0;
      for (unsigned i = 0; i < size_bytes; ++i) {
        const uint64_t at = offset + i - row.offset;
        if (at >= row.size_bytes) continue;
        v |= static_cast<uint32_t>((value >> (8 * i)) & 0xff) << (8 * at);
        written |= 0xffu << (8 * at);
      }
      const uint32_t all = row.size_bytes == 4 ? ~0u : (1u << (8 * row.size_bytes)) - 1;
      if (written != all) v |= row.read(owner) & all & ~written;
      row.write(owner, v, written);
    }
  }

 private:
  static bool overlaps(const RegisterRow<Owner>& row, uint64_t offset, unsigned size_bytes) {
    return offset < row.offset + row.size_bytes && row.offset < offset + size_bytes;
  }

  std::span<const RegisterRow<Owner>> rows_;
  uint8_t unmapped_;
};

}  // namespace panda::device
