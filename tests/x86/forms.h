// The instruction forms under test: every mnemonic of the front end's tables with every combination
// of operand kinds that Zydis can encode. The tables themselves are the list, so an instruction
// that is added is tested without being named anywhere else.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "machine_state.h"

namespace panda::x86test {

enum class Kind : uint8_t {
  Acc8,
  Acc16,
  Acc32,
  Acc64,  // AL, AX, EAX, RAX
  Cl,
  R8,
  R16,
  R32,
  R64,
  Mm,
  Xmm,
  Ymm,
  Xmm0,
  St0,
  St,
  M8,
  M16,
  M32,
  M64,
  M80,
  M128,
  M256,
  Vmx,
  Vmy,   // memory by a vector of indices in an XMM or YMM register
  MAny,  // MAny: no size of its own (LEA, FXSAVE)
  Imm1,
  Imm8,
  Imm32,
};

struct Form {
  ZydisMnemonic mnemonic;
  std::vector<Kind> operands;
  ZydisInstructionAttributes prefixes = 0;  // LOCK, REP, REPNE

  [[nodiscard]] std::string name() const;
};

struct GatherShape {
  unsigned element_bytes = 4, index_bytes = 4;
};
[[nodiscard]] GatherShape gather_shape(ZydisMnemonic m);
[[nodiscard]] bool is_gather(const Form& form);  // addresses memory by a vector of indices

using Rng = std::mt19937_64;

// Chosen by the form's random numbers: the bytes, and where its memory operand lies (0: none).
struct Encoded {
  std::vector<uint8_t> bytes;
  uint64_t memory = 0;
};

// All forms of the mnemonics in `mnemonics` that can be encoded in `mode`.
[[nodiscard]] std::vector<Form> all_forms(const std::vector<ZydisMnemonic>& mnemonics, Mode mode);
// One encoding with random registers, addressing and immediates; sets the registers that address
// memory in `state` so that the operand lies in the data area. Empty bytes: this choice does not encode.
[[nodiscard]] Encoded encode(const Form& form, Mode mode, Rng& rng, MachineState& state);

}  // namespace panda::x86test
