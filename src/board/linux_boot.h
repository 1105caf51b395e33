// Boots a bzImage by the Linux 32-bit boot protocol (Documentation/x86/boot.rst of the kernel):
// reads the header, which may be anything a user has on disk, puts kernel, initrd, command line,
// zero page and a GDT into RAM, and says with which registers the CPU has to start. No firmware runs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "memory/guest_memory.h"

namespace panda::board {

struct LinuxBoot {
  std::span<const uint8_t> kernel;  // the bzImage file
  std::span<const uint8_t> initrd;  // may be empty
  std::string command_line;
  GuestPhysAddr acpi_rsdp;  // 0: none
};

// What the boot parameter block of a kernel says about it.
struct LinuxHeader {
  uint32_t setup_bytes = 0;  // real-mode part, not used
  uint32_t code_bytes = 0;   // protected-mode part, follows it in the file
  uint16_t version = 0;      // 0x20f is 2.15
  bool relocatable = false;
  uint32_t initrd_last_byte = 0;  // highest address an initrd may use
  uint32_t command_line_max = 0;  // without the terminating zero
  uint64_t run_base = 0;          // where the kernel decompresses itself to
  uint64_t run_end = 0;           // and the end of what it needs there before it knows the memory map
};

// The CPU's state at the kernel's first instruction: 32-bit protected mode without paging, flat
// segments (base 0, limit 4 GiB, as in the GDT in RAM), interrupts off, direction flag clear.
struct LinuxEntry {
  uint32_t eip = 0;
  uint32_t esi = 0;  // the zero page; ebx, ebp and edi are 0
  uint32_t esp = 0;
  uint32_t gdt_base = 0;
  uint16_t gdt_limit = 0;
  uint16_t cs = 0x10;  // code, execute and read
  uint16_t ds = 0x18;  // data, read and write; also es, ss, fs, gs
};

[[nodiscard]] Result<LinuxHeader> parse_linux_header(std::span<const uint8_t> kernel);
[[nodiscard]] Result<LinuxEntry> load_linux(GuestMemory& memory, const LinuxBoot& boot);

// A whole file; `what` names it in the message ("kernel").
[[nodiscard]] Result<std::vector<uint8_t>> read_boot_file(const std::string& path, std::string_view what);

}  // namespace panda::board
