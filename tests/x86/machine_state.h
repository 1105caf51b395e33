// What an instruction test sets before and compares after: one struct for every executor (host CPU,
// our engine on each back end).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace panda::x86test {

// Addresses that are the same in every executor: identity-mapped on the host, so that the host CPU
// runs with them too.
inline constexpr uint64_t kCode = 0x2000'0000;  // one page
inline constexpr uint64_t kData = 0x2001'0000;  // kDataBytes, read and write; what follows is not mapped
inline constexpr unsigned kDataBytes = 0x2000;
inline constexpr uint64_t kPage = 0x1000;
inline constexpr uint64_t kReadOnly = 0x2002'0000;  // one page, not writable
inline constexpr uint64_t kScratch = 0x2004'0000;   // one page that only a program's own counters are in

struct MachineState {
  std::array<uint64_t, 16> gpr{};  // RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
  uint64_t rip = kCode;
  uint64_t rflags = 2;
  alignas(16) std::array<uint8_t, 512> fx{};  // FXSAVE64 image: x87, MMX, XMM, MXCSR
  std::array<uint8_t, 256> ymm_high{};        // upper halves of YMM0 to YMM15
  std::vector<uint8_t> data;                  // at kData
};

// How an execution ended, in the terms that all executors can tell.
enum class Outcome : uint8_t { Done, DivideError, Invalid, Protection, FpError, Trap, Alignment, Stack, Other };

// What may be done with the second page of the data area.
enum class PageAccess : uint8_t { Writable, ReadOnly, Absent, Supervisor };

struct Result {
  Outcome outcome = Outcome::Done;
  int vector = -1;     // of the exception, where the executor knows it, and what comes with it
  uint32_t error = 0;  // (0 for exceptions without an error code)
  uint64_t cr2 = 0;    // of a page fault
  MachineState state;
};

enum class Mode : uint8_t { Long64, Protected32 };

class Executor {
 public:
  virtual ~Executor() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  // Runs one instruction at kCode (always with user privilege). On a fault, the state at its start.
  virtual Result run(const std::vector<uint8_t>& code, const MachineState& before) = 0;
};

}  // namespace panda::x86test
