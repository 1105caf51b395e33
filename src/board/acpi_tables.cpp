#include "board/acpi_tables.h"

#include <string_view>
#include <vector>

#include "base/check.h"
#include "board/aml.h"
#include "board/pc_map.h"
#include "device/acpi_pm.h"

namespace panda::board {
namespace {

using device::AcpiPm;

void append(std::string& to, uint64_t value, unsigned size_bytes) {
  for (unsigned i = 0; i < size_bytes; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}
void put(std::string& in, size_t at, uint64_t value, unsigned size_bytes) {
  PANDA_CHECK(at + size_bytes <= in.size());
  for (unsigned i = 0; i < size_bytes; ++i) in[at + i] = static_cast<char>(value >> (8 * i));
}

// Makes the bytes sum to zero.
void fix_checksum(std::string& table, size_t at, size_t length) {
  put(table, at, 0, 1);
  uint8_t sum = 0;
  for (size_t i = 0; i < length; ++i) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(table[i]));
  put(table, at, uint8_t(-sum), 1);
}

// The header that all tables but RSDP and FACS share (ACPI 6, 5.2.6).
std::string with_header(std::string_view signature, uint8_t revision, std::string_view body) {
  std::string table(signature);
  append(table, 36 + body.size(), 4);
  append(table, revision, 1);
  append(table, 0, 1);  // checksum
  table += "PANDA PANDAPC ";
  append(table, 1, 4);
  table += "PNDA";
  append(table, 1, 4);
  table += body;
  fix_checksum(table, 9, table.size());
  return table;
}

// Generic address structure in I/O space.
void put_io_address(std::string& table, size_t at, uint16_t port, unsigned size_bytes) {
  put(table, at, 1, 1);
  put(table, at + 1, 8 * size_bytes, 1);
  put(table, at + 3, size_bytes == 1 ? 1 : size_bytes == 2 ? 2 : 3, 1);  // access size
  put(table, at + 4, port, 8);
}

std::string facs() {
  std::string t = "FACS";
  append(t, 64, 4);
  t.resize(64);
  put(t, 32, 1, 1);  // version
  return t;
}

std::string fadt(const AcpiConfig& config, uint64_t facs_at, uint64_t dsdt_at) {
  std::string t(244 - 36, '\0');  // revision 3
  const auto set = [&](size_t at, uint64_t value, unsigned size) { put(t, at - 36, value, size); };
  const auto set_io = [&](size_t at, uint16_t port, unsigned size) { put_io_address(t, at - 36, port, size); };
  const auto event = static_cast<uint16_t>(config.pm_base + AcpiPm::kEventBlock);
  const auto control = static_cast<uint16_t>(config.pm_base + AcpiPm::kControlBlock);
  const auto timer = static_cast<uint16_t>(config.pm_base + AcpiPm::kTimerBlock);
  set(36, facs_at, 4);
  set(40, dsdt_at, 4);
  set(45, 1, 1);  // desktop
  set(46, kSciIrq, 2);
  set(56, event, 4);  // SMI_CMD stays 0: there is no legacy mode to leave
  set(64, control, 4);
  set(76, timer, 4);
  set(88, 4, 1);
  set(89, 2, 1);
  set(91, 4, 1);
  set(96, 0xffff, 2);  // no C2
  set(98, 0xffff, 2);  // no C3
  set(108, 0x32, 1);   // the clock's century register
  // There are ISA devices; no VGA, no MSI, no PCIe ASPM; the 8042 bit stays clear.
  set(109, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4, 2);
  // WBINVD works, C1 works, no sleep button, the clock cannot wake, RESET_REG is there.
  set(112, 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10, 4);
  set_io(116, 0xcf9, 1);
  set(128, 0x06, 1);
  set(140, dsdt_at, 8);
  set_io(148, event, 4);
  set_io(172, control, 2);
  set_io(208, timer, 4);
  return with_header("FACP", 3, t);
}

std::string madt(const AcpiConfig& config) {
  std::string t;
  append(t, kLocalApicBase, 4);
  append(t, 1, 4);                   // PCAT_COMPAT: 8259s are there too
  append(t, 0, 1), append(t, 8, 1);  // processor local APIC
  append(t, 0, 1), append(t, 0, 1), append(t, 1, 4);
  append(t, 1, 1), append(t, 12, 1);  // I/O APIC
  append(t, config.ioapic_id, 1), append(t, 0, 1), append(t, kIoApicBase, 4), append(t, 0, 4);
  const auto override_source = [&](uint8_t irq, uint32_t gsi, uint16_t flags) {
    append(t, 2, 1), append(t, 10, 1);
    append(t, 0, 1), append(t, irq, 1), append(t, gsi, 4), append(t, flags, 2);
  };
  override_source(0, kTimerGsi, 0);
  override_source(kSciIrq, kSciIrq, 0x0d);  // level-triggered, active high
  append(t, 4, 1), append(t, 6, 1);         // local APIC NMI: LINT1 of all processors
  append(t, 0xff, 1), append(t, 0, 2), append(t, 1, 1);
  return with_header("APIC", 1, t);
}

std::string serial_port(std::string_view object, unsigned unit, uint16_t base, unsigned irq) {
  return aml::device(object, aml::name("_HID", aml::eisa_id("PNP0501")) + aml::name("_UID", aml::integer(unit)) +
                                 aml::name("_STA", aml::integer(0x0f)) +
                                 aml::name("_CRS", aml::resources(aml::io_ports(base, 8) + aml::irq(irq))));
}

std::string dsdt() {
  const auto fixed = [](std::string_view object, std::string_view id, std::string_view descriptors) {
    return aml::device(object, aml::name("_HID", aml::eisa_id(id)) + aml::name("_CRS", aml::resources(descriptors)));
  };
  // SLP_TYPa, SLP_TYPb, reserved.
  const std::string soft_off = aml::name(
      "\\_S5", aml::package({aml::integer(AcpiPm::kS5SleepType), aml::integer(0), aml::integer(0), aml::integer(0)}));
  const std::string devices =
      aml::device("CPU0", aml::name("_HID", aml::string("ACPI0007")) + aml::name("_UID", aml::integer(0))) +
      fixed("PIC", "PNP0000", aml::io_ports(0x20, 2) + aml::io_ports(0xa0, 2) + aml::io_ports(0x4d0, 2) + aml::irq(2)) +
      fixed("TMR", "PNP0100", aml::io_ports(0x40, 4) + aml::irq(0)) +
      fixed("RTC", "PNP0B00", aml::io_ports(0x70, 2) + aml::irq(8)) + serial_port("COM1", 1, kCom1Base, kCom1Irq) +
      serial_port("COM2", 2, kCom2Base, kCom2Irq);
  return with_header("DSDT", 2, soft_off + aml::scope("\\_SB", devices));
}

std::string rsdp(uint64_t rsdt_at, uint64_t xsdt_at) {
  std::string t = "RSD PTR ";
  append(t, 0, 1);
  t += "PANDA ";
  append(t, 2, 1);  // ACPI 2.0 and later
  append(t, rsdt_at, 4);
  append(t, 36, 4);
  append(t, xsdt_at, 8);
  append(t, 0, 4);  // extended checksum, reserved
  fix_checksum(t, 8, 20);
  fix_checksum(t, 32, 36);
  return t;
}

}  // namespace

AcpiTables build_acpi_tables(const AcpiConfig& config) {
  AcpiTables out{config.base, std::string(64, '\0')};  // room for the RSDP
  const auto place = [&](std::string_view table) {
    out.bytes.resize((out.bytes.size() + 63) & ~size_t{63});  // the FACS wants 64
    const uint64_t at = config.base.value + out.bytes.size();
    out.bytes += table;
    return at;
  };
  const uint64_t dsdt_at = place(dsdt());
  const uint64_t facs_at = place(facs());
  const uint64_t fadt_at = place(fadt(config, facs_at, dsdt_at));
  const uint64_t madt_at = place(madt(config));
  std::string pointers32, pointers64;
  for (const uint64_t at : {fadt_at, madt_at}) append(pointers32, at, 4), append(pointers64, at, 8);
  const uint64_t rsdt_at = place(with_header("RSDT", 1, pointers32));
  const uint64_t xsdt_at = place(with_header("XSDT", 1, pointers64));
  const std::string root = rsdp(rsdt_at, xsdt_at);
  out.bytes.replace(0, root.size(), root);
  return out;
}

}  // namespace panda::board
