// Far JMP and CALL (SDM vol. 2, JMP, CALL; vol. 3, 5.8): direct, through call gates with a stack
// switch, through task gates and TSSs. Returns are in far_return.cpp, SYSENTER's kin in
// fast_syscall.cpp.
#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

uint64_t mask_ip(uint64_t offset, unsigned bytes) {
  return bytes == 2 ? offset & 0xffff : bytes == 4 ? offset & 0xffff'ffff : offset;
}

bool check_target(Cpu cpu, const Descriptor& cs, uint64_t eip) {
  const bool is64 = long_mode(cpu.s()) && (cs.hi & kDescLong) != 0;
  const bool ok = is64 ? is_canonical(eip) : eip <= cs.limit();
  return ok || raise(cpu, kGP, uint16_t{0});
}

void commit(Cpu cpu, uint16_t selector, unsigned cpl, const Descriptor& cs, uint64_t eip) {
  set_segment(cpu, R_CS, static_cast<uint16_t>((selector & 0xfffc) | cpl), cs);
  cpu.s().eip = eip;
  update_flow_hflags(cpu);
}

// A code segment reached directly: privilege does not change.
bool check_direct(Cpu cpu, uint16_t selector, const Descriptor& cs) {
  const unsigned cpl = cpu.cpl();
  const uint16_t code = selector_code(selector);
  const bool permitted = cs.is_conforming() ? cs.dpl() <= cpl : (selector & 3u) <= cpl && cs.dpl() == cpl;
  if (!permitted) return raise(cpu, kGP, code);
  if (long_mode(cpu.s()) && (cs.hi & kDescLong) != 0 && (cs.hi & kDescBig) != 0) return raise(cpu, kGP, code);
  if (!cs.present()) return raise(cpu, kNP, code);
  return true;
}

struct Gate {
  Descriptor descriptor;
  uint16_t selector = 0;  // of the gate itself
  unsigned bytes = 4;     // of what is pushed
  uint64_t target = 0;
};

// Privilege and presence of a gate or TSS.
bool check_system(Cpu cpu, uint16_t selector, const Descriptor& d) {
  const uint16_t code = selector_code(selector);
  if (d.dpl() < cpu.cpl() || (selector & 3u) > d.dpl()) return raise(cpu, kGP, code);
  if (!d.present()) return raise(cpu, kNP, code);
  return true;
}

bool open_call_gate(Cpu cpu, uint16_t selector, const Descriptor& d, Gate& gate, Descriptor& cs) {
  gate = {.descriptor = d,
          .selector = selector,
          .bytes = d.type() == kTypeCallGate32 ? 4u : 2u,
          .target = d.type() == kTypeCallGate32 ? d.gate_offset() : d.gate_offset() & 0xffff};
  if (long_mode(cpu.s())) {
    gate.bytes = 8;
    if (!fetch_upper_base(cpu, selector, gate.target)) return false;
  }
  const uint16_t target = d.gate_selector();
  if (is_null(target)) return raise(cpu, kGP, uint16_t{0});
  if (!fetch_descriptor(cpu, target, cs)) return false;
  if (!cs.is_code() || cs.dpl() > cpu.cpl()) return raise(cpu, kGP, selector_code(target));
  if (long_mode(cpu.s()) && (cs.hi & (kDescLong | kDescBig)) != kDescLong) {
    return raise(cpu, kGP, selector_code(target));
  }
  if (!cs.present()) return raise(cpu, kNP, selector_code(target));
  return check_target(cpu, cs, gate.target) && mark_accessed(cpu, target, cs);
}

