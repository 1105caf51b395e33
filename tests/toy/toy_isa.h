// A toy guest architecture, to test the engine and the back ends without a real one: eight 32-bit
// registers, instructions of four bytes {op, rd << 4 | ra, imm16 little-endian}, identity mapping.
// Addresses from kFaultBase on fault, those beyond RAM are devices.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace panda::toy {

enum class Insn : uint8_t {
  li = 1,  // rd = sign-extended imm
  lih,     // rd = imm << 16 | low half of rd
  add,     // rd = ra + r[imm & 7]
  sub,
  mul,
  xor_,
  addi,   // rd = ra + sign-extended imm
  load,   // rd = 32 bits at ra + imm
  store,  // 32 bits at ra + imm = rd
  loadb,  // one byte, zero-extended
  beq,    // to pc + imm where rd == ra
  bne,
  jmp,   // pc + imm
  jalr,  // rd = pc + 4, to ra
  trap,  // exception `imm`
  out,   // port imm = rd; crosses the line
  in,    // rd = port imm; crosses the line
  halt,  // waits for an interrupt
  iret,  // to epc, interrupts on
  sti,   // interrupts on
};

inline constexpr uint32_t kFaultBase = 0x80000000;
inline constexpr uint32_t kExceptionVector = 0x100;
inline constexpr uint32_t kInterruptVector = 0x200;
// State::cause of exceptions; interrupts: kCauseInterrupt + vector.
inline constexpr uint32_t kCauseIllegal = 1, kCausePage = 14, kCauseMisaligned = 17, kCauseInterrupt = 0x10000;

struct State {
  std::array<uint32_t, 8> regs{};
  uint32_t pc = 0;
  uint32_t epc = 0;
  uint32_t cause = 0;
  uint32_t fault_address = 0;
  uint32_t interrupts_on = 0;
  uint32_t halted = 0;
  // What plugins read; not the architecture's, so it takes no part in comparisons.
  struct PluginView {
    uint64_t pc = 0;
    uint64_t count = 0;
    friend bool operator==(const PluginView&, const PluginView&) { return true; }
  } plugin_view;
  friend bool operator==(const State&, const State&) = default;
};

// Assembles into a byte vector.
class Assembler {
 public:
  explicit Assembler(uint32_t base = 0) : base_(base) {}
  [[nodiscard]] uint32_t here() const { return base_ + static_cast<uint32_t>(bytes_.size()); }
  void emit(Insn op, unsigned rd = 0, unsigned ra = 0, uint32_t imm = 0) {
    const auto word = encode(op, rd, ra, imm);
    for (unsigned i = 0; i < 4; i++) bytes_.push_back(static_cast<uint8_t>(word >> (8 * i)));
  }
  void branch(Insn op, unsigned rd, unsigned ra, uint32_t target) { emit(op, rd, ra, target - here()); }
  // Branches ahead: patch() makes the instruction at `at` go to here().
  void patch(uint32_t at) {
    const uint32_t distance = here() - at;
    bytes_[at - base_ + 2] = static_cast<uint8_t>(distance);
    bytes_[at - base_ + 3] = static_cast<uint8_t>(distance >> 8);
  }
  void pad_to(uint32_t address) { bytes_.resize(address - base_); }
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bytes_; }
  [[nodiscard]] static uint32_t encode(Insn op, unsigned rd, unsigned ra, uint32_t imm) {
    return static_cast<uint32_t>(op) | (rd << 4 | ra) << 8 | (imm & 0xffff) << 16;
  }

 private:
  uint32_t base_;
  std::vector<uint8_t> bytes_;
};

}  // namespace panda::toy
