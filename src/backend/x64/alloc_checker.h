// Follows the register allocator's events symbolically: which value is in each register, spill slot
// and guest-state slot. Every use must find the value that the IR says; what a set bound must be in
// guest state wherever something may look (ends of blocks, helpers), and wherever a slow path may
// leave it must be among what that is told to write.
//
// Of a unit that carries slots round a loop in registers, a round must end with each of them where its
// head takes it from, and the rest in memory.
//
// What it does not see: the emitters' own instructions between the events, and F80 values and slots (they
// live on the host's x87 stack, x87_stack.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backend/x64/alloc_events.h"

namespace panda::x64 {

class AllocChecker final : public AllocListener {
 public:
  void begin_unit(const ir::Unit& unit) override;
  void event(const AllocEvent& event) override;
  void slow_path(std::span<const SlowBinding> bindings) override;

  void finish();  // the unit is complete
  // The first thing that was wrong in this unit; empty: nothing.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] uint64_t events() const { return events_; }

 private:
  // Values are numbered as in the IR; beyond them, what a slot held when nothing in the block had
  // set it yet, or a helper may have left there.
  using Symbol = uint32_t;
  static constexpr Symbol kNothing = ~Symbol{0};

  struct Slot {
    Symbol means = kNothing;   // what the guest's state is
    Symbol memory = kNothing;  // what stands there
    int carried_in = -1;       // round the loop, in this register
    bool set_in_loop = false;
  };

  [[nodiscard]] Symbol name(ir::ValueId v) const { return names_[v]; }
  Slot& slot(uint32_t offset);
  Symbol& spill(uint32_t place);
  void expect(Symbol found, ir::ValueId value, const char* where, uint32_t number);
  void begin_op(uint32_t index);
  void call();
  void expect_in_memory(uint32_t begin, uint32_t end);
  void loop_head();
  void loop_back();
  void fail(std::string text);

  const ir::Unit* unit_ = nullptr;
  std::vector<Symbol> names_;
  Symbol next_ = 0;
  Symbol regs_[32] = {};
  std::map<uint32_t, Symbol> spills_;
  std::map<uint32_t, Slot> slots_;
  uint32_t op_ = 0;
  bool blind_ = false;
  std::string problem_;
  uint64_t events_ = 0;
};

}  // namespace panda::x64
