#include "base/heap.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace panda {

void use_large_heap_pages() {
  constexpr int kStep = 128 << 20;  // address space; memory is taken as it is used
  constexpr size_t kProbe = size_t{1} << 20;
  constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
  // Setting one of these ends the adjustment of the others, so all are given.
  if (mallopt(M_TOP_PAD, kStep) == 0 || mallopt(M_TRIM_THRESHOLD, 2 * kStep) == 0) return;
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  void* const probe = std::malloc(kProbe);  // makes it grow
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(probe) + kHugePage - 1) & ~(kHugePage - 1);
  const auto end = reinterpret_cast<uintptr_t>(sbrk(0));
  std::free(probe);
  if (probe == nullptr || end < begin || end - begin > 2 * size_t{kStep}) return;  // another allocator's
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace panda
