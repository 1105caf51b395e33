// What the register allocator tells a listener about the moves it emits and the answers it gives
// emitters, so that it can be checked (alloc_checker.h). Without a listener: one test of a null pointer.
#pragma once

#include <cstdint>
#include <span>

#include "backend/x64/frame.h"
#include "ir/ir.h"

namespace panda::x64 {

struct AllocEvent {
  enum Kind : uint8_t {
    Block,      // value: index in Unit::blocks; nothing is in a register
    Op,         // value: the op that is lowered now
    LoadConst,  // value into reg
    LoadSpill,  // value into reg from spill slot `place`
    LoadSlot,   // value into reg from guest state at `place`
    Copy,       // reg := from
    Spill,      // spill slot `place` := reg
    StoreSlot,  // guest state at `place` := value, from reg (-1: a constant)
    Use,        // an emitter reads value in reg
    Take,       // an emitter overwrites reg, which holds value
    Clobber,    // an emitter writes reg
    Define,     // value is in reg now
    UseSpill,   // an emitter reads value in spill slot `place`
    UseSlot,    // an emitter reads value in guest state at `place`
    Alias,      // value is another name for value `from`
    Call,       // caller-saved registers are gone
    Carry,      // value: the first get of guest state at `place`, which the loop carries in reg; from: is it set there
    LoopHead,   // behind the loads of what is carried: here each round begins
    LoadCarried,  // reg := guest state at `place`, whatever value that is
    Exchange,     // reg and from change places
    LoopBack,     // the next round begins, or the unit is left with what is carried and set written to memory
  };
  Kind kind;
  int8_t reg = -1;
  uint32_t place = 0;  // guest-state offset or spill slot; vector spill slots: + kVectorSpill
  ir::ValueId value = ir::kNoValue;
  uint32_t from = 0;
};
inline constexpr uint32_t kVectorSpill = 1u << 16;

// A slot that the slow path of the current op is told to write.
struct SlowBinding {
  uint32_t offset;
  int reg;  // -1: constant; kLazyReg
  uint64_t constant;
  ir::ValueId value;
};

class AllocListener {
 public:
  virtual ~AllocListener() = default;
  virtual void begin_unit(const ir::Unit& unit) = 0;
  virtual void event(const AllocEvent& event) = 0;
  virtual void slow_path(std::span<const SlowBinding> bindings) = 0;
};

}  // namespace panda::x64
