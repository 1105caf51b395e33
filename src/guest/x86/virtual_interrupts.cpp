#include "guest/x86/virtual_interrupts.h"

#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

bool virtual_iopl(const State& s) { return (s.eflags & kIOPL) != kIOPL; }

// The bitmap's 32 bytes lie below the I/O permission bitmap.
bool redirects(Cpu cpu, uint8_t vector, bool& redirected) {
  const State& s = cpu.s();
  const bool tss32 = (s.tr.flags & kDescPresent) != 0 && (s.tr.flags & 0x800) != 0;
  if (!tss32 || s.tr.limit < 0x67) return raise(cpu, kGP, uint16_t{0});
  uint16_t io_map = 0;
  if (!read_linear(cpu, s.tr.base + 0x66, system_mode(cpu), io_map)) return false;
  const uint32_t at = io_map - 32u + vector / 8u;
  if (at > s.tr.limit) return raise(cpu, kGP, uint16_t{0});
  uint8_t bits = 0;
  if (!read_linear(cpu, s.tr.base + at, system_mode(cpu), bits)) return false;
  redirected = (bits >> vector % 8 & 1) == 0;
  return true;
}

void sti_helper(void* state) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  if ((s.eflags & kVIP) != 0)
    raise(cpu, kGP, uint16_t{0});
  else
    s.eflags |= kVIF;
}

void popf_helper(void* state, uint32_t value, uint64_t new_sp, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  if (!load_virtual_flags(cpu, static_cast<uint16_t>(value))) return;
  const uint64_t mask = Stack::current(cpu).mask;
  cpu.set_reg(R_ESP, (cpu.reg(R_ESP) & ~mask) | (new_sp & mask));
  refresh_mode(cpu, next_pc);
}

}  // namespace

bool load_virtual_flags(Cpu cpu, uint16_t popped) noexcept {
  const uint32_t old = cpu.eflags();
  if ((popped & kTF) != 0 || ((old & kVIP) != 0 && (popped & kIF) != 0)) return raise(cpu, kGP, uint16_t{0});
  constexpr uint32_t kChanged = kArithmeticFlags | kTF | kDF_ | kNT;
  cpu.set_eflags((old & ~(kChanged | kVIF)) | (popped & kChanged) | ((popped & kIF) != 0 ? kVIF : 0));
  return true;
}

Redirection redirect_interrupt(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept {
  State& s = cpu.s();
  bool redirected = false;
  if (!redirects(cpu, vector, redirected)) return Redirection::Fault;
  if (!redirected) return Redirection::Gate;
  const bool virtualised = virtual_iopl(s);
  uint32_t image = cpu.eflags() & 0xffff & ~(kNT | kIOPL);
  if (virtualised) image = (image & ~kIF) | kIOPL | ((s.eflags & kVIF) != 0 ? kIF : 0);
  uint32_t target = 0;
  if (!read_linear(cpu, vector * uint64_t{4}, system_mode(cpu), target)) return Redirection::Fault;
  Stack st = Stack::current(cpu);
  if (!st.push(image, 2) || !st.push(s.segs[R_CS].selector, 2) || !st.push(next_eip, 2)) return Redirection::Fault;
  cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  set_real_segment(cpu, R_CS, static_cast<uint16_t>(target >> 16));
  s.eip = target & 0xffff;
  s.eflags &= ~uint64_t{kTF | (virtualised ? kVIF : kIF)};
  update_hflags(cpu);
  return Redirection::Done;
}

const ir::HelperDesc kHelperVirtualSti{.name = "x86_virtual_sti",
                                       .function = reinterpret_cast<const void*>(&sti_helper),
                                       .result = ir::Type::Void,
                                       .params = {}};
const ir::HelperDesc kHelperVirtualPopf{.name = "x86_virtual_popf",
                                        .function = reinterpret_cast<const void*>(&popf_helper),
                                        .result = ir::Type::Void,
                                        .params = {ir::Type::I32, ir::Type::I64, ir::Type::I64}};

}  // namespace panda::x86
