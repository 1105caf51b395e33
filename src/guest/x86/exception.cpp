// Exceptions and interrupts: what is pending, double and triple faults (SDM vol. 3, 6.15), and
// entering a handler in real mode, through a protected-mode gate and in IA-32e mode (6.12, 6.14).
//
// A handler is entered in two steps: everything that can fault, stack pushes included, and then the
// registers. A fault on the way leaves the state as it was and is combined with the first one.
#include "guest/x86/descriptor.h"
#include "guest/x86/virtual_interrupts.h"
#include "memory/cpu_observer.h"

namespace panda::x86 {
namespace {

struct Event {
  uint8_t vector;
  bool software = false;   // INT n, INT3, INTO: the gate's DPL counts
  bool interrupt = false;  // external
  bool has_code = false;
  uint16_t code = 0;
  uint64_t return_eip = 0;
  unsigned ext = 0;  // EXT bit of error codes of faults during delivery
  bool debug_fault = false;
};

// Delivery happens between two instructions, where nothing can be run again: device and code pages
// are accessed as in an exact unit. The instruction count reads the same.
class ExactScope {
 public:
  explicit ExactScope(VcpuContext& c) : c_(c), entered_(c.exact == 0) {
    if (!entered_) return;
    c_.exact = 1;
    c_.budget -= 1;
  }
  ~ExactScope() {
    if (!entered_) return;
    c_.exact = 0;
    c_.budget += 1;
  }
  ExactScope(const ExactScope&) = delete;
  ExactScope& operator=(const ExactScope&) = delete;

 private:
  VcpuContext& c_;
  bool entered_;
};

void pend(State& s, uint8_t vector, uint32_t flags, uint16_t code) {
  s.exception_index = vector;
  s.exception_flags_ = flags;
  s.error_code = code;
}

constexpr bool has_error_code(unsigned vector) {
  return vector == kDF || (vector >= kTS && vector <= kPF) || vector == kAC;
}

// EFLAGS as saved: RF is set where the instruction will be run again because of a fault, so that an
// instruction breakpoint on it is not taken twice (SDM vol. 3, 18.3.1.1).
uint32_t saved_eflags(Cpu cpu, const Event& e) {
  const bool trap = e.software || e.interrupt || e.vector == kDB || e.vector == kBP || e.vector == kOF ||
                    e.vector == kNMI || e.vector == kDF;
  return cpu.eflags() | (trap && !e.debug_fault ? 0u : kRF);
}

void enter(Cpu cpu, uint32_t clear_flags, uint64_t eip) {
  State& s = cpu.s();
  s.eflags &= ~static_cast<uint64_t>(clear_flags);
  s.eip = eip;
  s.inhibit_irq = 0;
  update_flow_hflags(cpu);
}

bool deliver_real(Cpu cpu, const Event& e) {
  State& s = cpu.s();
  const uint32_t offset = e.vector * 4u;
  if (offset + 3 > s.idt.limit) return raise(cpu, kGP, static_cast<uint16_t>(e.vector * 8 + 2));
  uint32_t target = 0;
  if (!read_linear(cpu, s.idt.base + offset, system_mode(cpu), target)) return false;
  Stack st = Stack::current(cpu);
  if (!st.push(cpu.eflags() & 0xffff, 2) || !st.push(s.segs[R_CS].selector, 2) || !st.push(e.return_eip, 2)) {
    return false;
  }
  cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  set_real_segment(cpu, R_CS, static_cast<uint16_t>(target >> 16));
  enter(cpu, kIF | kTF | kACflag | kRF, target & 0xffff);
  return true;
}

// The code segment of a gate: checks of SDM vol. 2, INT n, INTERRUPT-OR-TRAP-GATE.
bool fetch_handler_segment(Cpu cpu, const Event& e, uint16_t selector, Descriptor& cs) {
  if (is_null(selector)) return raise(cpu, kGP, static_cast<uint16_t>(e.ext));
  if (!fetch_descriptor(cpu, selector, cs, kGP, e.ext)) return false;
  const uint16_t code = selector_code(selector, e.ext);
  if (!cs.is_code() || cs.dpl() > cpu.cpl()) return raise(cpu, kGP, code);
  if (long_mode(cpu.s()) && (cs.hi & (kDescLong | kDescBig)) != kDescLong) return raise(cpu, kGP, code);
  if (!cs.present()) return raise(cpu, kNP, code);
  return true;
}

void set_code_segment(Cpu cpu, uint16_t selector, unsigned cpl, const Descriptor& cs) {
  set_segment(cpu, R_CS, static_cast<uint16_t>((selector & 0xfffc) | cpl), cs);
}

bool deliver_long(Cpu cpu, const Event& e) {
  State& s = cpu.s();
  const uint32_t offset = e.vector * 16u;
  const auto idt_code = static_cast<uint16_t>(e.vector * 8 + 2 + e.ext);
  if (offset + 15 > s.idt.limit) return raise(cpu, kGP, idt_code);
  uint64_t low = 0, high = 0;
  if (!read_linear(cpu, s.idt.base + offset, system_mode(cpu), low) ||
      !read_linear(cpu, s.idt.base + offset + 8, system_mode(cpu), high)) {
    return false;
  }
  const Descriptor gate{static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32)};
  if (gate.is_segment() || (gate.type() != kTypeIntGate32 && gate.type() != kTypeTrapGate32)) {
    return raise(cpu, kGP, idt_code);
  }
  const unsigned cpl = cpu.cpl();
  if (e.software && gate.dpl() < cpl) return raise(cpu, kGP, idt_code);
  if (!gate.present()) return raise(cpu, kNP, idt_code);
  Descriptor cs;
  if (!fetch_handler_segment(cpu, e, gate.gate_selector(), cs)) return false;
  const unsigned new_cpl = cs.is_conforming() ? cpl : cs.dpl();
  const unsigned ist = gate.hi & 7;
  uint64_t rsp = cpu.reg(R_ESP);
  if (ist != 0) {
    if (!read_long_stack(cpu, 3 + ist, e.ext, rsp)) return false;
  } else if (new_cpl < cpl) {
    if (!read_long_stack(cpu, new_cpl, e.ext, rsp)) return false;
  }
  const uint64_t target = gate.gate_offset() | high << 32;
  if (!is_canonical(target)) return raise(cpu, kGP, static_cast<uint16_t>(e.ext));
  if (!mark_accessed(cpu, gate.gate_selector(), cs)) return false;

