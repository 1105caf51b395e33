// Xbyak plus what it lacks for our use: condition codes as numbers, and forward jumps that are
// patched by position instead of by label objects (which would cost a hash map entry each).
#pragma once

#include <xbyak/xbyak.h>

#include <cstdint>
#include <cstring>

#include "backend/x64/features.h"

namespace panda::x64 {

// The low four bits of Jcc, SETcc and CMOVcc opcodes.
enum class Cc : uint8_t { O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G };
[[nodiscard]] constexpr Cc invert(Cc cc) { return static_cast<Cc>(static_cast<uint8_t>(cc) ^ 1); }

class Assembler : public Xbyak::CodeGenerator {
 public:
  Assembler(size_t bytes, void* code, const Features& f) : Xbyak::CodeGenerator(bytes, code), features(f) {}

  const Features features;

  using Offset = uint32_t;  // a position in the code area
  [[nodiscard]] Offset here() const { return static_cast<Offset>(getSize()); }
  [[nodiscard]] const uint8_t* at(Offset o) const { return getCode() + o; }
  [[nodiscard]] uint8_t* at(Offset o) { return const_cast<uint8_t*>(getCode()) + o; }

  // Forward jumps: return the position after the displacement, for patch().
  Offset jcc_forward(Cc cc) {
    db(0x0f);
    db(0x80 | static_cast<int>(cc));
    dd(0);
    return here();
  }
  Offset jmp_forward() {
    db(0xe9);
    dd(0);
    return here();
  }
  Offset jcc_short(Cc cc) {
    db(0x70 | static_cast<int>(cc));
    db(0);
    return here();
  }
  void patch(Offset after, Offset target) {
    const uint32_t displacement = target - after;
    std::memcpy(at(after - 4), &displacement, 4);
  }
  void patch_short(Offset after, Offset target) { *at(after - 1) = static_cast<uint8_t>(target - after); }
  void jcc_back(Cc cc, Offset target) {
    const int64_t near = static_cast<int64_t>(target) - static_cast<int64_t>(here()) - 2;
    if (near >= -128) {
      db(0x70 | static_cast<int>(cc));
      db(static_cast<uint8_t>(near));
    } else {
      patch(jcc_forward(cc), target);
    }
  }
  void jmp_back(Offset target) {
    const int64_t near = static_cast<int64_t>(target) - static_cast<int64_t>(here()) - 2;
    if (near >= -128) {
      db(0xeb);
      db(static_cast<uint8_t>(near));
    } else {
      patch(jmp_forward(), target);
    }
  }
  void call_offset(Offset target) {
    db(0xe8);
    dd(target - here() - 4);
  }
  void setcc(Cc cc, int reg) {
    if (reg >= 4) db(0x40 | (reg >= 8 ? 1 : 0));
    db(0x0f);
    db(0x90 | static_cast<int>(cc));
    db(0xc0 | (reg & 7));
  }
  void cmovcc(Cc cc, int to, int from, bool wide) {
    const int rex = (wide ? 8 : 0) | (to >= 8 ? 4 : 0) | (from >= 8 ? 1 : 0);
    if (rex != 0) db(0x40 | rex);
    db(0x0f);
    db(0x40 | static_cast<int>(cc));
    db(0xc0 | (to & 7) << 3 | (from & 7));
  }
};

// The TLB entry of the address, as distance from the first one.
void tlb_index(Assembler& c, int to, int address);

[[nodiscard]] inline Xbyak::Reg8 reg8(int r) { return Xbyak::Reg8(r, r >= 4 && r < 8); }
[[nodiscard]] inline Xbyak::Reg16 reg16(int r) { return Xbyak::Reg16(r); }
[[nodiscard]] inline Xbyak::Reg32 reg32(int r) { return Xbyak::Reg32(r); }
[[nodiscard]] inline Xbyak::Reg64 reg64(int r) { return Xbyak::Reg64(r); }
// Vector registers are numbered 16..31 wherever both kinds meet.
[[nodiscard]] inline Xbyak::Xmm xmm(int r) { return Xbyak::Xmm(r & 15); }

}  // namespace panda::x64