// Return address and, for an inner call, the caller's stack and parameters on a new one.
bool call_through_gate(Cpu cpu, const Gate& gate, const Descriptor& cs, uint64_t next_eip) {
  const State& s = cpu.s();
  const unsigned cpl = cpu.cpl();
  const unsigned new_cpl = cs.is_conforming() ? cpl : cs.dpl();
  const uint16_t target = gate.descriptor.gate_selector();
  Stack st = Stack::current(cpu);
  const Stack old = st;
  const uint64_t old_rsp = cpu.reg(R_ESP);
  const auto old_ss = static_cast<uint16_t>(s.segs[R_SS].selector);
  Descriptor ss;
  uint16_t ss_selector = static_cast<uint16_t>(new_cpl);
  if (new_cpl < cpl) {
    if (long_mode(s)) {
      uint64_t rsp = 0;
      if (!read_long_stack(cpu, new_cpl, 0, rsp)) return false;
      st = {.owner = &cpu.s(), .base = 0, .sp = rsp, .mask = ~uint64_t{0}, .mode = system_mode(cpu)};
    } else {
      uint32_t esp = 0;
      if (!read_inner_stack(cpu, new_cpl, 0, ss_selector, esp)) return false;
      if (!fetch_stack_segment(cpu, ss_selector, new_cpl, kTS, 0, ss)) return false;
      if (!mark_accessed(cpu, ss_selector, ss)) return false;
      st = {.owner = &cpu.s(),
            .base = ss.base(),
            .sp = esp,
            .mask = stack_mask(ss.hi),
            .mode = system_mode(cpu),
            .limit = ss.limit(),
            .flags = ss.hi,
            .fault_selector = ss_selector};
    }
    if (!st.push(old_ss, gate.bytes) || !st.push(old_rsp, gate.bytes)) return false;
    const unsigned parameters = long_mode(s) ? 0 : gate.descriptor.hi & 0x1f;
    for (unsigned i = parameters; i-- > 0;) {
      Stack from = old;
      from.sp += i * gate.bytes;
      uint64_t v = 0;
      if (!from.pop(v, gate.bytes) || !st.push(v, gate.bytes)) return false;
    }
  }
  if (!st.push(s.segs[R_CS].selector, gate.bytes) || !st.push(next_eip, gate.bytes)) return false;
  if (new_cpl < cpl) {
    if (long_mode(s))
      set_segment(cpu, R_SS, ss_selector, 0, 0xffff'ffff, new_cpl << kDescDplShift);
    else
      set_segment(cpu, R_SS, ss_selector, ss);
  }
  cpu.set_reg(R_ESP, st.merged(old_rsp));
  commit(cpu, target, new_cpl, cs, gate.target);
  return true;
}

// What a selector that is not a code segment leads to.
bool transfer_to_system(Cpu cpu, uint16_t selector, const Descriptor& d, bool call, uint64_t next_eip) {
  const unsigned type = d.type();
  const uint16_t code = selector_code(selector);
  const TaskSwitch reason = call ? TaskSwitch::Call : TaskSwitch::Jump;
  const bool lm = long_mode(cpu.s());
  if (d.is_segment()) return raise(cpu, kGP, code);
  if (type == kTypeCallGate32 || (type == kTypeCallGate16 && !lm)) {
    Gate gate;
    Descriptor cs;
    if (!check_system(cpu, selector, d) || !open_call_gate(cpu, selector, d, gate, cs)) return false;
    if (call) return call_through_gate(cpu, gate, cs, next_eip);
    if (!cs.is_conforming() && cs.dpl() != cpu.cpl()) return raise(cpu, kGP, selector_code(d.gate_selector()));
    commit(cpu, d.gate_selector(), cpu.cpl(), cs, gate.target);
    return true;
  }
  if (!lm && type == kTypeTaskGate) {
    return check_system(cpu, selector, d) && switch_task(cpu, d.gate_selector(), reason, next_eip, 0);
  }
  if (!lm && (type == kTypeTss16 || type == kTypeTss32)) {
    return check_system(cpu, selector, d) && switch_task(cpu, selector, reason, next_eip, 0);
  }
  return raise(cpu, kGP, code);
}

}  // namespace

bool far_jump(Cpu cpu, uint16_t selector, uint64_t offset, unsigned op_bytes, uint64_t next_eip) noexcept {
  State& s = cpu.s();
  const uint64_t eip = mask_ip(offset, op_bytes);
  if (!is_protected(s)) {
    if (eip > s.segs[R_CS].limit) return raise(cpu, kGP, uint16_t{0});
    set_real_segment(cpu, R_CS, selector);
    s.eip = eip;
    update_flow_hflags(cpu);
    return true;
  }
  if (is_null(selector)) return raise(cpu, kGP, uint16_t{0});
  Descriptor cs;
  if (!fetch_descriptor(cpu, selector, cs)) return false;
  if (!cs.is_code()) return transfer_to_system(cpu, selector, cs, false, next_eip);
  if (!check_direct(cpu, selector, cs) || !check_target(cpu, cs, eip)) return false;
  if (!mark_accessed(cpu, selector, cs)) return false;
  commit(cpu, selector, cpu.cpl(), cs, eip);
  return true;
}

bool far_call(Cpu cpu, uint16_t selector, uint64_t offset, unsigned op_bytes, uint64_t next_eip) noexcept {
  State& s = cpu.s();
  const uint64_t eip = mask_ip(offset, op_bytes);
  Descriptor cs;
  if (!is_protected(s)) {
    if (eip > s.segs[R_CS].limit) return raise(cpu, kGP, uint16_t{0});
  } else {
    if (is_null(selector)) return raise(cpu, kGP, uint16_t{0});
    if (!fetch_descriptor(cpu, selector, cs)) return false;
    if (!cs.is_code()) return transfer_to_system(cpu, selector, cs, true, next_eip);
    if (!check_direct(cpu, selector, cs) || !check_target(cpu, cs, eip)) return false;
    if (!mark_accessed(cpu, selector, cs)) return false;
  }
  Stack st = Stack::current(cpu);
  if (!st.push(s.segs[R_CS].selector, op_bytes) || !st.push(next_eip, op_bytes)) return false;
  cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  if (is_protected(s)) {
    commit(cpu, selector, cpu.cpl(), cs, eip);
  } else {
    set_real_segment(cpu, R_CS, selector);
    s.eip = eip;
    update_flow_hflags(cpu);
  }
  return true;
}

}  // namespace panda::x86
