// Hardware task switches, 16- and 32-bit TSS (SDM vol. 3, 7.3).
//
// The old task is saved and the new one's fields are read before any register changes; from then on
// a fault belongs to the new task: its selectors are in the registers, its segments not yet valid.
#include "guest/x86/debug.h"
#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

struct TaskImage {
  uint32_t cr3 = 0, eip = 0, eflags = 0;
  uint32_t regs[8] = {};
  uint16_t segs[6] = {};
  uint16_t ldt = 0;
  bool trap = false;
};

struct TssLayout {
  unsigned word, eip, eflags, regs, segs, ldt, seg_count, end;
};
constexpr TssLayout kTss32{4, 0x20, 0x24, 0x28, 0x48, 0x60, 6, 0x67};
constexpr TssLayout kTss16{2, 0x0e, 0x10, 0x12, 0x22, 0x2a, 4, 0x2b};

bool read_word(Cpu cpu, uint64_t at, unsigned bytes, uint32_t& out) {
  if (bytes == 4) return read_linear(cpu, at, system_mode(cpu), out);
  uint16_t v = 0;
  if (!read_linear(cpu, at, system_mode(cpu), v)) return false;
  out = v;
  return true;
}

bool write_word(Cpu cpu, uint64_t at, unsigned bytes, uint32_t v) {
  if (bytes == 4) return write_linear(cpu, at, system_mode(cpu), v);
  return write_linear(cpu, at, system_mode(cpu), static_cast<uint16_t>(v));
}

bool read_task(Cpu cpu, uint64_t base, bool wide, TaskImage& t) {
  const TssLayout& l = wide ? kTss32 : kTss16;
  if (wide && !read_word(cpu, base + 0x1c, 4, t.cr3)) return false;
  if (!read_word(cpu, base + l.eip, l.word, t.eip) || !read_word(cpu, base + l.eflags, l.word, t.eflags)) return false;
  for (unsigned i = 0; i < 8; i++) {
    if (!read_word(cpu, base + l.regs + i * l.word, l.word, t.regs[i])) return false;
    if (!wide) t.regs[i] |= 0xffff'0000;
  }
  for (unsigned i = 0; i < l.seg_count; i++) {
    uint32_t v = 0;
    if (!read_word(cpu, base + l.segs + i * l.word, 2, v)) return false;
    t.segs[i] = static_cast<uint16_t>(v);
  }
  uint32_t v = 0;
  if (!read_word(cpu, base + l.ldt, 2, v)) return false;
  t.ldt = static_cast<uint16_t>(v);
  if (wide) {
    if (!read_word(cpu, base + 0x64, 2, v)) return false;
    t.trap = (v & 1) != 0;
  }
  return true;
}

bool save_task(Cpu cpu, uint64_t next_eip, uint32_t eflags) {
  const State& s = cpu.s();
  const bool wide = (s.tr.flags & 0x800) != 0;
  const TssLayout& l = wide ? kTss32 : kTss16;
  const uint64_t base = s.tr.base;
  if (!write_word(cpu, base + l.eip, l.word, static_cast<uint32_t>(next_eip)) ||
      !write_word(cpu, base + l.eflags, l.word, eflags)) {
    return false;
  }
  for (unsigned i = 0; i < 8; i++) {
    if (!write_word(cpu, base + l.regs + i * l.word, l.word, static_cast<uint32_t>(cpu.reg(i)))) return false;
  }
  for (unsigned i = 0; i < l.seg_count; i++) {
    if (!write_word(cpu, base + l.segs + i * l.word, l.word, s.segs[i].selector)) return false;
  }
  return true;
}

bool load_task_ldt(Cpu cpu, uint16_t selector) {
  State& s = cpu.s();
  s.ldt.selector = selector;
  s.ldt.flags = 0;
  s.ldt.base = 0;
  s.ldt.limit = 0;
  if (is_null(selector)) return true;
  const uint16_t code = selector_code(selector);
  Descriptor d;
  if ((selector & 4) != 0) return raise(cpu, kTS, code);
  if (!fetch_descriptor(cpu, selector, d, kTS)) return false;
  if (d.is_segment() || d.type() != kTypeLdt || !d.present()) return raise(cpu, kTS, code);
  s.ldt.base = d.base();
  s.ldt.limit = d.limit();
  s.ldt.flags = d.flags();
  return true;
}

bool load_task_code(Cpu cpu, uint16_t selector) {
  const uint16_t code = selector_code(selector);
  if (is_null(selector)) return raise(cpu, kTS, code);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, kTS)) return false;
  const unsigned rpl = selector & 3;
  if (!d.is_code() || (d.is_conforming() ? d.dpl() > rpl : d.dpl() != rpl)) return raise(cpu, kTS, code);
  if (!d.present()) return raise(cpu, kNP, code);
  if (!mark_accessed(cpu, selector, d)) return false;
  set_segment(cpu, R_CS, selector, d);
  return true;
}

bool load_task_data(Cpu cpu, unsigned seg, uint16_t selector, unsigned cpl) {
  if (is_null(selector)) return true;
  const uint16_t code = selector_code(selector);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, kTS)) return false;
  if (!d.is_data() && !(d.is_code() && (d.hi & kDescReadable) != 0)) return raise(cpu, kTS, code);
  if ((d.is_data() || !d.is_conforming()) && ((selector & 3u) > d.dpl() || cpl > d.dpl())) {
    return raise(cpu, kTS, code);
  }
  if (!d.present()) return raise(cpu, kNP, code);
  if (!mark_accessed(cpu, selector, d)) return false;
  set_segment(cpu, seg, selector, d);
  return true;
}

