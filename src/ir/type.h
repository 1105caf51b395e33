// The types of IR values. An F32, F64, V128 (and later V256) value lives in a host vector
// register, an F80 on the host's x87 stack, the rest in a general one. An I1 is 0 or 1. Integers narrower than the host
// register are kept with undefined upper bits by the back ends: an op that needs them extends first.
#pragma once

#include <cstdint>

namespace panda::ir {

enum class Type : uint8_t { Void, I1, I8, I16, I32, I64, F32, F64, V128, F80 };

[[nodiscard]] constexpr unsigned size_bytes(Type t) {
  switch (t) {
    case Type::Void:
      return 0;
    case Type::I1:
    case Type::I8:
      return 1;
    case Type::I16:
      return 2;
    case Type::I32:
    case Type::F32:
      return 4;
    case Type::I64:
    case Type::F64:
      return 8;
    case Type::V128:
      return 16;
    case Type::F80:
      return 10;
  }
  return 0;
}
[[nodiscard]] constexpr unsigned size_bits(Type t) { return t == Type::I1 ? 1 : size_bytes(t) * 8; }
[[nodiscard]] constexpr bool is_int(Type t) { return t >= Type::I1 && t <= Type::I64; }
[[nodiscard]] constexpr bool is_float(Type t) { return t == Type::F32 || t == Type::F64; }
[[nodiscard]] constexpr bool is_vector(Type t) { return t == Type::V128; }
[[nodiscard]] constexpr uint64_t mask_of(Type t) {
  return size_bits(t) >= 64 ? ~uint64_t{0} : (uint64_t{1} << size_bits(t)) - 1;
}
[[nodiscard]] constexpr Type int_of_bytes(unsigned bytes) {
  return bytes == 1 ? Type::I8 : bytes == 2 ? Type::I16 : bytes == 4 ? Type::I32 : Type::I64;
}

}  // namespace panda::ir
