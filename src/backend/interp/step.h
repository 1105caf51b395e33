// What the interpreter runs: steps, and the frame they run on. Every op of the table has a function
// in namespace ops; the dispatch table is generated from the op table, so a missing one fails the
// build.
//
// A register holds an integer zero-extended to 64 bits, a float's bits in the low part, or a vector.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <list>
#include <vector>

#include "exec/backend.h"
#include "exec/translation_unit.h"
#include "ir/ir.h"
#include "memory/vcpu_context.h"

namespace panda::interp {

struct alignas(16) Reg {
  uint64_t lo = 0;
  uint64_t hi = 0;
};

struct Frame;
struct Step;
using StepFunction = void (*)(Frame&, const Step&) noexcept;

struct Step {
  StepFunction run = nullptr;
  uint64_t imm = 0;
  uint32_t aux = 0;  // as in ir::Inst, but see aux_of() in interp_backend.cpp
  uint32_t dst = 0;  // register of the result
  uint32_t args[4] = {};
  ir::Type type = ir::Type::Void;
  ir::Type from = ir::Type::Void;  // type of the first operand
  uint8_t nargs = 0;
};

struct Program {
  exec::TranslationUnit* unit = nullptr;
  std::vector<Step> steps;
  std::vector<uint32_t> block_entry;  // step at which each block begins
  std::vector<ir::GuestInsn> insns;
  struct Link {
    Program* to = nullptr;  // null: not linked
    bool counted = false;   // in the unit's ExitLink
  };
  std::vector<Link> links;  // by exit number
  uint32_t pc_offset = 0;
  uint32_t f80_control = 0;
  uint32_t f80_status = 0;
  ir::Type pc_type = ir::Type::I64;
  std::list<Program>::iterator position;  // in the back end's list
};

struct Frame {
  Reg* regs = nullptr;
  VcpuContext* cpu = nullptr;
  uint8_t* state = nullptr;
  Program* program = nullptr;
  const Step* next = nullptr;  // null: the loop ends and `exit` says why
  uint32_t insn = 0;           // current guest instruction
  bool guest_fp = false;       // the host's MXCSR is the guest's at the moment
  exec::ExitInfo exit;

  [[nodiscard]] const Reg& reg(const Step& s, unsigned k) const { return regs[s.args[k]]; }
  [[nodiscard]] uint64_t arg(const Step& s, unsigned k) const { return regs[s.args[k]].lo; }
  void define(const Step& s, uint64_t v);  // truncated to the type of the step
  void define(const Step& s, Reg v) { regs[s.dst] = v; }

  void enter(Program& p) {
    program = &p;
    next = p.steps.data();
    insn = 0;
  }
  void leave(exec::Exit kind, uint32_t index) {
    exit = {kind, program->unit, index};
    next = nullptr;
  }
  void write_pc(uint64_t pc) { std::memcpy(state + program->pc_offset, &pc, size_bytes(program->pc_type)); }

  // Float ops run under the guest's MXCSR, C++ code that may call devices or helpers under the host's.
  void enter_guest_fp();
  void leave_guest_fp();
};

inline constexpr auto kTypeMask = []() consteval {
  std::array<uint64_t, 10> masks{};
  for (unsigned t = 0; t < masks.size(); t++) masks[t] = ir::mask_of(static_cast<ir::Type>(t));
  return masks;
}();

inline void Frame::define(const Step& s, uint64_t v) { regs[s.dst] = {v & kTypeMask[static_cast<size_t>(s.type)], 0}; }

// The value of an integer of type t as a signed one.
[[nodiscard]] inline int64_t sign_extended(uint64_t v, ir::Type t) {
  const unsigned shift = 64 - ir::size_bits(t);
  return static_cast<int64_t>(v << shift) >> shift;
}

// --- lanes of vectors
template <typename T>
using Lanes = std::array<T, 16 / sizeof(T)>;

template <typename T>
[[nodiscard]] Lanes<T> lanes(const Frame& f, const Step& s, unsigned k) {
  return std::bit_cast<Lanes<T>>(f.reg(s, k));
}
template <typename T>
void define_lanes(Frame& f, const Step& s, const Lanes<T>& v) {
  f.define(s, std::bit_cast<Reg>(v));
}

namespace ops {
#define OP(name, result, a, b, c, effects) void name(Frame& f, const Step& s) noexcept;
#include "ir/opcodes.inc"
#undef OP
}  // namespace ops

}  // namespace panda::interp
