#include "backend/x64/code_area.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "memory/access.h"

namespace panda::x64 {
namespace {

// Translated code lies in large pages: few page faults while it is filled, few instruction TLB misses after.
constexpr uintptr_t kHugePage = uintptr_t{2} << 20;

}  // namespace

Result<CodeArea> CodeArea::create(size_t bytes) {
  constexpr size_t kMin = size_t{1} << 16, kMax = size_t{1} << 30;
  if (bytes < kMin || bytes > kMax) return fail("code area: {} bytes is not between 64 KiB and 1 GiB", bytes);
  bytes = (bytes + 4095) & ~size_t{4095};
  const int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const uintptr_t ours = reinterpret_cast<uintptr_t>(&panda_slow_load) & ~uintptr_t{4095};
  for (const intptr_t distance : {-0x10000000, -0x20000000, -0x40000000, 0x30000000, 0x20000000}) {
    const uintptr_t low = (ours + static_cast<uintptr_t>(distance) - (distance < 0 ? bytes : 0)) & ~(kHugePage - 1);
    if (low < 0x100000 || low > ours + 0x70000000) {
      if (distance < 0) continue;
    }
    void* at = mmap(reinterpret_cast<void*>(low), bytes, protection, flags | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED) continue;
    if (at == reinterpret_cast<void*>(low)) {
      madvise(at, bytes, MADV_HUGEPAGE);
      return CodeArea(static_cast<uint8_t*>(at), bytes);
    }
    munmap(at, bytes);
  }
  void* at = mmap(nullptr, bytes, protection, flags, -1, 0);
  if (at == MAP_FAILED) {
    return fail("code area: cannot map {} MiB of executable memory: {}", bytes >> 20, std::strerror(errno));
  }
  return CodeArea(static_cast<uint8_t*>(at), bytes);
}

CodeArea::CodeArea(CodeArea&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)), size_(std::exchange(other.size_, 0)) {}

CodeArea::~CodeArea() {
  if (begin_ != nullptr) munmap(begin_, size_);
}

}  // namespace panda::x64
