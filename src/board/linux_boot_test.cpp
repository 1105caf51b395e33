#include "board/linux_boot.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "board/pc_map.h"

namespace panda::board {
namespace {

constexpr uint64_t kMiB = 1 << 20;

void put(std::vector<uint8_t>& bytes, size_t at, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes.at(at + i) = static_cast<uint8_t>(value >> (8 * i));
}

// A bzImage of protocol 2.15 whose code is a pattern.
std::vector<uint8_t> make_kernel(size_t code_bytes = 100'000) {
  std::vector<uint8_t> k(1024 * 2 + code_bytes);
  put(k, 0x1f1, 3, 1);
  put(k, 0x1f4, (code_bytes + 15) / 16, 4);
  put(k, 0x1fe, 0xaa55, 2);
  put(k, 0x200, 0x6aeb, 2);  // the header ends at 0x202 + 0x6a
  std::memcpy(k.data() + 0x202, "HdrS", 4);
  put(k, 0x206, 0x20f, 2);
  put(k, 0x211, 1, 1);
  put(k, 0x22c, 0x7fff'ffff, 4);
  put(k, 0x230, 2 * kMiB, 4);
  put(k, 0x234, 1, 1);
  put(k, 0x238, 2047, 4);
  put(k, 0x258, 16 * kMiB, 8);
  put(k, 0x260, 20 * kMiB, 4);
  for (size_t i = 2048; i < k.size(); ++i) k[i] = static_cast<uint8_t>(i * 7);
  return k;
}

std::unique_ptr<GuestMemory> make_memory(uint64_t bytes) {
  auto memory = GuestMemory::create(bytes, pc_ram_layout(bytes));
  EXPECT_TRUE(memory.has_value());
  return std::move(*memory);
}

std::string error_of(const std::vector<uint8_t>& kernel) {
  const auto header = parse_linux_header(kernel);
  return header ? "" : header.error().message;
}

uint64_t peek(GuestMemory& memory, uint64_t phys, unsigned size) {
  uint64_t value = 0;
  EXPECT_TRUE(memory.read(GuestPhysAddr(phys), &value, size));
  return value;
}

TEST(LinuxBoot, PutsEverythingInPlace) {
  const auto memory = make_memory(128 * kMiB);
  const auto kernel = make_kernel();
  const std::vector<uint8_t> initrd(5000, 0xab);
  const auto entry = load_linux(
      *memory,
      {.kernel = kernel, .initrd = initrd, .command_line = "console=ttyS0", .acpi_rsdp = GuestPhysAddr(0xe0000)});
  ASSERT_TRUE(entry.has_value()) << entry.error().message;
  EXPECT_EQ(entry->eip, 0x100000u);
  EXPECT_EQ(std::memcmp(memory->host(GuestPhysAddr(0x100000)), kernel.data() + 2048, 4096), 0);

  const uint64_t page = entry->esi;
  EXPECT_EQ(peek(*memory, page + 0x202, 4), 0x53726448u);
  EXPECT_EQ(peek(*memory, page + 0x210, 1), 0xffu);
  EXPECT_EQ(peek(*memory, page + 0x070, 8), 0xe0000u);
  const uint64_t initrd_at = peek(*memory, page + 0x218, 4);
  EXPECT_EQ(peek(*memory, page + 0x21c, 4), initrd.size());
  EXPECT_EQ(initrd_at, (128 * kMiB - 5000) & ~uint64_t{4095});
  EXPECT_EQ(std::memcmp(memory->host(GuestPhysAddr(initrd_at)), initrd.data(), 4096), 0);
  EXPECT_STREQ(reinterpret_cast<const char*>(memory->host(GuestPhysAddr(peek(*memory, page + 0x228, 4)))),
               "console=ttyS0");
  // Flat code and data descriptors where CS and DS point.
  EXPECT_EQ(peek(*memory, entry->gdt_base + entry->cs, 8), 0x00cf'9b00'0000'ffffu);
  EXPECT_EQ(peek(*memory, entry->gdt_base + entry->ds, 8), 0x00cf'9300'0000'ffffu);
  EXPECT_EQ(entry->gdt_limit, 31);
  EXPECT_EQ(peek(*memory, page + 0x1e8, 1), 4u);
}

TEST(LinuxBoot, InitrdStaysBelowTheKernelsLimit) {
  const auto memory = make_memory(256 * kMiB);
  auto kernel = make_kernel();
  put(kernel, 0x22c, 0x7ff'ffff, 4);
  const std::vector<uint8_t> initrd(4096, 1);
  const auto entry = load_linux(*memory, {.kernel = kernel, .initrd = initrd, .command_line = "", .acpi_rsdp = {}});
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(peek(*memory, entry->esi + 0x218, 4), 0x7ff'f000u);
}

TEST(LinuxBoot, RefusesWhatDoesNotFit) {
  const auto memory = make_memory(64 * kMiB);
  const auto load = [&](const std::vector<uint8_t>& kernel, size_t initrd_bytes, size_t command_line_bytes) {
    const std::vector<uint8_t> initrd(initrd_bytes);
    const auto entry = load_linux(
        *memory,
        {.kernel = kernel, .initrd = initrd, .command_line = std::string(command_line_bytes, 'x'), .acpi_rsdp = {}});
    return entry ? std::string() : entry.error().message;
  };
  EXPECT_EQ(load(make_kernel(), 1000, 2047), "");
  EXPECT_NE(load(make_kernel(), 0, 2048).find("command line"), std::string::npos);
  EXPECT_NE(load(make_kernel(), 29 * kMiB, 0).find("initrd"), std::string::npos);
  auto big = make_kernel();
  put(big, 0x260, 60 * kMiB, 4);
  EXPECT_NE(load(big, 0, 0).find("needs 76 MiB"), std::string::npos);
}

TEST(LinuxBoot, RefusesWhatIsNoKernel) {
  EXPECT_NE(error_of({}).find("not a Linux bzImage"), std::string::npos);
  EXPECT_NE(error_of(std::vector<uint8_t>(100'000)).find("not a Linux bzImage"), std::string::npos);
  auto k = make_kernel();
  put(k, 0x206, 0x205, 2);
  EXPECT_NE(error_of(k).find("2.05 is too old"), std::string::npos);
  k = make_kernel();
  k.resize(k.size() - 16);
  EXPECT_NE(error_of(k).find("truncated"), std::string::npos);
  k = make_kernel();
  put(k, 0x211, 0, 1);
  EXPECT_NE(error_of(k).find("zImage"), std::string::npos);
  k = make_kernel();
  put(k, 0x230, 3, 4);
  EXPECT_NE(error_of(k).find("alignment"), std::string::npos);
  EXPECT_FALSE(read_boot_file("/nonexistent/vmlinuz", "kernel").has_value());
  EXPECT_FALSE(read_boot_file("/", "kernel").has_value());
}

TEST(LinuxBoot, SurvivesTruncationAndDamage) {
  const auto memory = make_memory(64 * kMiB);
  const auto good = make_kernel(5000);
  for (size_t size = 0; size < 0x300; ++size) {
    const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(parse_linux_header(cut).has_value()) << size;
  }
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    auto kernel = good;
    for (uint64_t i = random() % 4; i <= 4; ++i) kernel[0x1f0 + random() % 0x80] = static_cast<uint8_t>(random());
    kernel.resize(kernel.size() - (random() % 2 == 0 ? random() % kernel.size() : 0));
    const auto entry = load_linux(*memory, {.kernel = kernel, .initrd = {}, .command_line = "x", .acpi_rsdp = {}});
    if (!entry) {
      EXPECT_FALSE(entry.error().message.empty());
    }
  }
}

TEST(PcMap, RamLayoutAndE820) {
  for (const uint64_t mib : {64ull, 1024ull, 3072ull, 3073ull, 8192ull, 16384ull}) {
    const uint64_t bytes = mib * kMiB;
    uint64_t total = 0;
    for (const RamRange& r : pc_ram_layout(bytes)) {
      EXPECT_EQ(r.offset, total);
      total += r.size;
      EXPECT_TRUE(r.phys + r.size <= kLowRamEnd || r.phys >= kHighRamBase);
    }
    EXPECT_EQ(total, bytes);
    uint64_t usable = 0;
    uint64_t last = 0;
    for (const E820Entry& e : pc_e820(bytes)) {
      EXPECT_GE(e.base, last);
      last = e.base + e.size_bytes;
      if (e.type == 1) usable += e.size_bytes;
    }
    EXPECT_EQ(usable, bytes - kExtendedMemoryBase + kBaseMemoryEnd);
  }
}

}  // namespace
}  // namespace panda::board
