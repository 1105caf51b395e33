// Walks the tables as an operating system does: from the RSDP, checking every checksum.
#include "board/acpi_tables.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "board/aml.h"
#include "board/pc_map.h"

namespace panda::board {
namespace {

struct AcpiTablesTest : testing::Test {
  AcpiTables tables = build_acpi_tables({});

  uint64_t get(uint64_t phys, unsigned size) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
      value |= uint64_t{static_cast<uint8_t>(tables.bytes.at(phys - tables.base.value + i))} << (8 * i);
    return value;
  }
  uint8_t sum(uint64_t phys, uint64_t length) const {
    uint8_t s = 0;
    for (uint64_t i = 0; i < length; ++i) s = static_cast<uint8_t>(s + get(phys + i, 1));
    return s;
  }
  std::string text(uint64_t phys, size_t length) const { return tables.bytes.substr(phys - tables.base.value, length); }
  // Signature -> address, of what a root table points to, all checked.
  std::map<std::string, uint64_t> walk(uint64_t root, unsigned pointer_bytes) const {
    std::map<std::string, uint64_t> found;
    EXPECT_EQ(sum(root, get(root + 4, 4)), 0);
    for (uint64_t at = root + 36; at < root + get(root + 4, 4); at += pointer_bytes) {
      const uint64_t table = get(at, pointer_bytes);
      EXPECT_EQ(sum(table, get(table + 4, 4)), 0) << text(table, 4);
      found[text(table, 4)] = table;
    }
    return found;
  }
};

TEST_F(AcpiTablesTest, RootsAgree) {
  const uint64_t rsdp = tables.base.value;
  EXPECT_EQ(rsdp % 16, 0u);
  EXPECT_GE(rsdp, 0xe0000u);
  EXPECT_LE(rsdp + tables.bytes.size(), 0x100000u);
  EXPECT_EQ(text(rsdp, 8), "RSD PTR ");
  EXPECT_EQ(sum(rsdp, 20), 0);
  EXPECT_EQ(sum(rsdp, 36), 0);
  const auto by_rsdt = walk(get(rsdp + 16, 4), 4);
  EXPECT_EQ(by_rsdt, walk(get(rsdp + 24, 8), 8));
  EXPECT_EQ(by_rsdt.size(), 2u);
  EXPECT_TRUE(by_rsdt.contains("FACP") && by_rsdt.contains("APIC"));
}

TEST_F(AcpiTablesTest, FadtDescribesTheFixedHardware) {
  const uint64_t fadt = walk(get(tables.base.value + 24, 8), 8)["FACP"];
  EXPECT_EQ(get(fadt + 4, 4), 244u);
  EXPECT_EQ(text(get(fadt + 36, 4), 4), "FACS");
  EXPECT_EQ(get(fadt + 36, 4) % 64, 0u);
  const uint64_t dsdt = get(fadt + 140, 8);
  EXPECT_EQ(dsdt, get(fadt + 40, 4));
  EXPECT_EQ(text(dsdt, 4), "DSDT");
  EXPECT_EQ(sum(dsdt, get(dsdt + 4, 4)), 0);
  EXPECT_EQ(get(fadt + 46, 2), kSciIrq);
  EXPECT_EQ(get(fadt + 48, 4), 0u);
  EXPECT_EQ(get(fadt + 56, 4), get(fadt + 148 + 4, 8));
  EXPECT_EQ(get(fadt + 64, 4), get(fadt + 172 + 4, 8));
  EXPECT_EQ(get(fadt + 76, 4), kPmBase + 8u);
  EXPECT_EQ(get(fadt + 116 + 4, 8), 0xcf9u);
  EXPECT_EQ(get(fadt + 109, 2) & 6, 4u);  // no 8042, no VGA
}

TEST_F(AcpiTablesTest, MadtEntries) {
  const uint64_t madt = walk(get(tables.base.value + 24, 8), 8)["APIC"];
  EXPECT_EQ(get(madt + 36, 4), kLocalApicBase);
  std::map<uint64_t, int> types;
  uint64_t at = madt + 44;
  const uint64_t end = madt + get(madt + 4, 4);
  while (at < end) {
    const uint64_t type = get(at, 1);
    ++types[type];
    if (type == 1) {
      EXPECT_EQ(get(at + 4, 4), kIoApicBase);
    }
    if (type == 2 && get(at + 3, 1) == 0) {
      EXPECT_EQ(get(at + 4, 4), kTimerGsi);
    }
    ASSERT_GT(get(at + 1, 1), 1u);
    at += get(at + 1, 1);
  }
  EXPECT_EQ(at, end);
  EXPECT_EQ(types, (std::map<uint64_t, int>{{0, 1}, {1, 1}, {2, 2}, {4, 1}}));
}

// Package lengths must nest exactly: the AML's top level is Name(\_S5_) and Scope(\_SB_).
TEST_F(AcpiTablesTest, DsdtLengthsAddUp) {
  const uint64_t fadt = walk(get(tables.base.value + 24, 8), 8)["FACP"];
  const uint64_t dsdt = get(fadt + 40, 4);
  const std::string aml = text(dsdt + 36, get(dsdt + 4, 4) - 36);
  const std::string s5 =
      aml::name("\\_S5", aml::package({aml::integer(5), aml::integer(0), aml::integer(0), aml::integer(0)}));
  ASSERT_EQ(aml.substr(0, s5.size()), s5);
  const auto package_end = [&](size_t at) {
    const auto lead = static_cast<uint8_t>(aml.at(at));
    size_t length = lead & (lead >> 6 != 0 ? 15u : 63u);
    for (unsigned i = 0; i < lead >> 6; ++i) length |= size_t{static_cast<uint8_t>(aml.at(at + 1 + i))} << (4 + 8 * i);
    return std::pair(at + length, at + 1 + (lead >> 6));
  };
  ASSERT_EQ(aml.at(s5.size()), '\x10');
  const auto [scope_end, name_at] = package_end(s5.size() + 1);
  EXPECT_EQ(scope_end, aml.size());
  EXPECT_EQ(aml.substr(name_at, 5), "\\_SB_");
  int devices = 0;
  for (size_t at = name_at + 5; at < scope_end; ++devices) {
    ASSERT_EQ(aml.substr(at, 2), "\x5b\x82");
    at = package_end(at + 2).first;
    ASSERT_LE(at, scope_end);
  }
  EXPECT_EQ(devices, 6);
}

TEST(Aml, Encodings) {
  EXPECT_EQ(aml::eisa_id("PNP0501"), std::string("\x0c\x41\xd0\x05\x01", 5));
  EXPECT_EQ(aml::integer(0), std::string(1, '\0'));
  EXPECT_EQ(aml::integer(0x1234), "\x0b\x34\x12");
  EXPECT_EQ(aml::name("_UID", aml::integer(1)), "\x08_UID\x01");
  // A body that needs a two-byte length: 64 + 2 + the size of the size.
  const std::string long_buffer = aml::buffer(std::string(64, 'x'));
  EXPECT_EQ(long_buffer.substr(0, 5), std::string("\x11\x44\x04\x0a\x40", 5));
}

}  // namespace
}  // namespace panda::board
