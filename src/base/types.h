// The strong types that cross folders. Inside a file a bare integer is fine; in an interface
// between folders an address, a count or a time says which it is.
#pragma once

#include <compare>
#include <cstdint>

namespace panda {

template <typename Tag>
struct Quantity {
  uint64_t value = 0;

  constexpr Quantity() = default;
  constexpr explicit Quantity(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(const Quantity&, const Quantity&) = default;
  friend constexpr Quantity operator+(Quantity a, uint64_t b) { return Quantity(a.value + b); }
  friend constexpr Quantity operator-(Quantity a, uint64_t b) { return Quantity(a.value - b); }
  friend constexpr uint64_t operator-(Quantity a, Quantity b) { return a.value - b.value; }
  constexpr Quantity& operator+=(uint64_t b) {
    value += b;
    return *this;
  }
};

using GuestVirtAddr = Quantity<struct GuestVirtAddrTag>;  // linear address, after segmentation
using GuestPhysAddr = Quantity<struct GuestPhysAddrTag>;
using InsnCount = Quantity<struct InsnCountTag>;  // completed guest instructions
using VirtualNs = Quantity<struct VirtualNsTag>;  // guest time, nanoseconds since power-on

inline constexpr unsigned kPageBits = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageBits;
inline constexpr uint64_t kPageMask = ~(kPageSize - 1);

}  // namespace panda
