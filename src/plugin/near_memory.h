// Memory for what translated code points at. It comes from mmap, as the back end's code area does, so that the two
// are mostly within two gigabytes of each other and an instruction can hold the distance. Objects stay where they are
// until the pool goes.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "base/check.h"

namespace panda::plugin {

template <typename T>
class NearPool {
 public:
  // Value-initialised.
  T* take() {
    if (!free_.empty()) {
      T* const object = free_.back();
      free_.pop_back();
      return new (object) T();
    }
    if (used_ == kPerChunk) {
      void* const chunk = ::mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      PANDA_CHECK(chunk != MAP_FAILED);
      chunks_.emplace_back(static_cast<T*>(chunk));
      used_ = 0;
    }
    return new (chunks_.back().get() + used_++) T();
  }
  void give(T* object) { free_.push_back(object); }

 private:
  static_assert(std::is_trivially_destructible_v<T>);
  static constexpr size_t kChunkBytes = 256 * 1024;
  static constexpr size_t kPerChunk = kChunkBytes / sizeof(T);
  struct Unmap {
    void operator()(T* chunk) const { ::munmap(chunk, kChunkBytes); }
  };
  std::vector<std::unique_ptr<T, Unmap>> chunks_;
  std::vector<T*> free_;
  size_t used_ = kPerChunk;  // of the last chunk
};

}  // namespace panda::plugin
