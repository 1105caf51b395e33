// describe_registers(): `info registers`.
#include <fmt/format.h>

#include <iterator>

#include "guest/x86/fpu_state.h"
#include "guest/x86/state_io.h"
#include "guest/x86/system.h"

namespace panda::x86 {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string flag_letters(uint32_t eflags) {
  constexpr struct {
    uint32_t bit;
    char letter;
  } kLetters[] = {{kDF_, 'D'}, {kOF_, 'O'}, {kSF, 'S'}, {kZF, 'Z'}, {kAF, 'A'}, {kPF_, 'P'}, {kCF, 'C'}};
  std::string text;
  for (const auto& l : kLetters) text += (eflags & l.bit) != 0 ? l.letter : '-';
  return text;
}

void describe_general(Out out, const State& s, const Cpu& cpu) {
  const uint32_t eflags = cpu.eflags();
  const unsigned cpl = cpu.cpl();
  const unsigned smm = 0, ii = s.inhibit_irq != 0, halted = s.halted != 0;
  const unsigned a20 = (s.a20_mask >> 20) & 1;
  if (cpu.is64()) {
    constexpr const char* kNames[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                      "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
    constexpr unsigned kOrder[] = {R_EAX, R_EBX, R_ECX, R_EDX, R_ESI, R_EDI, R_EBP, R_ESP,
                                   R_R8,  R_R9,  R_R10, R_R11, R_R12, R_R13, R_R14, R_R15};
    for (unsigned i = 0; i < 16; i++) {
      fmt::format_to(out, "{}={:016x}{}", kNames[kOrder[i]], cpu.reg(kOrder[i]), i % 4 == 3 ? '\n' : ' ');
    }
    fmt::format_to(out, "RIP={:016x} RFL={:08x}", s.eip, eflags);
  } else {
    constexpr const char* kNames[] = {"EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"};
    constexpr unsigned kOrder[] = {R_EAX, R_EBX, R_ECX, R_EDX, R_ESI, R_EDI, R_EBP, R_ESP};
    for (unsigned i = 0; i < 8; i++) {
      fmt::format_to(out, "{}={:08x}{}", kNames[kOrder[i]], cpu.reg(kOrder[i]), i % 4 == 3 ? '\n' : ' ');
    }
    fmt::format_to(out, "EIP={:08x} EFL={:08x}", s.eip, eflags);
  }
  fmt::format_to(out, " [{}] CPL={} II={} A20={} SMM={} HLT={}\n", flag_letters(eflags), cpl, ii, a20, smm, halted);
}

void describe_segment(Out out, const char* name, const SegmentCache& c, unsigned digits) {
  fmt::format_to(out, "{}={:04x} {:0{}x} {:08x} {:08x}", name, c.selector, c.base, digits, c.limit, c.flags);
  if ((c.flags & 0x8000) != 0 && (c.flags & 0x1000) != 0) {
    const bool code = (c.flags & 0x800) != 0;
    const char* kind = !code                        ? "DS  "
                       : (c.flags & 0x20'0000) != 0 ? "CS64"
                       : (c.flags & 0x40'0000) != 0 ? "CS32"
                                                    : "CS16";
    fmt::format_to(out, " DPL={} {} [{}{}{}]", c.flags >> 13 & 3, kind,
                   (c.flags & 0x400) != 0 ? (code ? 'C' : 'E') : '-', (c.flags & 0x200) != 0 ? (code ? 'R' : 'W') : '-',
                   (c.flags & 0x100) != 0 ? 'A' : '-');
  }
  fmt::format_to(out, "\n");
}

void describe_float(Out out, const State& s, const Cpu& cpu) {
  unsigned tags = 0;
  for (unsigned i = 0; i < 8; i++) tags |= (s.fptags[i] == 0 ? 1u : 0u) << i;
  fmt::format_to(out, "FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n", s.fpuc, fpu_status(s), s.fpstt & 7,
                 tags, architectural_mxcsr(cpu));
  for (unsigned i = 0; i < 8; i++) {
    const floatx80& v = s.fpregs[(s.fpstt + i) & 7].d;
    fmt::format_to(out, "FPR{}={:016x} {:04x}{}", i, v.low, v.high, i % 2 == 1 ? '\n' : ' ');
  }
  for (unsigned i = 0; i < cpu.reg_count(); i++) {
    const ZMMReg& v = s.xmm_regs[i];
    fmt::format_to(out, "XMM{:02}={:016x}{:016x}{}", i, v._q_ZMMReg[1], v._q_ZMMReg[0], i % 2 == 1 ? '\n' : ' ');
  }
}

}  // namespace

std::string describe_registers(const State& s) {
  const Cpu cpu(const_cast<State&>(s));  // Cpu has one type; nothing is written
  const unsigned digits = cpu.is64() ? 16 : 8;
  std::string text;
  const Out out = std::back_inserter(text);
  describe_general(out, s, cpu);
  constexpr const char* kSegments[] = {"ES ", "CS ", "SS ", "DS ", "FS ", "GS "};
  for (unsigned i = 0; i < 6; i++) describe_segment(out, kSegments[i], s.segs[i], digits);
  describe_segment(out, "LDT", s.ldt, digits);
  describe_segment(out, "TR ", s.tr, digits);
  fmt::format_to(out, "GDT=     {:0{}x} {:08x}\n", s.gdt.base, digits, s.gdt.limit);
  fmt::format_to(out, "IDT=     {:0{}x} {:08x}\n", s.idt.base, digits, s.idt.limit);
  fmt::format_to(out, "CR0={:08x} CR2={:0{}x} CR3={:0{}x} CR4={:08x}\n", cpu.cr(0), cpu.cr(2), digits, cpu.cr(3),
                 digits, cpu.cr(4));
  for (unsigned i = 0; i < 4; i++) fmt::format_to(out, "DR{}={:0{}x} ", i, cpu.dr(i), digits);
  fmt::format_to(out, "\nDR6={:0{}x} DR7={:0{}x}\nEFER={:016x}\n", cpu.dr(6), digits, cpu.dr(7), digits, s.efer);
  describe_float(out, s, cpu);
  return text;
}

}  // namespace panda::x86
