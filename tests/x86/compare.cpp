#include "compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "guest/x86/state.h"

namespace panda::x86test {

std::string differences(const Result& want, const Result& got, uint32_t undefined, Mode mode, bool ran_before) {
  static const char* const kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  std::string text;
  if (want.outcome != got.outcome) {
    return fmt::format("  outcome: want {} got {}\n", static_cast<int>(want.outcome), static_cast<int>(got.outcome));
  }
  const bool fault = want.outcome != Outcome::Done;
  if (fault && want.vector >= 0 && got.vector >= 0 &&
      (want.vector != got.vector || want.error != got.error || want.cr2 != got.cr2)) {
    text += fmt::format("  exception: want {} error {:#x} cr2 {:#x} got {} {:#x} {:#x}\n", want.vector, want.error,
                        want.cr2, got.vector, got.error, got.cr2);
  }
  const unsigned gprs = mode == Mode::Long64 ? 16 : 8;
  for (unsigned i = 0; i < gprs; i++) {
    if (want.state.gpr[i] != got.state.gpr[i]) {
      text += fmt::format("  {}: want {:#x} got {:#x}\n", kNames[i], want.state.gpr[i], got.state.gpr[i]);
    }
  }
  const uint64_t flags = (x86::kArithmeticFlags | x86::kDF_) & ~(fault && !ran_before ? 0u : undefined);
  if (((want.state.rflags ^ got.state.rflags) & flags) != 0) {
    text += fmt::format("  flags: want {:#x} got {:#x}\n", want.state.rflags & flags, got.state.rflags & flags);
  }
  if (want.state.rip != got.state.rip) {
    text += fmt::format("  rip: want {:#x} got {:#x}\n", want.state.rip, got.state.rip);
  }
  if (want.state.data != got.state.data) {
    for (size_t i = 0; i < want.state.data.size(); i++) {
      if (want.state.data[i] != got.state.data[i]) {
        text +=
            fmt::format("  memory {:#x}: want {:#04x} got {:#04x}\n", kData + i, want.state.data[i], got.state.data[i]);
        break;
      }
    }
  }
  const auto field = [&](const char* what, size_t at, size_t n) {
    uint64_t a = 0, b = 0;
    std::memcpy(reinterpret_cast<uint8_t*>(&a), &want.state.fx[at], n);
    std::memcpy(reinterpret_cast<uint8_t*>(&b), &got.state.fx[at], n);
    if (a != b) text += fmt::format("  {}: want {:#x} got {:#x}\n", what, a, b);
  };
  field("fcw", 0, 2);
  field("fsw", 2, 2);
  field("ftw", 4, 1);
  field("mxcsr", 24, 4);
  for (unsigned i = 0; i < 8; i++) {
    field("st low", 32 + 16 * i, 8);
    field("st high", 40 + 16 * i, 2);
  }
  for (unsigned i = 0; i < gprs; i++) {
    field("xmm low", 160 + 16 * i, 8);
    field("xmm high", 168 + 16 * i, 8);
    if (!std::equal(&want.state.ymm_high[16 * i], &want.state.ymm_high[16 * i] + 16, &got.state.ymm_high[16 * i])) {
      uint64_t v[4];
      std::memcpy(v, &want.state.ymm_high[16 * i], 16);
      std::memcpy(v + 2, &got.state.ymm_high[16 * i], 16);
      text += fmt::format("  upper half of ymm{}: want {:016x}{:016x} got {:016x}{:016x}\n", i, v[1], v[0], v[3], v[2]);
    }
  }
  return text;
}

}  // namespace panda::x86test
