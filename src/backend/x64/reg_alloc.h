// The local register allocator. Emitters know four verbs: use (read a value), use_mutable (a
// register that holds the value and may be overwritten), scratch, and define (the result is in this
// register). Whatever a verb returned stays put until end_op(). Spilling, evicting and reloading
// happen inside and are no emitter's business.
//
// Guest-state slots are bound to values. `set` only binds; a dirty slot is written where its value
// is needed in memory: at block ends, before helpers, or never, if it is set again first. `get` of
// an unbound slot emits nothing either: the slot is the value's home until something uses it, so
// that it may become a memory operand.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/x64/alloc_events.h"
#include "backend/x64/assembler.h"
#include "backend/x64/frame.h"
#include "backend/x64/liveness.h"
#include "ir/ir.h"

namespace panda::x64 {

// Writes a guest-state slot: from a register or, where `reg` is negative, the constant.
void store_slot_code(Assembler& c, uint32_t offset, ir::Type type, int reg, uint64_t constant);

class RegAlloc {
 public:
  explicit RegAlloc(Assembler& assembler) : c_(assembler) {}

  void begin_unit(const ir::Unit& unit);
  void begin_block(const ir::Block& block, const AccessGroups& groups);
  void set_listener(AllocListener* listener) { listener_ = listener; }  // may be null
  void begin_op(uint32_t index) {
    now_ = index;
    tell({AllocEvent::Op, -1, 0, index, 0});
  }
  void end_op();

  [[nodiscard]] const ValueInfo& info(ir::ValueId v) const { return values_[v]; }
  [[nodiscard]] ir::Type type(ir::ValueId v) const { return unit_->insts[v].type; }
  // Constants, also seen through aliases. V128 constants are not.
  [[nodiscard]] bool is_const(ir::ValueId v, uint64_t* out = nullptr) const;
  // The value sign-extended from its type, if the instruction can hold it as imm32.
  [[nodiscard]] bool is_imm32(ir::ValueId v, int32_t* out) const;
  // Are the bits above the value's type zero in the register it has or will have?
  [[nodiscard]] bool is_zero_extended(ir::ValueId v) const;
  // Nothing needs the value after this op: use_mutable() costs no copy.
  [[nodiscard]] bool dies(ir::ValueId v) const;

  // --- the verbs. Registers: 0-15 general, 16-31 vector.
  int use(ir::ValueId v);
  int use_mutable(ir::ValueId v);
  int scratch();
  int scratch_xmm();
  int result(ir::ValueId v);  // scratch of the value's class, allocated where the value should live
  void define(ir::ValueId v, int reg, unsigned zero_from = 64);
  // A general register or, where the value is only in memory and not needed again, its address.
  // Only for reads of exactly the width of the value's type, I32 and I64.
  bool in_memory(ir::ValueId v, Xbyak::Address* out);
  // v is another name for `of`.
  void alias(ir::ValueId v, ir::ValueId of);
  // Takes this general register, moving out what is there. Call before any use() of the op.
  void fixed(int reg);
  void move(ir::ValueId v, int to);  // v into a register taken by fixed(), scratch() or result()

  // --- pointers of access groups: they may be gone whenever another op has been lowered
  [[nodiscard]] bool has_pointer(uint16_t group) const { return find_pointer(group) >= 0; }
  int pointer(uint16_t group);                               // its register, or -1
  int new_pointer(uint16_t group);                           // a register for it
  void drop_pointer(int reg) { pointers_ &= ~(1u << reg); }  // at the end of the op
  [[nodiscard]] uint32_t pointers() const { return pointers_; }
  struct Location {
    int reg;  // -1: in memory
    bool in_frame;
    int offset;
  };
  [[nodiscard]] Location location(ir::ValueId v) const;
  // One of kLookupGprs outside `taken` for out-of-line code, which must save it where it is busy: in use, and not
  // among those of `spare`.
  int cold_scratch(uint32_t taken, uint32_t spare, bool* busy) const;

