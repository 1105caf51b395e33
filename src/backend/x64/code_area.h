// The memory that translated code lives in: readable, writable and executable, and if possible
// within reach of a call with a 32-bit displacement from our own functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace panda::x64 {

class CodeArea {
 public:
  static Result<CodeArea> create(size_t bytes);
  CodeArea(CodeArea&& other) noexcept;
  CodeArea& operator=(CodeArea&&) = delete;
  ~CodeArea();

  [[nodiscard]] uint8_t* begin() const { return begin_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  CodeArea(uint8_t* begin, size_t size) : begin_(begin), size_(size) {}

  uint8_t* begin_;
  size_t size_;
};

}  // namespace panda::x64
