// Enough of an AML encoder for a small DSDT (ACPI 6, chapter 20): each function returns the bytes
// of one term, so that a table reads like the ASL it stands for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace panda::board::aml {

using Bytes = std::string;

// A name of up to four characters, padded with '_'; '\' in front keeps it absolute.
[[nodiscard]] Bytes name_string(std::string_view name);
[[nodiscard]] Bytes integer(uint64_t value);
[[nodiscard]] Bytes string(std::string_view text);
[[nodiscard]] Bytes eisa_id(std::string_view id);  // "PNP0501"
[[nodiscard]] Bytes buffer(std::string_view bytes);
[[nodiscard]] Bytes package(const std::vector<Bytes>& elements);

[[nodiscard]] Bytes name(std::string_view name, std::string_view value);  // Name (name, value)
[[nodiscard]] Bytes scope(std::string_view name, std::string_view body);
[[nodiscard]] Bytes device(std::string_view name, std::string_view body);

// Resource descriptors, and the buffer that holds them with its end tag.
[[nodiscard]] Bytes io_ports(uint16_t first, uint8_t count);
[[nodiscard]] Bytes irq(unsigned number);  // edge-triggered, active high, not shared
[[nodiscard]] Bytes resources(std::string_view descriptors);

}  // namespace panda::board::aml
