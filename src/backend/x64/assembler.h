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
  // --- The shapes that most of our code consists of, encoded as Xbyak would (assembler_test.cpp), but without its
  // generic operands. What is not one of them is left to Xbyak.
  void mov(const Xbyak::Operand& to, const Xbyak::Operand& from) {
    if (from.isREG() && to.isREG()) {
      if (emit_rr(0x88, to, from)) return;
    } else if (from.isREG() && to.isMEM()) {
      if (emit_rm(0x88, from, to.getAddress())) return;
    } else if (to.isREG() && from.isMEM()) {
      if (emit_rm(0x8a, to, from.getAddress())) return;
    }
    Xbyak::CodeGenerator::mov(to, from);
  }
  void mov(const Xbyak::Operand& to, uint64_t imm) {
    const auto low = static_cast<uint32_t>(imm);
    const int bits = to.getBit();
    if (to.isMEM() && bits >= 32 && (bits == 32 ? imm <= 0xffffffff : fits(imm))) {
      const Xbyak::Reg digit(0, Xbyak::Operand::REG, bits);
      if (emit_rm(0xc6, digit, to.getAddress())) return put(low, 4);
    } else if (to.isREG() && bits >= 32 && imm <= 0xffffffff && has_room()) {
      if (to.getIdx() >= 8) put(0x41, 1);
      put(0xb8u | (static_cast<unsigned>(to.getIdx()) & 7), 1);
      return put(low, 4);
    }
    Xbyak::CodeGenerator::mov(to, imm);
  }
  void lea(const Xbyak::Reg& to, const Xbyak::Address& at) {
    if (to.getBit() < 32 || !emit_rm(0x8c, to, at)) Xbyak::CodeGenerator::lea(to, at);
  }
#define PANDA_X64_ALU(name, number)                                          \
  void name(const Xbyak::Operand& to, const Xbyak::Operand& from) {          \
    if (!emit_alu(number, to, from)) Xbyak::CodeGenerator::name(to, from);   \
  }                                                                          \
  void name(const Xbyak::Operand& to, uint32_t imm) {                        \
    if (!emit_alu_imm(number, to, imm)) Xbyak::CodeGenerator::name(to, imm); \
  }
  PANDA_X64_ALU(add, 0)
  PANDA_X64_ALU(or_, 1)
  PANDA_X64_ALU(and_, 4)
  PANDA_X64_ALU(sub, 5)
  PANDA_X64_ALU(xor_, 6)
  PANDA_X64_ALU(cmp, 7)
#undef PANDA_X64_ALU

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

 private:
  static constexpr size_t kLongestInsn = 15;
  [[nodiscard]] static constexpr bool fits(uint64_t imm) {
    return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(static_cast<uint32_t>(imm)))) == imm;
  }
  [[nodiscard]] bool has_room() const {
    return size_ + 2 * kLongestInsn <= maxSize_;
  }  // else Xbyak says that there is none
  void put(uint32_t bytes, unsigned count) {
    std::memcpy(top_ + size_, &bytes, 4);  // what is too much is overwritten
    size_ += count;
  }
  // Prefixes and opcode; rex without its fixed bits.
  bool begin(unsigned opcode, const Xbyak::Operand& reg, unsigned rex, bool byte_rex) {
    const int bits = reg.getBit();
    if (bits == 16 || !has_room()) return false;
    rex |= bits == 64 ? 8u : 0u;
    if (rex != 0 || byte_rex) put(0x40 | rex, 1);
    put(opcode | (bits == 8 ? 0u : 1u), 1);
    return true;
  }
  bool emit_rr(unsigned opcode, const Xbyak::Operand& rm, const Xbyak::Operand& reg) {
    if (rm.getBit() != reg.getBit() || reg.getBit() == 8) return false;
    const auto r = static_cast<unsigned>(reg.getIdx()), m = static_cast<unsigned>(rm.getIdx());
    if (!begin(opcode, reg, (r >> 3) << 2 | m >> 3, false)) return false;
    put(0xc0 | (r & 7) << 3 | (m & 7), 1);
    return true;
  }
  // An operand of [base + index * scale + disp] with a 64-bit base.
  bool emit_rm(unsigned opcode, const Xbyak::Operand& reg, const Xbyak::Address& at) {
    if (at.getMode() != Xbyak::Address::M_ModRM) return false;
    const Xbyak::RegExp e = at.getRegExp(false);
    const Xbyak::Reg &base = e.getBase(), &index = e.getIndex();
    const int64_t disp = static_cast<int64_t>(e.getDisp());
    if (!base.isBit(64) || (index.getBit() != 0 && !index.isBit(64)) || disp != static_cast<int32_t>(disp))
      return false;
    if (reg.getBit() == 8 && !reg.isExt8bit() && reg.getIdx() >= 4 && reg.getIdx() < 8) return false;  // AH
    const auto r = static_cast<unsigned>(reg.getIdx()), b = static_cast<unsigned>(base.getIdx());
    const bool indexed = index.getBit() != 0;
    const auto x = indexed ? static_cast<unsigned>(index.getIdx()) : 4u;
    if (!begin(opcode, reg, (r >> 3) << 2 | (indexed ? (x >> 3) << 1 : 0) | b >> 3, reg.isExt8bit())) return false;
    const bool sib = indexed || (b & 7) == 4;
    const unsigned mod = disp == 0 && (b & 7) != 5 ? 0 : disp == static_cast<int8_t>(disp) ? 1 : 2;
    put(mod << 6 | (r & 7) << 3 | (sib ? 4 : b & 7), 1);
    if (sib) {
      const int scale = e.getScale();
      const unsigned scaled = !indexed ? 0 : scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
      put(scaled << 6 | (x & 7) << 3 | (b & 7), 1);
    }
    if (mod != 0) put(static_cast<uint32_t>(disp), mod == 1 ? 1 : 4);
    return true;
  }
  bool emit_alu(unsigned number, const Xbyak::Operand& to, const Xbyak::Operand& from) {
    const unsigned opcode = number << 3;
    if (from.isREG()) {
      return to.isREG() ? emit_rr(opcode, to, from) : to.isMEM() && emit_rm(opcode, from, to.getAddress());
    }
    return from.isMEM() && to.isREG() && emit_rm(opcode | 2, to, from.getAddress());
  }
  bool emit_alu_imm(unsigned number, const Xbyak::Operand& to, uint32_t imm) {
    const int bits = to.getBit();
    const bool small = static_cast<int32_t>(imm) == static_cast<int8_t>(imm);
    if (bits < 32) return false;
    if (to.isMEM()) {
      const Xbyak::Reg digit(static_cast<int>(number), Xbyak::Operand::REG, bits);
      if (!emit_rm(small ? 0x82 : 0x80, digit, to.getAddress())) return false;
    } else if (to.isREG() && (to.getIdx() != 0 || small)) {
      const auto m = static_cast<unsigned>(to.getIdx());
      if (!begin(small ? 0x82 : 0x80, to, m >> 3, false)) return false;
      put(0xc0 | number << 3 | (m & 7), 1);
    } else {
      return false;
    }
    put(imm, small ? 1 : 4);
    return true;
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
