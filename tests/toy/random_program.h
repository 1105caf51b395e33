// Random toy programs, with stores into their own code, faults, devices, calls and interrupts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

#include "toy_isa.h"

namespace panda::toy {

inline constexpr uint32_t kCodeBegin = 0x300, kCodeEnd = 0x600, kData = 0x8000;

class Generator {
 public:
  // calm: no stores into code, no devices, hardly a fault, so that the same code runs time and again.
  explicit Generator(uint64_t seed, bool calm = false) : random_(seed), calm_(calm) {}

  std::vector<uint8_t> program() {
    Assembler a;
    a.emit(Insn::sti);
    a.branch(Insn::jmp, 0, 0, kCodeBegin);
    a.pad_to(kExceptionVector);  // counts the fault, and starts the code again from anywhere
    a.emit(Insn::li, 6, 0, kCodeBegin + 4 * pick((kCodeEnd - kCodeBegin) / 4));
    a.emit(Insn::addi, 5, 5, 1);
    a.emit(Insn::sti);
    a.emit(Insn::jalr, 4, 6);
    a.pad_to(kInterruptVector);
    a.emit(Insn::addi, 7, 7, 1);
    a.emit(Insn::out, 7, 0, 3);
    a.emit(Insn::iret);
    a.pad_to(kCodeBegin);
    while (a.here() < kCodeEnd) insn(a);
    a.branch(Insn::jmp, 0, 0, kCodeBegin);
    return a.bytes();
  }

  std::vector<uint64_t> interrupts(uint64_t end) {
    std::vector<uint64_t> at;
    for (uint64_t t = pick(100); t < end; t += 1 + pick(300)) at.push_back(t);
    return at;
  }

  uint32_t pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

 private:
  unsigned reg() { return pick(6); }

  void insn(Assembler& a) {
    constexpr uint32_t kCalm[] = {0, 2, 3, 4, 5, 5, 11, 11, 11, 12, 13, 23};
    switch (calm_ ? kCalm[pick(std::size(kCalm))] : pick(24)) {
      case 0:
        return a.emit(Insn::li, reg(), 0, pick(0x10000));
      case 1:
        return a.emit(Insn::lih, reg(), 0, pick(3) == 0 ? pick(0x10000) : 0);
      case 2:
        return a.emit(Insn::mul, reg(), reg(), reg());
      case 3:
        return a.emit(Insn::sub, reg(), reg(), reg());
      case 4:
        return a.emit(Insn::xor_, reg(), reg(), reg());
      case 5:  // a place in the data
        a.emit(Insn::li, 6, 0, kData - 0x8000 + 0x4000 + 4 * pick(16));
        return a.emit(pick(2) == 0 ? Insn::load : Insn::store, reg(), 6, 4 * pick(4));
      case 6:  // a place in the code: an instruction like those here
        a.emit(Insn::li, 6, 0, kCodeBegin + 4 * pick((kCodeEnd - kCodeBegin) / 4));
        a.emit(Insn::load, 3, 6, 0);
        a.emit(Insn::li, 6, 0, kCodeBegin + 4 * pick((kCodeEnd - kCodeBegin) / 4));
        return a.emit(Insn::store, 3, 6, 0);
      case 7:
        return a.emit(Insn::loadb, reg(), reg(), pick(8));  // anywhere: RAM, device, fault
      case 8:
        return a.emit(Insn::load, reg(), reg(), pick(8));
      case 9:
        a.emit(Insn::li, 6, 0, pick(0x100));
        a.emit(Insn::lih, 6, 0, 0x10);
        return a.emit(Insn::store, reg(), 6, 4 * pick(8));
      case 10:
        return a.emit(pick(2) == 0 ? Insn::in : Insn::out, reg(), 0, pick(8));
      case 11:
      case 12:
        return a.emit(pick(2) == 0 ? Insn::beq : Insn::bne, reg(), reg(), near_target(a));
      case 13:
        return a.emit(Insn::jmp, 0, 0, near_target(a));
      case 14:
        a.emit(Insn::li, 6, 0, kCodeBegin + 4 * pick((kCodeEnd - kCodeBegin) / 4));
        return a.emit(Insn::jalr, 4, 6);
      case 15:
        return a.emit(pick(20) == 0 ? Insn::trap : Insn::add, reg(), reg(), reg());
      default:
        return a.emit(pick(2) == 0 ? Insn::add : Insn::addi, reg(), reg(), reg());
    }
  }

  uint32_t near_target(const Assembler& a) {
    const uint32_t low = std::max(kCodeBegin, a.here() - 60);
    const uint32_t target = low + 4 * pick(30);
    return std::min(target, kCodeEnd) - a.here();
  }

  std::mt19937_64 random_;
  bool calm_;
};

}  // namespace panda::toy