  // --- guest state
  void get(ir::ValueId v, uint64_t offset);
  void set(ir::ValueId at, uint64_t offset, ir::ValueId v);
  void flush();                                     // writes all dirty slots
  void sync_for_call(const ir::HelperDesc& desc);   // before the call: writes what it may look at
  void forget_written(const ir::HelperDesc& desc);  // values that only live in slots the helper writes are loaded first
  struct Binding {
    uint16_t offset;
    ir::Type type;
    int reg;  // -1: constant; kLazyReg: lazy
    uint64_t constant;
    ir::ValueId value;
  };
  [[nodiscard]] size_t dirty_count() const { return dirty_.size(); }
  [[nodiscard]] Binding dirty(size_t i) const;
  void tell_slow_path() const;  // the bindings that the op's slow path is told to write
  // How the slow path computes a lazy value now.
  void append_tokens(ir::ValueId lazy, std::vector<LazyToken>& out) const;
  // --- loops: a unit whose one block ends by branching back to it (guest_slots.cpp)
  void begin_loop(const ir::Block& block);  // loads the carried slots; the loop's head is behind that
  void flush_not_carried();
  void dirty_slots(std::vector<Binding>& out) const;      // as they are now
  void move_to_loop_head(std::vector<Binding>& written);  // leaves the flags alone; `written`: what then is dirty
  void forget_slot(uint64_t offset);  // a set that nothing will see: the slot is free until the next one

  // --- calls: gets live values out of the registers that it changes; the registers' contents stay as
  // they are until code is emitted over them.
  void save_for_call(uint32_t clobbered);
  [[nodiscard]] int reg_of(ir::ValueId v) const { return values_[values_[v].root].reg; }
  void touch(ir::ValueId v) { touched_.push_back(values_[v].root); }
  [[nodiscard]] bool any_xmm_live() const { return (~free_ & kAllXmms) != 0; }

 private:
  struct Slot {
    ir::ValueId value = ir::kNoValue;  // a root
    ir::Type type = ir::Type::Void;
    bool dirty = false;
    bool holds = false;  // counts in the value's `holds`
    bool read_again = false;
    uint16_t dirty_position = 0;  // in dirty_
    int8_t loop_reg = -1;         // carried round the loop in this register
    bool written = false;         // carried, and set in the loop
  };

  [[nodiscard]] int find_pointer(uint16_t group) const;
  void tell(const AllocEvent& event) const {
    if (listener_ != nullptr) listener_->event(event);
  }
  int allocate(uint32_t allowed, uint32_t preferred);
  int allocate_for(ir::ValueId root);
  void evict(int reg);
  void load(ir::ValueId root, int reg);
  void lock(int reg) { locked_ |= 1u << reg; }
  void give(int reg, ir::ValueId root);
  void release(int reg);
  void kill(ir::ValueId root);
  [[nodiscard]] bool dead(const ValueInfo& v) const { return v.last_use <= now_ && v.holds == 0; }
  // As seen by what makes room: an operand of this very op may not have been used yet.
  [[nodiscard]] bool needed(const ValueInfo& v) const { return v.last_use >= now_ || v.holds != 0; }
  [[nodiscard]] bool is_konst(ir::ValueId root) const { return unit_->insts[root].op == ir::Op::konst; }
  void store_slot(uint16_t n);
  void unbind(uint16_t n);
  void make_clean(uint16_t n);
  void materialize(ir::ValueId root, int reg);
  void touch_operands(ir::ValueId lazy);
  void copy(int to, int from);

  Assembler& c_;
  AllocListener* listener_ = nullptr;
  const ir::Unit* unit_ = nullptr;
  uint32_t now_ = 0;
  Liveness liveness_;
  SlotMap slot_map_;
  std::vector<ValueInfo> values_;
  std::vector<Slot> slots_;
  std::vector<uint16_t> dirty_;
  std::vector<ir::ValueId> touched_;
  std::vector<int16_t> free_spills_[2];  // general, vector
  int next_spill_[2] = {};
  ir::ValueId value_in_[32] = {};
  uint32_t free_ = 0;
  uint32_t locked_ = 0;
  uint32_t pointers_ = 0;         // registers of access groups; no value is in them
  uint16_t pointer_in_[16] = {};  // the group's number
};

}  // namespace panda::x64