bool load_task_segments(Cpu cpu, const TaskImage& t) {
  State& s = cpu.s();
  if ((t.eflags & kVM) != 0) {
    for (unsigned i = 0; i < 6; i++) set_real_segment(cpu, i, t.segs[i]);
    update_hflags(cpu);
    return true;
  }
  // Until each is loaded, a register holds its selector and nothing usable.
  const unsigned cpl = t.segs[R_CS] & 3;
  for (unsigned i = 0; i < 6; i++) set_segment(cpu, i, t.segs[i], 0, 0, 0);
  s.segs[R_SS].flags = cpl << kDescDplShift;
  update_hflags(cpu);
  Descriptor ss;
  if (!load_task_code(cpu, t.segs[R_CS])) return false;
  if (!fetch_stack_segment(cpu, t.segs[R_SS], cpl, kTS, 0, ss)) return false;
  if (!mark_accessed(cpu, t.segs[R_SS], ss)) return false;
  set_segment(cpu, R_SS, t.segs[R_SS], ss);
  for (const unsigned seg : {unsigned{R_ES}, unsigned{R_DS}, unsigned{R_FS}, unsigned{R_GS}}) {
    if (!load_task_data(cpu, seg, t.segs[seg], cpl)) return false;
  }
  update_hflags(cpu);
  // The last check: the handler of this one finds the task's segments.
  if (t.eip > s.segs[R_CS].limit) return raise(cpu, kGP, uint16_t{0});
  return true;
}

// The register part of a switch. Faults are the new task's.
bool enter_task(Cpu cpu, TaskImage& t, bool wide, bool nested, std::optional<uint16_t> push_code) {
  State& s = cpu.s();
  if (nested) t.eflags |= kNT;
  cpu.set_cr(0, cpu.cr(0) | kCr0Ts);
  cpu.set_dr(7, cpu.dr(7) & ~uint64_t{0x55});  // local breakpoints
  update_breakpoints(cpu);
  s.eip = t.eip;
  cpu.set_eflags(wide ? t.eflags : (t.eflags & 0xffff) | 2);
  s.eflags &= ~uint64_t{kRF} | (has_code_breakpoints(cpu) ? kRF : 0);
  for (unsigned i = 0; i < 8; i++) cpu.set_reg(i, t.regs[i]);
  s.inhibit_irq = 0;
  const bool load_pages = wide && (cpu.cr(0) & kCr0Pg) != 0 && t.cr3 != cpu.cr(3);
  if (load_pages && !load_cr3(cpu, t.cr3)) return false;
  if (!load_task_ldt(cpu, t.ldt)) return false;
  if (!load_task_segments(cpu, t)) return false;
  if (push_code.has_value()) {
    Stack st = Stack::current(cpu);
    if (!st.push(*push_code, wide ? 4 : 2)) return false;
    cpu.set_reg(R_ESP, st.merged(cpu.reg(R_ESP)));
  }
  if (t.trap) {
    cpu.set_dr(6, cpu.dr(6) | kDr6Task);
    return raise(cpu, kDB);
  }
  return true;
}

}  // namespace

bool switch_task(Cpu cpu, uint16_t selector, TaskSwitch reason, uint64_t next_eip, unsigned ext,
                 std::optional<uint16_t> push_code) noexcept {
  State& s = cpu.s();
  // Too much is written on the way to begin again: it takes an exact unit.
  if (cpu.context().exact == 0) {
    cpu.context().request(ExitRequest::Restart);
    return false;
  }
  const Vector bad = reason == TaskSwitch::Return ? kTS : kGP;
  const uint16_t code = selector_code(selector, ext);
  Descriptor d;
  if ((selector & 4) != 0 || is_null(selector)) return raise(cpu, bad, code);
  if (!fetch_descriptor(cpu, selector, d, bad, ext)) return false;
  const bool busy = reason == TaskSwitch::Return;
  const bool wide = d.type() == (busy ? kTypeTss32Busy : kTypeTss32);
  if (d.is_segment() || !(wide || d.type() == (busy ? kTypeTss16Busy : kTypeTss16))) return raise(cpu, bad, code);
  if (!d.present()) return raise(cpu, kNP, code);
  if (d.limit() < (wide ? kTss32.end : kTss16.end)) return raise(cpu, kTS, code);

  TaskImage t;
  const bool nested = reason == TaskSwitch::Call || reason == TaskSwitch::Interrupt;
  const auto old_selector = static_cast<uint16_t>(s.tr.selector);
  uint32_t old_eflags = cpu.eflags();
  if (reason == TaskSwitch::Return) old_eflags &= ~kNT;
  if (!read_task(cpu, d.base(), wide, t)) return false;
  if (!save_task(cpu, next_eip, old_eflags)) return false;
  if (!nested && !set_tss_busy(cpu, old_selector, false)) return false;
  if (nested && !write_word(cpu, d.base(), 2, old_selector)) return false;
  if (reason != TaskSwitch::Return && !set_tss_busy(cpu, selector, true)) return false;

  // From here on the new task runs.
  s.tr.selector = selector;
  s.tr.base = d.base();
  s.tr.limit = d.limit();
  s.tr.flags = d.flags() | kDescTssBusy;
  if (enter_task(cpu, t, wide, nested, push_code)) return true;
  s.exception_flags_ |= kExceptionNewTask;
  s.exception_next_eip = t.eip;
  return false;
}

}  // namespace panda::x86
