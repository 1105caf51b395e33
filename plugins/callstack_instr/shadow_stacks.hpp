// Shadow call stacks: for each stack of the guest, the calls that are running on it.
//
// A frame is known by its slot, the address where its return address lies. Stacks grow downwards, so a
// frame whose slot is below the stack pointer has returned, however that came about: by ret, by longjmp,
// by a stack that is used anew from its top. Returns need not be seen for the callers to be right.
//
// Which stack it is, the stack pointer says. The kernel's stacks are aligned blocks, the same for all
// address spaces (Linux: 16 KiB on x86_64, 8 KiB on i386). A program's stacks are told apart by distance:
// one that moved further than kReach from all slots seen on a stack is on another one.
//
// What was left behind on a stack that is used anew (a new process with an old page table's address)
// is noticed when the stack is come back to: a frame whose return address is no longer in its slot is
// dropped. That is asked for only where stacks change, not at each call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <unordered_map>
#include <vector>

namespace callstack {

template <typename Word>
struct Frame {
  Word slot;      // where the return address lies
  Word ret;       // the return address
  Word function;  // what was called
};

template <typename Word>
struct Stack {
  Word base;                        // the first slot seen
  Word low, high;                   // of all slots seen
  std::vector<Frame<Word>> frames;  // outermost first: slots descend

  void returned_to(Word sp) {
    while (!frames.empty() && frames.back().slot < sp) frames.pop_back();
  }
};

template <typename Word>
struct Place {
  Word asid;
  Word sp;
  bool kernel;
};

// Holds: bool(const Frame<Word>&), whether guest memory still has the frame's return address in its slot.
template <typename Word, typename Holds>
class ShadowStacks {
 public:
  static constexpr Word kReach = 64 << 10;
  static constexpr unsigned kKernelStackBits = sizeof(Word) == 8 ? 14 : 13;

  explicit ShadowStacks(Holds holds) : holds_(std::move(holds)) {}

  // The stack at this place, without the frames that have returned; nullptr where no call was seen yet.
  Stack<Word>* at(const Place<Word>& place) {
    Stack<Word>* stack = here(place) ? current_ : switch_to(place);
    if (stack != nullptr) stack->returned_to(place.sp);
    return stack;
  }

  // A call was made: place.sp is the slot of its return address.
  Stack<Word>& call(const Place<Word>& place, Word ret, Word function) {
    Stack<Word>* stack = here(place) ? current_ : switch_to(place);
    if (stack == nullptr) stack = create(place);
    while (!stack->frames.empty() && stack->frames.back().slot <= place.sp) stack->frames.pop_back();
    stack->low = std::min(stack->low, place.sp);
    stack->high = std::max(stack->high, place.sp);
    stack->frames.push_back({place.sp, ret, function});
    return *stack;
  }

  // A ret was executed and place.sp is behind the return address that it took: the frame it returned from. False:
  // it returned from none, or to elsewhere (a return address that was written to be jumped to).
  bool ret(const Place<Word>& place, Frame<Word>& from) {
    Stack<Word>* stack = here(place) ? current_ : switch_to(place);
    if (stack == nullptr) return false;
    bool found = false;
    for (; !stack->frames.empty() && stack->frames.back().slot < place.sp; stack->frames.pop_back()) {
      from = stack->frames.back();
      found = true;
    }
    return found && holds_(from);
  }

  [[nodiscard]] size_t count() const { return count_; }

 private:
  [[nodiscard]] bool here(const Place<Word>& place) const {
    if (current_ == nullptr || place.kernel != kernel_now_) return false;
    if (place.kernel) return block_of(place.sp) == block_now_;
    return place.asid == asid_now_ && reaches(*current_, place.sp);
  }

  // An empty stack's pointer is just behind its block.
  static Word block_of(Word sp) { return static_cast<Word>(sp - 1) >> kKernelStackBits; }
  static bool reaches(const Stack<Word>& stack, Word sp) { return distance(stack, sp) <= kReach; }
  static Word distance(const Stack<Word>& stack, Word sp) {
    return sp < stack.low ? stack.low - sp : sp > stack.high ? sp - stack.high : 0;
  }

  Stack<Word>* switch_to(const Place<Word>& place) {
    kernel_now_ = place.kernel;
    asid_now_ = place.asid;
    block_now_ = block_of(place.sp);
    current_ = find(place);
    if (current_ != nullptr) drop_stale_top(*current_, place.sp);
    return current_;
  }

  // Of the frames that have not returned, the innermost that are no longer in memory.
  void drop_stale_top(Stack<Word>& stack, Word sp) {
    auto& frames = stack.frames;
    auto end = frames.end();
    while (end != frames.begin() && std::prev(end)->slot < sp) --end;
    auto begin = end;
    while (begin != frames.begin() && !holds_(*std::prev(begin))) --begin;
    frames.erase(begin, end);
  }

  Stack<Word>* find(const Place<Word>& place) {
    if (place.kernel) {
      const auto found = kernel_.find(block_now_);
      return found == kernel_.end() ? nullptr : found->second.get();
    }
    const auto found = user_.find(place.asid);
    if (found == user_.end()) return nullptr;
    Stack<Word>* nearest = nullptr;
    for (const auto& stack : found->second) {
      if (reaches(*stack, place.sp) &&
          (nearest == nullptr || distance(*stack, place.sp) < distance(*nearest, place.sp))) {
        nearest = stack.get();
      }
    }
    return nearest;
  }

  Stack<Word>* create(const Place<Word>& place) {
    auto made = std::make_unique<Stack<Word>>(Stack<Word>{place.sp, place.sp, place.sp, {}});
    current_ = made.get();
    count_++;
    if (place.kernel) {
      kernel_[block_now_] = std::move(made);
    } else {
      user_[place.asid].push_back(std::move(made));
    }
    return current_;
  }

  Holds holds_;
  std::unordered_map<Word, std::unique_ptr<Stack<Word>>> kernel_;             // by block
  std::unordered_map<Word, std::vector<std::unique_ptr<Stack<Word>>>> user_;  // by ASID
  Stack<Word>* current_ = nullptr;
  size_t count_ = 0;
  bool kernel_now_ = false;
  Word asid_now_ = 0;
  Word block_now_ = 0;
};

}  // namespace callstack
