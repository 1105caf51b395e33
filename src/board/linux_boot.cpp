#include "board/linux_boot.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "board/pc_map.h"

namespace panda::board {
namespace {

// Offsets in the file and, for the setup header, in the zero page.
constexpr size_t kSetupSects = 0x1f1, kSysSize = 0x1f4, kVideoMode = 0x1fa, kBootFlag = 0x1fe, kHeaderJump = 0x201,
                 kMagic = 0x202, kVersion = 0x206, kTypeOfLoader = 0x210, kLoadFlags = 0x211, kInitrd = 0x218,
                 kInitrdSize = 0x21c, kCommandLine = 0x228, kInitrdMax = 0x22c, kAlignment = 0x230,
                 kRelocatable = 0x234, kCommandLineSize = 0x238, kPrefAddress = 0x258, kInitSize = 0x260;
// Zero page only.
constexpr size_t kZeroPageBytes = 4096, kAcpiRsdp = 0x070, kE820Count = 0x1e8, kE820 = 0x2d0, kAltMemory = 0x1e0,
                 kExtMemory = 0x002;
// The smallest header of version 2.06 ends behind cmdline_size.
constexpr size_t kMinFileBytes = 0x23c;

constexpr uint64_t kGdtAt = 0x8000, kStackAt = 0x8000, kZeroPageAt = 0x10000, kCommandLineAt = 0x20000;
constexpr uint64_t kCommandLineRoom = 0x10000;
constexpr std::array<uint64_t, 4> kGdt{0, 0, 0x00cf'9b00'0000'ffff, 0x00cf'9300'0000'ffff};

uint64_t get(std::span<const uint8_t> bytes, size_t at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{at + i < bytes.size() ? bytes[at + i] : uint8_t{0}} << (8 * i);
  return value;
}

void put(std::span<uint8_t> bytes, size_t at, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t mib_up(uint64_t bytes) { return (bytes + (1u << 20) - 1) >> 20; }

std::vector<uint8_t> zero_page(const LinuxBoot& boot, const LinuxHeader& header, uint64_t ram_bytes,
                               uint64_t initrd_at) {
  std::vector<uint8_t> page(kZeroPageBytes);
  // The setup header is copied as it is in the file, up to the end that it declares.
  const size_t header_end = std::min<size_t>({kMagic + boot.kernel[kHeaderJump], boot.kernel.size(), kE820 - 64});
  std::copy(boot.kernel.begin() + kSetupSects, boot.kernel.begin() + static_cast<ptrdiff_t>(header_end),
            page.begin() + kSetupSects);
  put(page, kTypeOfLoader, 0xff, 1);
  put(page, kLoadFlags, (page[kLoadFlags] | 1) & ~0x80u, 1);  // LOADED_HIGH; no heap
  put(page, kVideoMode, 0xffff, 2);
  put(page, kInitrd, boot.initrd.empty() ? 0 : initrd_at, 4);
  put(page, kInitrdSize, boot.initrd.size(), 4);
  put(page, kCommandLine, kCommandLineAt, 4);
  if (header.version >= 0x20e) put(page, kAcpiRsdp, boot.acpi_rsdp.value, 8);
  const uint64_t low_kib = (std::min(ram_bytes, kLowRamEnd) - kExtendedMemoryBase) >> 10;
  put(page, kExtMemory, std::min<uint64_t>(low_kib, 0xffff), 2);
  put(page, kAltMemory, low_kib, 4);
  const auto map = pc_e820(ram_bytes);
  put(page, kE820Count, map.size(), 1);
  for (size_t i = 0; i < map.size(); ++i) {
    put(page, kE820 + 20 * i, map[i].base, 8);
    put(page, kE820 + 20 * i + 8, map[i].size_bytes, 8);
    put(page, kE820 + 20 * i + 16, map[i].type, 4);
  }
  return page;
}

}  // namespace

Result<LinuxHeader> parse_linux_header(std::span<const uint8_t> kernel) {
  if (kernel.size() < kMagic + 4 || get(kernel, kBootFlag, 2) != 0xaa55 || get(kernel, kMagic, 4) != 0x53726448)
    return fail("not a Linux bzImage (no boot header)");
  LinuxHeader h;
  h.version = static_cast<uint16_t>(get(kernel, kVersion, 2));
  if (h.version < 0x206)
    return fail("the kernel's boot protocol {}.{:02} is too old (2.06 is needed)", h.version >> 8, h.version & 0xff);
  if (kernel.size() < kMinFileBytes) return fail("the kernel image is truncated inside its header");
  if ((get(kernel, kLoadFlags, 1) & 1) == 0) return fail("the kernel is a zImage that loads low, not a bzImage");
  const uint64_t setup_sects = get(kernel, kSetupSects, 1);
  h.setup_bytes = static_cast<uint32_t>((setup_sects == 0 ? 4 : setup_sects) + 1) * 512;
  const uint64_t code_bytes = get(kernel, kSysSize, 4) * 16;
  if (code_bytes == 0) return fail("the kernel image says that it has no code");
  // The size is in units of 16 bytes: the last one may be incomplete.
  if (h.setup_bytes + code_bytes > kernel.size() + 15)
    return fail("the kernel image is truncated: {} bytes of {}", kernel.size(), h.setup_bytes + code_bytes);
  h.code_bytes =
      static_cast<uint32_t>(kernel.size() - h.setup_bytes < code_bytes ? kernel.size() - h.setup_bytes : code_bytes);
  h.relocatable = get(kernel, kRelocatable, 1) != 0;
  h.initrd_last_byte = static_cast<uint32_t>(get(kernel, kInitrdMax, 4));
  h.command_line_max = static_cast<uint32_t>(get(kernel, kCommandLineSize, 4));
  // Where it will run: startup_32 moves itself up to the alignment, or to where it prefers to be.
  h.run_base = kExtendedMemoryBase;
  uint64_t run_bytes = uint64_t{h.code_bytes} * 4;  // before 2.10 nobody says: a guess on the safe side
  if (h.version >= 0x20a && kernel.size() >= kInitSize + 4) {
    const uint64_t alignment = get(kernel, kAlignment, 4);
    const uint64_t preferred = get(kernel, kPrefAddress, 8);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
      return fail("the kernel's header is damaged (alignment {:#x})", alignment);
    if (preferred >= kHighRamBase) return fail("the kernel wants to run at {:#x}, above 4 GiB", preferred);
    run_bytes = get(kernel, kInitSize, 4);
    h.run_base = h.relocatable ? std::max((kExtendedMemoryBase + alignment - 1) & ~(alignment - 1), preferred)
                               : std::max(preferred, kExtendedMemoryBase);
  }
  h.run_end = std::max(h.run_base + run_bytes, kExtendedMemoryBase + h.code_bytes);
  return h;
}

Result<LinuxEntry> load_linux(GuestMemory& memory, const LinuxBoot& boot) {
  PANDA_TRY(const LinuxHeader header, parse_linux_header(boot.kernel));
  const uint64_t low_end = std::min(memory.size_bytes(), kLowRamEnd);
  if (header.run_end > low_end)
    return fail("the kernel needs {} MiB of RAM to start, the machine has {} below 3 GiB (see -m)",
                mib_up(header.run_end), low_end >> 20);
  const uint64_t command_line_max = std::min<uint64_t>(header.command_line_max, kCommandLineRoom - 1);
  if (boot.command_line.size() > command_line_max)
    return fail("the kernel command line has {} bytes, this kernel takes {}", boot.command_line.size(),
                command_line_max);

  uint64_t initrd_at = 0;
  if (!boot.initrd.empty()) {
    const uint64_t end = std::min(low_end, uint64_t{header.initrd_last_byte} + 1);
    if (end < header.run_end || boot.initrd.size() > end - header.run_end)
      return fail("the initrd ({} MiB) does not fit into RAM beside the kernel: {} MiB are left for it (see -m)",
                  mib_up(boot.initrd.size()), end < header.run_end ? 0 : (end - header.run_end) >> 20);
    initrd_at = (end - boot.initrd.size()) & kPageMask;
    if (initrd_at < header.run_end)
      return fail("the initrd ({} MiB) does not fit into RAM beside the kernel (see -m)", mib_up(boot.initrd.size()));
  }

  const auto page = zero_page(boot, header, memory.size_bytes(), initrd_at);
  const bool written =
      memory.write(GuestPhysAddr(kExtendedMemoryBase), boot.kernel.data() + header.setup_bytes, header.code_bytes) &&
      (boot.initrd.empty() || memory.write(GuestPhysAddr(initrd_at), boot.initrd.data(), boot.initrd.size())) &&
      memory.write(GuestPhysAddr(kCommandLineAt), boot.command_line.c_str(), boot.command_line.size() + 1) &&
      memory.write(GuestPhysAddr(kZeroPageAt), page.data(), page.size()) &&
      memory.write(GuestPhysAddr(kGdtAt), kGdt.data(), sizeof(kGdt));
  if (!written) return fail("the machine has no RAM where the kernel must be loaded (see -m)");
  return LinuxEntry{.eip = static_cast<uint32_t>(kExtendedMemoryBase),
                    .esi = static_cast<uint32_t>(kZeroPageAt),
                    .esp = static_cast<uint32_t>(kStackAt),
                    .gdt_base = static_cast<uint32_t>(kGdtAt),
                    .gdt_limit = sizeof(kGdt) - 1};
}

Result<std::vector<uint8_t>> read_boot_file(const std::string& path, std::string_view what) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return fail("cannot open the {} {}: {}", what, path, std::strerror(errno));
  struct stat info{};
  if (fstat(fileno(file.get()), &info) == 0 && S_ISDIR(info.st_mode))
    return fail("cannot read the {} {}: it is a directory", what, path);
  std::vector<uint8_t> bytes;
  std::array<uint8_t, 65536> chunk{};
  while (const size_t n = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
    if (bytes.size() + n > kLowRamEnd) return fail("the {} {} is larger than 3 GiB", what, path);
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(n));
  }
  if (std::ferror(file.get()) != 0) return fail("cannot read the {} {}: {}", what, path, std::strerror(errno));
  return bytes;
}

}  // namespace panda::board
