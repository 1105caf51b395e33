// Loading segment registers, LDTR and TR (SDM vol. 2, MOV, LLDT, LTR; vol. 3, 5.5 to 5.7).
#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

bool load_stack_segment(Cpu cpu, uint16_t selector) noexcept {
  const State& s = cpu.s();
  const unsigned cpl = cpu.cpl();
  if (is_null(selector)) {
    if ((s.hflags & kModeCs64) == 0 || cpl == 3 || (selector & 3u) != cpl) return raise(cpu, kGP, uint16_t{0});
    // A null SS keeps the privilege level in its DPL.
    set_segment(cpu, R_SS, selector, 0, 0xffff'ffff, cpl << kDescDplShift);
    return true;
  }
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  if ((selector & 3u) != cpl || d.dpl() != cpl || !d.is_writable_data()) {
    return raise(cpu, kGP, selector_code(selector));
  }
  if (!d.present()) return raise(cpu, kSS, selector_code(selector));
  if (!mark_accessed(cpu, selector, d)) return false;
  set_segment(cpu, R_SS, selector, d);
  return true;
}

}  // namespace

bool load_segment(Cpu cpu, unsigned seg, uint16_t selector) noexcept {
  if (!is_protected(cpu.s())) {
    set_real_segment(cpu, seg, selector);
    return true;
  }
  if (seg == R_SS) return load_stack_segment(cpu, selector);
  if (is_null(selector)) {
    set_segment(cpu, seg, selector, 0, 0, 0);
    return true;
  }
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  const bool readable = d.is_data() || (d.is_code() && (d.hi & kDescReadable) != 0);
  if (!readable) return raise(cpu, kGP, selector_code(selector));
  if (d.is_data() || !d.is_conforming()) {
    if ((selector & 3u) > d.dpl() || cpu.cpl() > d.dpl()) return raise(cpu, kGP, selector_code(selector));
  }
  if (!d.present()) return raise(cpu, kNP, selector_code(selector));
  if (!mark_accessed(cpu, selector, d)) return false;
  set_segment(cpu, seg, selector, d);
  return true;
}

bool load_ldt(Cpu cpu, uint16_t selector) noexcept {
  State& s = cpu.s();
  if (is_null(selector)) {
    s.ldt.selector = selector;
    s.ldt.base = 0;
    s.ldt.limit = 0;
    s.ldt.flags = 0;
    return true;
  }
  if ((selector & 4) != 0) return raise(cpu, kGP, selector_code(selector));
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  if (d.is_segment() || d.type() != kTypeLdt) return raise(cpu, kGP, selector_code(selector));
  uint64_t base = d.base();
  if (long_mode(s) && !fetch_upper_base(cpu, selector, base)) return false;
  if (!d.present()) return raise(cpu, kNP, selector_code(selector));
  if (!is_canonical(base)) return raise(cpu, kGP, selector_code(selector));
  s.ldt.selector = selector;
  s.ldt.base = base;
  s.ldt.limit = d.limit();
  s.ldt.flags = d.flags();
  return true;
}

bool load_task_register(Cpu cpu, uint16_t selector) noexcept {
  State& s = cpu.s();
  if (is_null(selector)) return raise(cpu, kGP, uint16_t{0});
  if ((selector & 4) != 0) return raise(cpu, kGP, selector_code(selector));
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  const bool fits = d.type() == kTypeTss32 || (d.type() == kTypeTss16 && !long_mode(s));
  if (d.is_segment() || !fits) return raise(cpu, kGP, selector_code(selector));
  uint64_t base = d.base();
  if (long_mode(s) && !fetch_upper_base(cpu, selector, base)) return false;
  if (!d.present()) return raise(cpu, kNP, selector_code(selector));
  if (!is_canonical(base)) return raise(cpu, kGP, selector_code(selector));
  if (!set_tss_busy(cpu, selector, true)) return false;
  s.tr.selector = selector;
  s.tr.base = base;
  s.tr.limit = d.limit();
  s.tr.flags = d.flags() | kDescTssBusy;
  return true;
}

void drop_inaccessible_segments(Cpu cpu, unsigned new_cpl) noexcept {
  for (const unsigned seg : {unsigned{R_ES}, unsigned{R_DS}, unsigned{R_FS}, unsigned{R_GS}}) {
    SegmentCache& c = cpu.s().segs[seg];
    const bool conforming = (c.flags & (kDescCode | kDescConforming)) == (kDescCode | kDescConforming);
    if (conforming || (c.flags >> kDescDplShift & 3) >= new_cpl) continue;
    // A null selector has DPL 0 here: FS and GS bases that 64-bit code has set stay, as the
    // processor leaves an already null register alone.
    if (is_null(static_cast<uint16_t>(c.selector)) && (c.flags & kDescPresent) == 0) continue;
    c.selector = 0;
    c.base = 0;
    c.limit = 0;
    c.flags = 0;
  }
}

}  // namespace panda::x86
