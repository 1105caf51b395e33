// The system architecture, by small guest programs (guest/*.S) on both back ends: what they log.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "guest_machine.h"

namespace panda::x86test {
namespace {

using Log = std::vector<uint32_t>;
constexpr uint32_t kNone = 0xeeee;  // no error code

struct Program {
  std::string name;
  Log expected;
};

std::string text_of(const Log& log) {
  std::string text;
  for (size_t i = 0; i < log.size(); i++) text += fmt::format("{}{:x}", i == 0 ? "" : i % 4 == 0 ? "\n" : " ", log[i]);
  return text;
}

void expect_log(const std::string& program, const Log& expected) {
  for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
    GuestMachine machine(program, kind);
    machine.run();
    EXPECT_TRUE(machine.ended()) << machine.describe();
    EXPECT_FALSE(machine.shut_down()) << machine.describe();
    EXPECT_EQ(text_of(machine.log()), text_of(expected)) << program << (kind == BackendKind::Jit ? " on the JIT" : " interpreted");
  }
}

TEST(SystemTest, RingsGatesAndSegmentFaults) {
  expect_log("rings", {
      6, kNone, 8, 1,        // UD2
      0, kNone, 8, 1,        // DIV by 0
      3, kNone, 8, 1,        // INT3: EIP behind it
      4, kNone, 8, 1,        // INTO
      5, kNone, 8, 1,        // BOUND
      13, 0x78, 8, 1,        // selector beyond the GDT
      11, 0x38, 8, 1,        // FS not present
      12, 0x38, 8, 1,        // SS not present
      11, 0x48, 8, 1,        // code not present
      13, 0, 8, 1,           // 16-byte segment: read across its end
      13, 0, 8, 1,           // write beyond it
      13, 0, 8, 1,           // expand-down: below
      13, 0, 8, 1,           // read-only
      13, 0, 8, 1,           // null selector
      13, 0x90 * 8 + 2, 8, 1,  // INT through an empty gate
      13, 0xff * 8 + 2, 8, 1,
      // ring 3
      13, 0, 0x1b, 1, 13, 0, 0x1b, 1, 13, 0, 0x1b, 1,  // CLI, HLT, MOV from CR0
      13, 32 * 8 + 2, 0x1b, 1,                         // INT through a gate of ring 0
      128, kNone, 0x1b, 1,                             // and one of ring 3
      13, 0, 0x1b, 1,                                  // MOV from CR3
      13, 0x10, 0x1b, 1,                               // DS of ring 0
      13, 8, 0x1b, 1,                                  // far call into ring 0
      13, 0, 0x1b, 1,                                  // IN with IOPL 0
      0x2222, 0x1111, 0x1b, 8,                         // the call gate
      0x202, 0x200, static_cast<uint32_t>(-8), 0x1b,   // flags, flags after POPF, ESP change, CS
      0x7800, 8, 0,                                    // SYSENTER: ESP, CS, IF
      0x1b, 0x5000, 0x23});                            // SYSEXIT
}

}  // namespace
}  // namespace panda::x86test
