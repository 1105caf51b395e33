// The system architecture, by small guest programs (guest/*.S) on both back ends: what they log.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "guest_machine.h"

namespace panda::x86test {
namespace {

using Log = std::vector<uint32_t>;
constexpr uint32_t kNone = 0xeeee;  // no error code

std::string text_of(const Log& log) {
  std::string text;
  for (size_t i = 0; i < log.size(); i++) text += fmt::format("{}{:x}", i == 0 ? "" : i % 4 == 0 ? "\n" : " ", log[i]);
  return text;
}

void expect_log(const std::string& program, const Log& expected, bool shuts_down = false) {
  for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
    GuestMachine machine(program, kind);
    machine.run();
    EXPECT_TRUE(machine.ended()) << machine.describe();
    EXPECT_EQ(machine.shut_down(), shuts_down) << machine.describe();
    EXPECT_EQ(text_of(machine.log()), text_of(expected))
        << program << (kind == BackendKind::Jit ? " on the JIT" : " interpreted");
  }
}

TEST(SystemTest, RingsGatesAndSegmentFaults) {
  expect_log("rings", {6, kNone, 8, 1,          // UD2
                       0, kNone, 8, 1,          // DIV by 0
                       3, kNone, 8, 1,          // INT3: EIP behind it
                       4, kNone, 8, 1,          // INTO
                       5, kNone, 8, 1,          // BOUND
                       13, 0x78, 8, 1,          // selector beyond the GDT
                       11, 0x38, 8, 1,          // FS not present
                       12, 0x38, 8, 1,          // SS not present
                       11, 0x48, 8, 1,          // code not present
                       13, 0, 8, 1,             // 16-byte segment: read across its end
                       13, 0, 8, 1,             // write beyond it
                       13, 0, 8, 1,             // expand-down: below
                       13, 0, 8, 1,             // read-only
                       13, 0, 8, 1,             // null selector
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

TEST(SystemTest, LongModePagingAndSyscall) {
  expect_log("long", {0xd01,                                  // EFER: LMA too
                      14,       0,        0x100000, 0x30, 1,  // read, not present
                      14,       2,        0x100008, 0x30, 1,  // write, not present
                      1,                                      // a read-only page without CR0.WP
                      14,       3,        0x101004, 0x30, 1,  // and with it
                      14,       0x11,     0x103000, 0x30, 1,  // execute disable
                      14,       0x10,     0x100010, 0x30, 1,  // fetch, not present
                      14,       9,        0x105000, 0x30, 1,  // a reserved bit
                      13,       0,        0x30,     1,        // not canonical
                      12,       0,        0x30,     1,        // the same by the stack segment
                      14,       0x11,     0x102000, 0x30, 1,  // SMEP
                      14,       1,        0x102000, 0x30, 1,    14, 3, 0x102000, 0x30, 1,  // SMAP
                      0xc3,                                                                // with EFLAGS.AC
                      0x101061, 0x104005,                                                  // accessed and dirty bits
                      14,       5,        0x101000, 0x4b, 1,                               // ring 3: a supervisor page
                      14,       4,        0x100000, 0x4b, 1,                               // not present
                      14,       7,        0x104000, 0x4b, 1,                               // write to a read-only page
                      13,       0,        0x4b,     1,                                     // CLI
                      0x40002,  0x202,    0,        0x30, 0x38,  // SYSCALL: RCX, R11, IF, CS, SS
                      0x63,     0x5b,                            // SYSRET: CS, SS
                      0,        0,        4});                   // compatibility mode
}

TEST(SystemTest, TrapsAndInterruptShadows) {
  constexpr uint32_t kSingleStep = 0x4000;                    // DR6.BS
  expect_log("traps", {2,    kSingleStep, 3,    kSingleStep,  // from the second instruction behind POPF on
                       3,    kSingleStep, 3,    kSingleStep, 5,  kSingleStep,  // REP MOVSB: each iteration
                       8,    kSingleStep,                                      // MOV SS and the next one: a single trap
                       11,   kSingleStep,                                      // behind INT and IRET
                       12,   kSingleStep, 19,   kSingleStep, 20, kSingleStep, 0x40, 3,  // behind STI and one more
                       0x40, 9,                     // STI, CLI: not; POPF has no shadow
                       0x40, 2,                     // behind OUT
                       0,    0x67e8,      0x40, 2,  // STI, HLT: behind HLT
                       0x77});
}

TEST(SystemTest, DebugRegisters) {
  constexpr uint32_t kDr6 = 0xffff0ff0, kB0 = kDr6 | 1, kB1 = kDr6 | 2, kB2 = kDr6 | 4;
  constexpr uint32_t kBd = kDr6 | 0x2000, kBs = kDr6 | 0x4000;
  expect_log("debug", {0, kB0,     0,                                    // an instruction
                       0, kB0,     0, 0,      kB0,       0, 0,  kB0, 0,  // in a loop
                       0, kB0,     0, 0,                                 // REP MOVSB: at its start alone
                       0, kB0,     0, 6,      kNone,     8, 1,           // before the instruction's own fault
                       5, kB1,     0, 10,     kB1,       0, 25, kB1, 0,  // writes
                       6, kB1,     0,                                    // a read and a write
                       5, kB1,     0, 10,     kB1,       0, 22, kB1, 0,  // reads
                       5, kB1,     0,                                    // eight bytes
                       1, kB1,     0,                                    // PUSH
                       0, kB1,     0, 0x6108, 0,                         // REP STOSB
                       7, kB1,     0, 0x66,                              // next to code
                       7, kB1,     0,                                    // behind MOV SS and one more
                       8, kBs | 2, 0, 10,     kBs,       0, 11, kBs, 0,  // with single-step
                       3, kBs,     0, 5,      kBs,       0, 6,  kBs, 0,  // POP SS
                       2, kB2,     0, 4,      kB2,       0, 8,  kB2, 0,  // ports
                       6, kNone,   8, 1,      0x6000430,                 // DR4 and DR5
                       0, kBd,     1, 0x400,  0x77});                    // DR7.GD
}

TEST(SystemTest, SelfModifyingCode) {
  expect_log("smc", {0x11,
                     2682,                                            // the sum of (1 + i) & 63 for 100 times
                     0x44332211, 0x55332211, 0x55332266, 0x04030201,  // an instruction on two pages
                     8,                                               // REP STOSB over what follows
                     8 + 1225,                                        // a function replaced 50 times
                     210});
}

TEST(SystemTest, AvxState) {
  expect_log(
      "avx",
      {6,          kNone,      8,          1,          6,  kNone, 8, 1, 6, kNone, 8, 1,  // CR4.OSXSAVE clear
       6,          kNone,      8,          1,          6,  kNone, 8, 1,                  // XCR0 without AVX
       13,         0,          8,          1,          13, 0,     8, 1,  // XSETBV: AVX alone, a bit that is not there
       576,        832,        832,        7,                            // CPUID: enabled, possible, enabled; XCR0
       7,          kNone,      8,          1,                            // CR0.TS
       0x11111111, 0x44444444, 0x11111111, 0x44444444,                   // loaded; behind an SSE instruction
       7,          0x11111111, 0x44444444,                               // XSAVE: the header, the area
       0,          0,          0x11111111, 0x44444444,                   // VEX.128; XRSTOR
       0,          0,          0x11111111, 0x44444444, 0,  0,            // initialised; not asked for; VZEROUPPER
       13,         0,          8,          1,                            // XRSTOR of an unknown component
       13,         0,          8,          1,          13, 0,     8, 1,  // VMOVAPS, VMOVDQA misaligned
       0x3f800000, 0x40800000, 0,                                        // VMASKMOVPS at a segment's end
       13,         0,          8,          1});
}

TEST(SystemTest, RepeatedStrings) {
  expect_log("strings", {0,         0x1027f4, 0x1127fe,     // ECX, ESI, EDI: bytes over pages
                         0,         0x1011f4, 0x1011f7,     // overlapping
                         0,         0x10250c, 0x102512,     // backwards
                         0,         0x1019f0, 0x120a01,     // misaligned
                         0xfe0,     0x1019f0, 0x132010,     // REPE SCASB finds another byte
                         0xf8,      0x131010, 0x132010, 0,  // REPE CMPSD: ends unequal
                         0,         0x13108a, 0x132010,     // REP LODSW
                         0,         0x13108a, 0x132010,     // no iteration
                         0x5f43e787});
}

TEST(SystemTest, RandomNumbersAndUmip) {
  expect_log("random", {0xc35a6a8b, 1,  0xb242f4e5, 0x1234ca4e,         // SplitMix64 from the seed of reset
                        0x77,       3,  13,         0,          8,  1,  // XGETBV of 2
                        13,         0,  0x1b,       1,          13, 0,  0x1b, 1,    13, 0,   0x1b,
                        1,          13, 0,          0x1b,       1,  13, 0,    0x1b, 1,  0x28});  // STR without UMIP
}

TEST(SystemTest, FsGsCsLimitsAndQueries) {
  constexpr uint32_t kNo = 0xffffffff, kValue = 0x44332211;
  Log want{kValue, kValue};
  const auto faults = [&want](unsigned n) {
    for (unsigned i = 0; i < n; i++) want.insert(want.end(), {13, 0, 8, 1});
  };
  faults(7);  // a segment of 16 bytes
  want.push_back(kValue);
  faults(2);  // read-only
  faults(1);  // expand-down
  faults(2);  // null
  faults(1);  // code is not writable
  faults(1);  // REP MOVSB: ECX, ESI
  want.insert(want.end(), {16, 16});
  faults(2);  // CS
  want.insert(want.end(),
              {2,                                                      // REP LODSB from it
               0,        0x7ffc,                                       // ENTER: ESP, EBP
               12,       0,          8, 1,        0x7000,     0x1234,  // and beyond the stack
               kNo,      kNo,        0, 0xcf9300, 0xffffffff, 3,       // null, data of ring 0
               0xcff300, 0xffffffff, 3, 0x409300, 15,         3,       // of ring 3, small
               0x409100, 15,         1, 0x409700, 0xfff,      3,       // read-only, expand-down
               0xcf9900, 0xffffffff, 0, 0xcf9f00, 0xffffffff, 1,       // code: execute-only, conforming
               0x401300, 15,         3, 0x8c00,   kNo,        0,      0x8b00, 0x67, 0,  // not present, call gate, TSS
               0xc09300, 0x2fff,     3, kNo,      kNo,        0,                        // pages, beyond the GDT
               0xfc,     0x5b});                                                        // in ring 3
  expect_log("segments", want);
}

TEST(SystemTest, VirtualInterrupts) {
  expect_log("virtual", {13,      0,      0,      1,                                  // INT, not redirected
                         13,      0,      0,      1,      13,     0,      0,      1,  // PUSHFD, POPF with TF
                         3,       kNone,  0,      1,                                  // INT3
                         0x3002,  0x3202, 0x3002, 0x3202, 0x3202, 0x3002, 0x3202,     // PUSHF's images
                         13,      0,      0,      1,      13,     0,      0,      1,  // STI and POPF with VIP
                         0x3002,  0x3202,             // with IOPL 3: in the handler, behind it
                         128,     kNone,  0,      1,  // through the gate
                         0x80202, 0x202,              // PVI: STI, CLI
                         13,      0,      0x1b,   1,      13,     0,      0x1b,   1});  // neither
}

TEST(SystemTest, FpuAvailabilityAndAlignment) {
  Log want;
  for (unsigned cr0 = 0; cr0 < 16; cr0 += 2) {
    const bool mp = (cr0 & 2) != 0, em = (cr0 & 4) != 0, ts = (cr0 & 8) != 0;
    const uint32_t x87 = em || ts ? 7 : 0, simd = em ? 6 : ts ? 7 : 0;
    // FNOP, FWAIT, FNSTSW, PADDB, EMMS, ADDPS, LDMXCSR, MOVNTI, FXSAVE, SFENCE, CVTPI2PS
    want.insert(want.end(), {x87, mp && ts ? 7u : 0u, x87, simd, simd, simd, simd, 0, x87, 0, simd});
  }
  want.insert(want.end(), {6,  0,      0,                             // no OSFXSR: ADDPS, FXSAVE, MOVNTI
                           0,  0,      16,     16,         16, 0, 0,  // an x87 division by zero and what follows
                           6,  19,     0x1d84, 0x3f800000,     // an SSE one, without and with OSXMMEXCPT; MXCSR, result
                           19, 0x1790, 0,                      // tiny and exact; MXCSR; MINSS
                           19, 0x1f01,                         // DPPS; MXCSR
                           0,                                  // AC in ring 0
                           17, 17,     17,     0,          0,  // MOV in ring 3
                           17, 17,     13,     13,         13,  // MOVQ, MOVUPS, MOVAPS, ADDPS
                           17, 17,     17,     17,              // CMPXCHG8B, FLD, INC, PUSH
                           0,  13});                            // without AC
  expect_log("fpu", want);
}

TEST(SystemTest, NestedFaults) {
  const Log want{8,        0,    8,        1,        // #GP, #GP
                 13,       0x33, 8,        1,        // #UD, #GP: the latter
                 14,       0,    0x500000, 8,    1,  // #PF
                 8,        0,    8,        1,        // #PF, #GP
                 8,        0,    8,        1,        // #PF, #PF
                 0x400000,                           // CR2 of the second
                 0,        0x28, 0,        0x38,     // a task gate: error code, link, EIP, TR
                 0x55};                              // and back; at the end, a triple fault
  expect_log("faults", want, true);
}

TEST(SystemTest, TasksAndVirtual8086) {
  expect_log("tasks", {0x4000, 0x2bb2,  0x28,   8,       0x38,          // by CALL: NT, EBX, link, CR0.TS, TR
                       0x1234, 0x5000,  0x8b,   0x89,                   // back by IRET: EBX, ESI, types of both TSSs
                       0x4321, 0x38,    0,                              // by JMP: EBX as left, TR, NT
                       0x99,   0x89,    8,                              // and back
                       13,     0x28,    8,      1,                      // a busy task
                       0,      25,      0,      0x23202, 0x100, 0x600,  // INT from virtual-8086 mode: DS, the frame
                       0x4444, 0x123,   0x2222, 0x1111,                 // ES DS FS GS
                       0xcafe, 0x155aa,                                 // EBX, EDX
                       0x3002,                                          // flags after CLI
                       13,     0,       0,      1});                    // INT with IOPL 0
}

}  // namespace
}  // namespace panda::x86test
