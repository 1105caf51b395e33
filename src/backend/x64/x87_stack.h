// Which F80 value lies where on the host's x87 stack, and which guest-state slot is bound to which
// value. The guest's x87 registers thus stay on the host's stack within a block: FXCH is a change
// of bindings, a slot is written when the stack is flushed, and a slow path saves the whole (FNSAVE).
//
// The stack is empty, and the host's control word its own, outside of a region: from the first F80
// op of a block to the flush at its end or before a call.
//
// Flags and C1 stay in the host's status word, behind what the status slot says, until they are
// synchronised. The host's exception flags are always among the guest's or raised since the last
// synchronisation, so that synchronising is an OR. An instruction that only moves values about clears
// C1: such ones come before an op that sets C1 anyway, or c1_in_host() is asked first.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "backend/x64/assembler.h"
#include "backend/x64/reg_alloc.h"
#include "ir/ir.h"

namespace panda::x64 {

inline constexpr int kHostStack = 8;

// An arithmetic instruction's encodings (SDM vol. 2, D8 to DF). With the operands in ST(0) and ST(i):
struct X87Arith {
  uint8_t d8;          // ST(0) = ST(0) op ST(i)
  uint8_t d8_reverse;  // ST(0) = ST(i) op ST(0)
  uint8_t dc;          // ST(i) = ST(i) op ST(0); DE: and pop
  uint8_t dc_reverse;  // ST(i) = ST(0) op ST(i)
};
inline constexpr X87Arith kX87Add{0xc0, 0xc0, 0xc0, 0xc0}, kX87Mul{0xc8, 0xc8, 0xc8, 0xc8},
    kX87Sub{0xe0, 0xe8, 0xe8, 0xe0}, kX87Div{0xf0, 0xf8, 0xf8, 0xf0};

class X87Stack {
 public:
  X87Stack(Assembler& assembler, const RegAlloc& ra) : c_(assembler), ra_(ra) {}

  void begin_unit(const ir::Unit& unit);
  void begin_block();
  void begin_op(uint32_t index);

  // --- bindings
  void get(ir::ValueId v, uint64_t offset);
  [[nodiscard]] bool set_moves(ir::ValueId v, uint64_t offset) const;  // will set() emit anything?
  void set(ir::ValueId at, uint64_t offset, ir::ValueId v);
  // The op before this `set` of its result makes room in the slot, since nothing can come between.
  void release_slot_of_result(ir::ValueId result);

  // --- values
  [[nodiscard]] bool on_stack(ir::ValueId v) const { return index_of(root(v)) >= 0; }
  [[nodiscard]] int st(ir::ValueId v) const { return index_of(root(v)); }
  void ensure(ir::ValueId v);
  // An instruction's preparation: drops what nobody needs from the top, and `room` makes place for a push.
  void prepare(bool room);
  // v alone in ST(0), to be overwritten by the result: a copy where v is needed further.
  void take_top(ir::ValueId v);
  // v in ST(0), to be read.
  void bring_top(ir::ValueId v);
  void binary(ir::ValueId result, ir::ValueId a, ir::ValueId b, const X87Arith& arith);
  void define_top(ir::ValueId result);   // ST(0), taken before, now holds it
  void define_push(ir::ValueId result);  // an instruction has pushed it
  void popped();                         // an instruction has popped ST(0), taken before
  [[nodiscard]] bool needed_later(ir::ValueId v) const;

  // --- regions
  void enter();  // the guest's control word is loaded from here on
  [[nodiscard]] bool active() const { return entered_; }
  void flush();  // everything into its slots; the status must be synchronised
  struct Dirty {
    uint32_t offset;
    int st;
  };
  [[nodiscard]] std::vector<Dirty> dirty() const;

  // --- the status word
  static constexpr unsigned kC1 = 0x200, kConditions = 0x4500, kFlags = 0x3f;
  void raised() { flags_ = true, c1_ = C1::Host; }  // the last instruction may have raised flags, and set C1
  void cleared_c1(bool flags = false) { c1_ = C1::Zero, flags_ |= flags; }
  void compared() { flags_ = conditions_ = true, c1_ = C1::Zero; }
  void examined() { conditions_ = true, c1_ = C1::Host; }
  [[nodiscard]] bool c1_in_host() const { return c1_ == C1::Host; }
  [[nodiscard]] bool status_pending() const { return flags_ || conditions_ || c1_ != C1::Slot; }
  [[nodiscard]] unsigned taken() const {
    return (flags_ ? kFlags : 0) | (conditions_ ? kConditions : 0) | (c1_ == C1::Host ? kC1 : 0);
  }
  [[nodiscard]] unsigned replaced() const { return (conditions_ ? kConditions : 0) | (c1_ != C1::Slot ? kC1 : 0); }
  void synchronised() { flags_ = conditions_ = false, c1_ = C1::Slot; }

 private:
  enum class C1 : uint8_t { Slot, Zero, Host };  // where the guest's C1 is
  struct Slot {
    uint32_t offset;
    ir::ValueId value = ir::kNoValue;  // a root
    bool dirty = false;
    bool read_again = false;
  };
  struct Record {
    ir::ValueId root = ir::kNoValue;
    uint32_t last_use = 0;
    int16_t spill = -1;
  };

  [[nodiscard]] ir::ValueId root(ir::ValueId v) const { return records_[v].root; }
  [[nodiscard]] int index_of(ir::ValueId root) const;
  Slot& slot(uint64_t offset);
  [[nodiscard]] bool dirty_bound(ir::ValueId root) const;
  [[nodiscard]] bool wanted_clean(ir::ValueId root) const;
  [[nodiscard]] bool clean_bound(ir::ValueId root) const;
  [[nodiscard]] bool dies(ir::ValueId root) const;
  [[nodiscard]] bool garbage(ir::ValueId root) const;
  void record(ir::ValueId v);
  void release(Slot& s);
  void push(ir::ValueId root) { entries_[static_cast<size_t>(depth_++)] = root; }
  ir::ValueId& entry(int st) { return entries_[static_cast<size_t>(depth_ - 1 - st)]; }
  void exchange(int st);
  void copy(int st);
  void pop_top(bool keep);  // `keep`: what is needed later goes to its slots or is spilled
  void memory_m80(int digit, int base, int displacement);
  void load_m80(int base, int displacement);
  void store_m80(int base, int displacement);
  void store_top(uint32_t offset);
  void make_room();

  Assembler& c_;
  const RegAlloc& ra_;
  const ir::Unit* unit_ = nullptr;
  uint32_t now_ = 0;
  std::vector<Record> records_;
  std::vector<Slot> slots_;
  std::array<ir::ValueId, kHostStack> entries_{};  // from the bottom
  std::array<ir::ValueId, 2> operands_{};          // of the current op: not to be moved off the stack
  int depth_ = 0;
  int spills_ = 0;
  bool entered_ = false;
  bool flags_ = false;
  bool conditions_ = false;
  C1 c1_ = C1::Slot;
};

}  // namespace panda::x64
