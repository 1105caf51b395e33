// RETF and IRET (SDM vol. 2, RET, IRET): same and outer privilege, real and virtual-8086 mode,
// nested tasks, IA-32e mode.
#include "guest/x86/debug.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/virtual_interrupts.h"

namespace panda::x86 {
namespace {

// What is popped, before anything is committed.
struct Frame {
  uint64_t eip = 0, cs = 0, eflags = 0, esp = 0, ss = 0;
};

bool fetch_return_code(Cpu cpu, uint16_t selector, uint64_t eip, Descriptor& cs) {
  if (is_null(selector)) return raise(cpu, kGP, uint16_t{0});
  if (!fetch_descriptor(cpu, selector, cs)) return false;
  const uint16_t code = selector_code(selector);
  const unsigned rpl = selector & 3;
  if (!cs.is_code() || rpl < cpu.cpl()) return raise(cpu, kGP, code);
  if (cs.is_conforming() ? cs.dpl() > rpl : cs.dpl() != rpl) return raise(cpu, kGP, code);
  const bool lm = long_mode(cpu.s());
  if (lm && (cs.hi & kDescLong) != 0 && (cs.hi & kDescBig) != 0) return raise(cpu, kGP, code);
  if (!cs.present()) return raise(cpu, kNP, code);
  const bool is64 = lm && (cs.hi & kDescLong) != 0;
  if (is64 ? !is_canonical(eip) : eip > cs.limit()) return raise(cpu, kGP, uint16_t{0});
  return true;
}

// SS of a return that pops it. to64: the target runs 64-bit code.
bool fetch_return_stack(Cpu cpu, uint16_t selector, unsigned new_cpl, bool to64, Descriptor& ss) {
  if (!is_null(selector)) return fetch_stack_segment(cpu, selector, new_cpl, kGP, 0, ss);
  if (!to64 || new_cpl == 3 || (selector & 3u) != new_cpl) return raise(cpu, kGP, uint16_t{0});
  ss = {0xffff, 0x000f'0000 | kDescGranular | new_cpl << kDescDplShift};
  return true;
}

// Loads CS and, where `with_stack`, SS:ESP. st: after the pops.
bool return_to(Cpu cpu, const Frame& f, bool with_stack, unsigned op_bytes, uint16_t release, const Stack& st) {
  const unsigned old_cpl = cpu.cpl();
  const auto cs_selector = static_cast<uint16_t>(f.cs);
  const auto ss_selector = static_cast<uint16_t>(f.ss);
  const unsigned new_cpl = cs_selector & 3;
  Descriptor cs, ss;
  if (!fetch_return_code(cpu, cs_selector, f.eip, cs)) return false;
  const bool to64 = long_mode(cpu.s()) && (cs.hi & kDescLong) != 0;
  if (with_stack) {
    if (!fetch_return_stack(cpu, ss_selector, new_cpl, to64, ss)) return false;
    if (!is_null(ss_selector) && !mark_accessed(cpu, ss_selector, ss)) return false;
  }
  if (!mark_accessed(cpu, cs_selector, cs)) return false;
  set_segment(cpu, R_CS, cs_selector, cs);
  if (!with_stack) {
    cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  } else {
    set_segment(cpu, R_SS, ss_selector, ss);
    const uint64_t mask = to64 ? ~uint64_t{0} : stack_mask(ss.hi);
    // A 16-bit stack gets SP alone; the rest of ESP stays.
    const uint64_t kept = mask == 0xffff ? cpu.reg(R_ESP) & 0xffff'0000 : 0;
    const uint64_t popped = op_bytes == 2 ? f.esp & 0xffff : f.esp;
    cpu.set_reg(R_ESP, ((popped + release) & mask) | kept);
  }
  cpu.s().eip = f.eip;
  if (new_cpl > old_cpl) drop_inaccessible_segments(cpu, new_cpl);
  return true;
}

// EFLAGS that a protected-mode IRET may change (SDM vol. 2, IRET; vol. 3, 2.3). RF: loadable_rf().
void load_flags(Cpu cpu, uint64_t popped, unsigned op_bytes, unsigned old_cpl) {
  uint32_t mask = kArithmeticFlags | kTF | kDF_ | kNT;
  const uint32_t old = cpu.eflags();
  if (op_bytes != 2) mask |= kACflag | kID;
  if (old_cpl == 0) mask |= kIOPL;
  if (old_cpl == 0 && op_bytes != 2) mask |= kVIF | kVIP;
  if (old_cpl <= (old >> 12 & 3)) mask |= kIF;
  mask |= loadable_rf(cpu.s(), op_bytes);
  cpu.set_eflags((old & ~mask & ~kRF) | (static_cast<uint32_t>(popped) & mask));
}

bool return_real(Cpu cpu, unsigned op_bytes) {
  State& s = cpu.s();
  const bool vm = (s.eflags & kVM) != 0;
  const bool virtual_flags = vm && (s.eflags & kIOPL) != kIOPL;
  if (virtual_flags && (op_bytes != 2 || (s.hflags & kModeVirtualIf) == 0)) return raise(cpu, kGP, uint16_t{0});
  Stack st = Stack::current(cpu);
  Frame f;
  if (!st.pop(f.eip, op_bytes) || !st.pop(f.cs, op_bytes) || !st.pop(f.eflags, op_bytes)) return false;
  if (f.eip > s.segs[R_CS].limit) return raise(cpu, kGP, uint16_t{0});
  if (virtual_flags && !load_virtual_flags(cpu, static_cast<uint16_t>(f.eflags))) return false;
  cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  uint32_t mask = kArithmeticFlags | kTF | kIF | kDF_ | kNT;
  if (!vm) mask |= kIOPL;
  if (op_bytes != 2) mask |= kACflag | kID;
  mask |= loadable_rf(s, op_bytes);
  if (!virtual_flags) cpu.set_eflags((cpu.eflags() & ~mask & ~kRF) | (static_cast<uint32_t>(f.eflags) & mask));
  set_real_segment(cpu, R_CS, static_cast<uint16_t>(f.cs));
  s.eip = f.eip;
  return true;
}

bool return_to_vm86(Cpu cpu, const Frame& f, Stack& st) {
  uint64_t segs[4] = {};
  uint64_t esp = 0, ss = 0;
  if (!st.pop(esp, 4) || !st.pop(ss, 4)) return false;
  for (uint64_t& seg : segs) {
    if (!st.pop(seg, 4)) return false;
  }
  cpu.set_eflags(static_cast<uint32_t>(f.eflags) & ~(kRF & ~loadable_rf(cpu.s(), 4)));
  constexpr unsigned kOrder[] = {R_ES, R_DS, R_FS, R_GS};
  for (unsigned i = 0; i < 4; i++) set_real_segment(cpu, kOrder[i], static_cast<uint16_t>(segs[i]));
  set_real_segment(cpu, R_CS, static_cast<uint16_t>(f.cs));
  set_real_segment(cpu, R_SS, static_cast<uint16_t>(ss));
  cpu.set_reg(R_ESP, esp);
  cpu.s().eip = f.eip & 0xffff;
  return true;
}

bool return_protected(Cpu cpu, unsigned op_bytes, uint64_t next_eip) {
  const State& s = cpu.s();
  const unsigned cpl = cpu.cpl();
  if ((s.eflags & kNT) != 0) {
    if (long_mode(s)) return raise(cpu, kGP, uint16_t{0});
    uint16_t link = 0;
    if (!read_linear(cpu, s.tr.base, system_mode(cpu), link)) return false;
    return switch_task(cpu, link, TaskSwitch::Return, next_eip, 0);
  }
  Stack st = Stack::current(cpu);
  Frame f;
  if (!st.pop(f.eip, op_bytes) || !st.pop(f.cs, op_bytes) || !st.pop(f.eflags, op_bytes)) return false;
  if ((f.eflags & kVM) != 0 && cpl == 0 && op_bytes == 4 && !long_mode(s)) return return_to_vm86(cpu, f, st);
  const bool outer = (f.cs & 3) > cpl;
  const bool with_stack = outer || (s.hflags & kModeCs64) != 0;
  if (with_stack && (!st.pop(f.esp, op_bytes) || !st.pop(f.ss, op_bytes))) return false;
  if (!return_to(cpu, f, with_stack, op_bytes, 0, st)) return false;
  load_flags(cpu, f.eflags, op_bytes, cpl);
  return true;
}

}  // namespace

bool far_return(Cpu cpu, unsigned op_bytes, uint16_t release_bytes) noexcept {
  State& s = cpu.s();
  Stack st = Stack::current(cpu);
  Frame f;
  if (!st.pop(f.eip, op_bytes) || !st.pop(f.cs, op_bytes)) return false;
  st.sp += release_bytes;
  if (!is_protected(s)) {
    if (f.eip > s.segs[R_CS].limit) return raise(cpu, kGP, uint16_t{0});
    cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
    set_real_segment(cpu, R_CS, static_cast<uint16_t>(f.cs));
    s.eip = f.eip;
    update_flow_hflags(cpu);
    return true;
  }
  const bool outer = (f.cs & 3) > cpu.cpl();
  if (outer && (!st.pop(f.esp, op_bytes) || !st.pop(f.ss, op_bytes))) return false;
  if (!return_to(cpu, f, outer, op_bytes, release_bytes, st)) return false;
  update_flow_hflags(cpu);
  return true;
}

bool interrupt_return(Cpu cpu, unsigned op_bytes, uint64_t next_eip) noexcept {
  State& s = cpu.s();
  const bool ok = is_protected(s) ? return_protected(cpu, op_bytes, next_eip) : return_real(cpu, op_bytes);
  if (!ok) return false;
  s.nmi_blocked = 0;
  update_flow_hflags(cpu);
  return true;
}

}  // namespace panda::x86
