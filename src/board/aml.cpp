#include "board/aml.h"

#include "base/check.h"

namespace panda::board::aml {
namespace {

void append(Bytes& to, uint64_t value, unsigned size_bytes) {
  for (unsigned i = 0; i < size_bytes; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}

// PkgLength counts itself; one byte holds up to 63, otherwise the low nibble sits in the first of 2 to 4.
Bytes with_length(std::string_view body) {
  Bytes out;
  if (body.size() + 1 < 64) {
    append(out, body.size() + 1, 1);
  } else {
    unsigned extra = 1;
    while ((body.size() + 1 + extra) >> (4 + 8 * extra) != 0) ++extra;
    PANDA_CHECK(extra <= 3);
    const uint64_t length = body.size() + 1 + extra;
    append(out, (length & 15) | uint64_t{extra} << 6, 1);
    append(out, length >> 4, extra);
  }
  return out.append(body);
}

}  // namespace

Bytes name_string(std::string_view name) {
  Bytes out;
  if (name.starts_with('\\')) {
    out.push_back('\\');
    name.remove_prefix(1);
  }
  PANDA_CHECK(!name.empty() && name.size() <= 4);
  return out.append(name).append(4 - name.size(), '_');
}

Bytes integer(uint64_t value) {
  if (value <= 1) return Bytes(1, static_cast<char>(value));  // ZeroOp, OneOp
  const bool byte = value <= 0xff;
  const bool word = value <= 0xffff;
  const bool dword = value <= 0xffff'ffff;
  Bytes out(1, byte ? '\x0a' : word ? '\x0b' : dword ? '\x0c' : '\x0e');
  append(out, value, byte ? 1 : word ? 2 : dword ? 4 : 8);
  return out;
}

Bytes string(std::string_view text) { return Bytes(1, '\x0d').append(text).append(1, '\0'); }

// Three letters of five bits and four hexadecimal digits, big-endian (ACPI 6, 19.3.4).
Bytes eisa_id(std::string_view id) {
  PANDA_CHECK(id.size() == 7);
  uint32_t value = 0;
  for (unsigned i = 0; i < 3; ++i) value = value << 5 | static_cast<uint32_t>((id[i] - '@') & 31);
  for (unsigned i = 3; i < 7; ++i)
    value = value << 4 | static_cast<uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
  Bytes out(1, '\x0c');
  for (unsigned i = 4; i-- > 0;) append(out, (value >> (8 * i)) & 0xff, 1);
  return out;
}

Bytes buffer(std::string_view bytes) { return Bytes(1, '\x11') + with_length(integer(bytes.size()).append(bytes)); }

Bytes package(const std::vector<Bytes>& elements) {
  PANDA_CHECK(elements.size() < 256);
  Bytes body(1, static_cast<char>(elements.size()));
  for (const Bytes& e : elements) body += e;
  return Bytes(1, '\x12') + with_length(body);
}

Bytes name(std::string_view name, std::string_view value) {
  return Bytes(1, '\x08').append(name_string(name)).append(value);
}
Bytes scope(std::string_view name, std::string_view body) {
  return Bytes(1, '\x10') + with_length(name_string(name).append(body));
}
Bytes device(std::string_view name, std::string_view body) {
  return Bytes("\x5b\x82") + with_length(name_string(name).append(body));
}

Bytes io_ports(uint16_t first, uint8_t count) {
  Bytes out("\x47\x01");  // I/O port descriptor, 16-bit decoding
  append(out, first, 2);
  append(out, first, 2);
  append(out, 1, 1);  // alignment
  append(out, count, 1);
  return out;
}

Bytes irq(unsigned number) {
  Bytes out(1, '\x22');
  append(out, uint64_t{1} << number, 2);
  return out;
}

Bytes resources(std::string_view descriptors) {
  return buffer(Bytes(descriptors).append("\x79", 1).append(1, '\0'));  // end tag, checksum not used
}

}  // namespace panda::board::aml
