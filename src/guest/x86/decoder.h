// Zydis, set up for the CPU's modes, and what the translators need of its vocabulary: which
// architectural register a ZydisRegister is.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "guest/x86/state.h"

namespace panda::x86 {

inline constexpr unsigned kMaxInsnBytes = 15;

enum class DecodeStatus : uint8_t {
  Ok,
  Truncated,  // the bytes end before the instruction does
  TooLong,    // more than 15 bytes: #GP
  Undefined,  // #UD
};

struct DecodedInsn {
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

class Decoder {
 public:
  Decoder();
  // flags: ModeBits. real and virtual-8086 mode decode as 16-bit code.
  [[nodiscard]] DecodeStatus decode(std::span<const uint8_t> bytes, uint64_t flags, DecodedInsn& out) const;

 private:
  [[nodiscard]] bool insn_too_long(unsigned which, std::span<const uint8_t> bytes) const;

  ZydisDecoder decoders_[4];  // 64-bit, 32-bit, 16-bit, real
  ZydisDecoder lengths_[4];   // the same, which do not ask whether an instruction is a valid one
};

struct GeneralRegister {
  unsigned number = 0;  // R_EAX .. R_R15
  unsigned bytes = 0;
  bool high = false;  // AH, CH, DH, BH: bits 8-15 of `number`
};
[[nodiscard]] GeneralRegister general_register(ZydisRegister r);
[[nodiscard]] bool is_general_register(ZydisRegister r);
// R_ES .. R_GS.
[[nodiscard]] unsigned segment_register(ZydisRegister r);

}  // namespace panda::x86
