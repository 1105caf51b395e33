// The encoding inside chunks: little-endian integers, LEB128 varints, length-prefixed strings. The
// reader never reads past its end: it becomes bad() and returns zeros, and the caller asks once.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace panda::snapshot {

static_assert(std::endian::native == std::endian::little, "files are little-endian, and written as they lie");

class ByteWriter {
 public:
  void u8(uint8_t v) { bytes_.push_back(v); }
  void u64(uint64_t v) { raw(&v, sizeof v); }
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes_.push_back(static_cast<uint8_t>(v | 0x80));
    bytes_.push_back(static_cast<uint8_t>(v));
  }
  void string(std::string_view s) {
    varint(s.size());
    raw(s.data(), s.size());
  }
  void raw(const void* data, size_t size) {
    const auto* p = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), p, p + size);
  }
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bytes_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  void clear() { bytes_.clear(); }

 private:
  std::vector<uint8_t> bytes_;
};

class ByteReader {
 public:
  ByteReader() = default;
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] bool at_end() const { return at_ == bytes_.size(); }
  [[nodiscard]] size_t position() const { return at_; }
  [[nodiscard]] size_t left() const { return bytes_.size() - at_; }

  uint8_t u8() {
    uint8_t v = 0;
    raw(&v, 1);
    return v;
  }
  uint64_t u64() {
    uint64_t v = 0;
    raw(&v, sizeof v);
    return v;
  }
  uint64_t varint() {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint8_t b = u8();
      if (bad_) return 0;
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if ((b & 0x80) == 0) return v;
    }
    bad_ = true;
    return 0;
  }
  std::string string() {
    const uint64_t size = varint();
    if (bad_ || size > left()) {
      bad_ = true;
      return {};
    }
    std::string s(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return s;
  }
  void raw(void* out, size_t size) {
    if (bad_ || size > left()) {
      bad_ = true;
      std::memset(out, 0, size);
      return;
    }
    std::memcpy(out, bytes_.data() + at_, size);
    at_ += size;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool bad_ = false;
};

}  // namespace panda::snapshot
