// The ACPI tables of the PC board, as one block of bytes for the BIOS area: RSDP first (so that it
// is found at a 16-byte boundary above 0xe0000), then RSDT, XSDT, FADT, FACS, MADT and DSDT. They
// say what is there: one CPU, an I/O APIC, two serial ports, a clock; no keyboard controller, no
// VGA, no PCI, no HPET.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.h"

namespace panda::board {

struct AcpiConfig {
  GuestPhysAddr base{0xe0000};  // of the block
  uint8_t ioapic_id = 1;
  uint16_t pm_base = 0x600;
};

struct AcpiTables {
  GuestPhysAddr base;  // also of the RSDP
  std::string bytes;
};

[[nodiscard]] AcpiTables build_acpi_tables(const AcpiConfig& config);

}  // namespace panda::board