  Stack st{.owner = &cpu.s(),
           .base = 0,
           .sp = rsp & ~uint64_t{15},
           .mask = ~uint64_t{0},
           .mode = new_cpl == 3 ? kMmuUser : system_mode(cpu),
           .ext = e.ext};
  if (!st.push(s.segs[R_SS].selector, 8) || !st.push(cpu.reg(R_ESP), 8) || !st.push(saved_eflags(cpu, e), 8) ||
      !st.push(s.segs[R_CS].selector, 8) || !st.push(e.return_eip, 8) || (e.has_code && !st.push(e.code, 8))) {
    return false;
  }
  if (new_cpl < cpl) {
    set_segment(cpu, R_SS, static_cast<uint16_t>(new_cpl), 0, 0xffff'ffff, new_cpl << kDescDplShift);
  }
  cpu.set_reg(R_ESP, st.sp);
  set_code_segment(cpu, gate.gate_selector(), new_cpl, cs);
  enter(cpu, kTF | kNT | kRF | kVM | (gate.type() == kTypeIntGate32 ? kIF : 0), target);
  return true;
}

bool deliver_gate(Cpu cpu, const Event& e, const Descriptor& gate) {
  State& s = cpu.s();
  const bool vm = (s.eflags & kVM) != 0;
  const unsigned cpl = cpu.cpl();
  const uint16_t selector = gate.gate_selector();
  Descriptor cs;
  if (!fetch_handler_segment(cpu, e, selector, cs)) return false;
  const unsigned new_cpl = cs.is_conforming() ? cpl : cs.dpl();
  if (vm && new_cpl != 0) return raise(cpu, kGP, selector_code(selector, e.ext));
  const unsigned bytes = (gate.type() & 8) != 0 ? 4 : 2;
  const uint32_t target = bytes == 4 ? gate.gate_offset() : gate.gate_offset() & 0xffff;
  if (target > cs.limit()) return raise(cpu, kGP, static_cast<uint16_t>(e.ext));
  if (!mark_accessed(cpu, selector, cs)) return false;

  const bool inner = new_cpl < cpl;
  Stack st = Stack::current(cpu);
  Descriptor ss;
  uint16_t ss_selector = 0;
  st.ext = e.ext;
  if (inner) {
    uint32_t esp = 0;
    if (!read_inner_stack(cpu, new_cpl, e.ext, ss_selector, esp)) return false;
    if (!fetch_stack_segment(cpu, ss_selector, new_cpl, kTS, e.ext, ss)) return false;
    if (!mark_accessed(cpu, ss_selector, ss)) return false;
    st = {.owner = &cpu.s(),
          .base = ss.base(),
          .sp = esp,
          .mask = stack_mask(ss.hi),
          .mode = system_mode(cpu),
          .limit = ss.limit(),
          .flags = ss.hi,
          .ext = e.ext,
          .fault_selector = ss_selector};
    if (vm) {
      for (const unsigned seg : {unsigned{R_GS}, unsigned{R_FS}, unsigned{R_DS}, unsigned{R_ES}}) {
        if (!st.push(s.segs[seg].selector, bytes)) return false;
      }
    }
    if (!st.push(s.segs[R_SS].selector, bytes) || !st.push(cpu.reg(R_ESP), bytes)) return false;
  }
  if (!st.push(saved_eflags(cpu, e), bytes) || !st.push(s.segs[R_CS].selector, bytes) ||
      !st.push(e.return_eip, bytes) || (e.has_code && !st.push(e.code, bytes))) {
    return false;
  }
  if (inner) {
    if (vm) {
      for (const unsigned seg : {unsigned{R_GS}, unsigned{R_FS}, unsigned{R_DS}, unsigned{R_ES}}) {
        set_segment(cpu, seg, 0, 0, 0, 0);
      }
    }
    set_segment(cpu, R_SS, ss_selector, ss);
    cpu.set_reg(R_ESP, st.merged(0) | (cpu.reg(R_ESP) & ~st.mask & 0xffff'ffff));
  } else {
    cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  }
  set_code_segment(cpu, selector, new_cpl, cs);
  enter(cpu, kTF | kNT | kRF | kVM | ((gate.type() & 1) == 0 ? kIF : 0), target);
  return true;
}

bool deliver_protected(Cpu cpu, const Event& e) {
  const State& s = cpu.s();
  const uint32_t offset = e.vector * 8u;
  const auto idt_code = static_cast<uint16_t>(e.vector * 8 + 2 + e.ext);
  if (offset + 7 > s.idt.limit) return raise(cpu, kGP, idt_code);
  uint64_t raw = 0;
  if (!read_linear(cpu, s.idt.base + offset, system_mode(cpu), raw)) return false;
  const Descriptor gate{static_cast<uint32_t>(raw), static_cast<uint32_t>(raw >> 32)};
  const unsigned type = gate.type();
  const bool valid = type == kTypeTaskGate || type == kTypeIntGate16 || type == kTypeTrapGate16 ||
                     type == kTypeIntGate32 || type == kTypeTrapGate32;
  if (gate.is_segment() || !valid) return raise(cpu, kGP, idt_code);
  if (e.software && gate.dpl() < cpu.cpl()) return raise(cpu, kGP, idt_code);
  if (!gate.present()) return raise(cpu, kNP, idt_code);
  if (type != kTypeTaskGate) return deliver_gate(cpu, e, gate);
  std::optional<uint16_t> code;
  if (e.has_code) code = e.code;
  const uint64_t eflags = cpu.s().eflags;
  cpu.s().eflags |= saved_eflags(cpu, e) & kRF;  // into the old task's TSS
  if (switch_task(cpu, gate.gate_selector(), TaskSwitch::Interrupt, e.return_eip, e.ext, code)) return true;
  if ((s.exception_flags_ & kExceptionNewTask) == 0) cpu.s().eflags = eflags;
  return false;
}

bool deliver_once(Cpu cpu, const Event& e) {
  State& s = cpu.s();
  const uint64_t hflags = s.hflags;
  if (!e.software && !e.interrupt) {
    if (e.vector == kPF) cpu.set_cr(2, s.cr2_pending_);
    if (e.vector == kDB) cpu.set_dr(7, cpu.dr(7) & ~uint64_t{1 << 13});  // GD
  }
  if ((hflags & kModePe) == 0) return deliver_real(cpu, e);
  return (hflags & kModeLma) != 0 ? deliver_long(cpu, e) : deliver_protected(cpu, e);
}

constexpr bool contributory(unsigned vector) { return vector == kDE || (vector >= kTS && vector <= kGP); }

// Delivers e and what goes wrong on the way. False: shut down.
bool deliver(Cpu cpu, Event e) {
  State& s = cpu.s();
  VcpuContext& context = cpu.context();
  const ExactScope exact(context);
  s.halted = 0;
  for (;;) {
    s.exception_index = -1;
    s.old_exception = e.vector;
    context.request(ExitRequest::None);
    if (deliver_once(cpu, e)) break;
    const auto second = static_cast<unsigned>(s.exception_index);
    if (second == kPF) cpu.set_cr(2, s.cr2_pending_);  // even where it turns into a double fault
    const bool benign = e.software || e.interrupt;
    if (!benign && e.vector == kDF) {
      s.exception_index = -1;
      s.old_exception = -1;
      return false;
    }
    const bool doubled = !benign && ((contributory(e.vector) && contributory(second)) ||
                                     (e.vector == kPF && (contributory(second) || second == kPF)));
    // The second one is met while the first is delivered, so nothing it meets comes from software.
    e = {.vector = doubled ? uint8_t{kDF} : static_cast<uint8_t>(second),
         .has_code = doubled || (s.exception_flags_ & kExceptionHasCode) != 0,
         .code = doubled ? uint16_t{0} : static_cast<uint16_t>(s.error_code),
         .return_eip = s.eip,  // after a task switch, the new task's
         .ext = 1};
  }
  s.exception_index = -1;
  s.exception_flags_ = 0;
  s.error_code = 0;
  s.old_exception = -1;
  context.watch_hits = 0;  // breakpoints see no delivery, and no instruction that faulted
  s.debug_pending_ = 0;
  context.request(ExitRequest::None);
  return true;
}

}  // namespace

bool raise(Cpu cpu, Vector vector, std::optional<uint16_t> error_code) noexcept {
  pend(cpu.s(), vector, error_code.has_value() ? uint32_t{kExceptionHasCode} : 0u, error_code.value_or(0));
  cpu.context().request(ExitRequest::Fault);
  return false;
}

bool raise_software(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept {
  // INT n is IOPL-sensitive in virtual-8086 mode, and may be redirected there.
  const State& s = cpu.s();
  if ((s.hflags & kModeVm) != 0) {
    if ((cpu.cr(4) & kCr4Vme) != 0) {
      const Redirection r = redirect_interrupt(cpu, vector, next_eip);
      if (r != Redirection::Gate) return r == Redirection::Done;
    }
    if ((s.eflags & kIOPL) != kIOPL) return raise(cpu, kGP, uint16_t{0});
  }
  return raise_trap(cpu, vector, next_eip);
}

bool raise_trap(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept {
  pend(cpu.s(), vector, kExceptionSoftware, 0);
  cpu.s().exception_next_eip = next_eip;
  cpu.context().request(ExitRequest::Fault);
  return false;
}

bool raise_int1(Cpu cpu, uint64_t next_eip) noexcept {
  pend(cpu.s(), kDB, kExceptionPrivileged, 0);
  cpu.s().exception_next_eip = next_eip;
  cpu.context().request(ExitRequest::Fault);
  return false;
}

bool deliver_pending(Cpu cpu) noexcept {
  State& s = cpu.s();
  if (s.exception_index < 0) return true;
  const auto pending = static_cast<uint8_t>(s.exception_index);
  const uint32_t flags = s.exception_flags_;
  if ((flags & kExceptionNewTask) != 0) s.eip = s.exception_next_eip;
  const bool returns_to_next = (flags & (kExceptionSoftware | kExceptionPrivileged)) != 0;
  Event e{.vector = pending,
          .software = (flags & kExceptionSoftware) != 0,
          .has_code = (flags & kExceptionHasCode) != 0,
          .code = static_cast<uint16_t>(s.error_code),
          .return_eip = returns_to_next ? s.exception_next_eip : s.eip,
          .ext = (flags & kExceptionSoftware) != 0 ? 0u : 1u,
          .debug_fault = (flags & kExceptionDebugFault) != 0};
  if (CpuObserver* observer = cpu.context().observer) {
    const uint64_t eip = s.eip;
    const int32_t vector = observer->exception(cpu.context(), pending);
    if (vector < 0) {
      s.exception_index = -1;
      if (s.eip == eip) s.eip = e.return_eip;  // else the plugin says where the guest goes on
      cpu.context().request(ExitRequest::None);
      return true;
    }
    if (vector != pending) {
      e.vector = static_cast<uint8_t>(vector);
      if (!e.has_code) e.code = 0;
      e.has_code = !e.software && has_error_code(e.vector);
    }
  }
  return deliver(cpu, e);
}

bool deliver_external(Cpu cpu, uint8_t vector) noexcept {
  return deliver(cpu, {.vector = vector, .interrupt = true, .return_eip = cpu.s().eip, .ext = 1});
}

}  // namespace panda::x86
