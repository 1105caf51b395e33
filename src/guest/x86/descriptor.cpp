// Reading descriptors and TSS fields from guest memory, and the tentative stack.
#include "guest/x86/descriptor.h"

namespace panda::x86 {

Lookup read_descriptor(Cpu cpu, uint16_t selector, Descriptor& out) noexcept {
  const State& s = cpu.s();
  const SegmentCache& table = (selector & 4) != 0 ? s.ldt : s.gdt;
  if ((selector & 4) != 0 && (table.flags & kDescPresent) == 0) return Lookup::Beyond;  // null LDTR
  const uint32_t offset = selector & 0xfff8u;
  if (uint64_t{offset} + 7 > table.limit) return Lookup::Beyond;
  uint64_t raw = 0;
  if (!read_linear(cpu, table.base + offset, system_mode(cpu), raw)) return Lookup::Fault;
  out = {static_cast<uint32_t>(raw), static_cast<uint32_t>(raw >> 32)};
  return Lookup::Ok;
}

bool fetch_descriptor(Cpu cpu, uint16_t selector, Descriptor& out, Vector vector, unsigned ext) noexcept {
  const Lookup r = read_descriptor(cpu, selector, out);
  if (r == Lookup::Beyond) return raise(cpu, vector, selector_code(selector, ext));
  return r == Lookup::Ok;
}

bool fetch_upper_base(Cpu cpu, uint16_t selector, uint64_t& base, Vector vector, unsigned ext) noexcept {
  const SegmentCache& gdt = cpu.s().gdt;
  const uint32_t offset = selector & 0xfff8u;
  if (uint64_t{offset} + 15 > gdt.limit) return raise(cpu, vector, selector_code(selector, ext));
  uint64_t upper = 0;
  if (!read_linear(cpu, gdt.base + offset + 8, system_mode(cpu), upper)) return false;
  if ((upper >> 40 & 0x1f) != 0) return raise(cpu, vector, selector_code(selector, ext));
  base |= upper << 32;
  return true;
}

namespace {

bool write_second_word(Cpu cpu, uint16_t selector, uint32_t hi) noexcept {
  const SegmentCache& table = (selector & 4) != 0 ? cpu.s().ldt : cpu.s().gdt;
  return write_linear(cpu, table.base + (selector & 0xfff8u) + 4, system_mode(cpu), hi);
}

}  // namespace

bool mark_accessed(Cpu cpu, uint16_t selector, Descriptor& d) noexcept {
  if ((d.hi & kDescAccessed) != 0) return true;
  d.hi |= kDescAccessed;
  return write_second_word(cpu, selector, d.hi);
}

bool set_tss_busy(Cpu cpu, uint16_t selector, bool busy) noexcept {
  uint32_t hi = 0;
  const uint64_t at = cpu.s().gdt.base + (selector & 0xfff8u) + 4;
  if (!read_linear(cpu, at, system_mode(cpu), hi)) return false;
  hi = busy ? hi | kDescTssBusy : hi & ~kDescTssBusy;
  return write_linear(cpu, at, system_mode(cpu), hi);
}

void set_segment(Cpu cpu, unsigned seg, uint16_t selector, uint64_t base, uint32_t limit, uint32_t flags) noexcept {
  SegmentCache& c = cpu.s().segs[seg];
  c.selector = selector;
  c.base = base;
  c.limit = limit;
  c.flags = flags;
}

void set_segment(Cpu cpu, unsigned seg, uint16_t selector, const Descriptor& d) noexcept {
  set_segment(cpu, seg, selector, d.base(), d.limit(), d.flags());
}

void set_real_segment(Cpu cpu, unsigned seg, uint16_t selector) noexcept {
  SegmentCache& c = cpu.s().segs[seg];
  c.selector = selector;
  c.base = uint64_t{selector} << 4;
  if ((cpu.s().eflags & kVM) != 0) {
    c.limit = 0xffff;
    c.flags = kDescPresent | 3u << kDescDplShift | kDescSegment | kDescWritable | kDescAccessed;
  } else {
    // Real mode keeps limit and size ("unreal mode").
    const uint32_t type = kDescPresent | kDescSegment | kDescWritable | kDescAccessed;
    c.flags = (c.flags & (kDescBig | kDescGranular)) | type | (seg == R_CS ? kDescCode : 0);
  }
}

bool fetch_stack_segment(Cpu cpu, uint16_t selector, unsigned new_cpl, Vector vector, unsigned ext,
                         Descriptor& out) noexcept {
  const uint16_t code = selector_code(selector, ext);
  if (is_null(selector)) return raise(cpu, vector, static_cast<uint16_t>(ext));
  if (!fetch_descriptor(cpu, selector, out, vector, ext)) return false;
  if ((selector & 3u) != new_cpl || out.dpl() != new_cpl || !out.is_writable_data()) return raise(cpu, vector, code);
  if (!out.present()) return raise(cpu, kSS, code);
  return true;
}

bool read_inner_stack(Cpu cpu, unsigned level, unsigned ext, uint16_t& ss, uint32_t& esp) noexcept {
  const SegmentCache& tr = cpu.s().tr;
  const bool wide = (tr.flags & 0x800) != 0;  // 32-bit TSS
  const unsigned offset = wide ? 4 + level * 8 : 2 + level * 4;
  if (offset + (wide ? 5u : 3u) > tr.limit) {
    return raise(cpu, kTS, selector_code(static_cast<uint16_t>(tr.selector), ext));
  }
  if (wide) {
    return read_linear(cpu, tr.base + offset, system_mode(cpu), esp) &&
           read_linear(cpu, tr.base + offset + 4, system_mode(cpu), ss);
  }
  uint16_t sp = 0;
  if (!read_linear(cpu, tr.base + offset, system_mode(cpu), sp)) return false;
  esp = sp;
  return read_linear(cpu, tr.base + offset + 2, system_mode(cpu), ss);
}

bool read_long_stack(Cpu cpu, unsigned slot, unsigned ext, uint64_t& rsp) noexcept {
  const SegmentCache& tr = cpu.s().tr;
  // RSP0-2 at 4, 12, 20; IST1-7 from 0x24.
  const unsigned offset = slot < 3 ? 4 + slot * 8 : 0x24 + (slot - 4) * 8;
  if (offset + 7 > tr.limit) return raise(cpu, kTS, selector_code(static_cast<uint16_t>(tr.selector), ext));
  if (!read_linear(cpu, tr.base + offset, system_mode(cpu), rsp)) return false;
  if (!is_canonical(rsp)) return raise(cpu, kSS, static_cast<uint16_t>(ext));
  return true;
}

Stack Stack::current(Cpu cpu) noexcept {
  const State& s = cpu.s();
  const SegmentCache& ss = s.segs[R_SS];
  Stack st{.owner = &cpu.s(),
           .base = ss.base,
           .sp = cpu.reg(R_ESP),
           .mask = stack_mask(ss.flags),
           .mode = cpu.mode(),
           .limit = ss.limit,
           .flags = ss.flags};
  if ((s.hflags & kModeCs64) != 0) {
    st.base = 0;
    st.mask = ~uint64_t{0};
  }
  return st;
}

bool Stack::permits(uint64_t offset, unsigned bytes) const noexcept {
  if (mask == ~uint64_t{0}) return is_canonical(offset);
  const uint64_t last = offset + bytes - 1;
  if ((flags & (kDescExpandDown | kDescCode)) == kDescExpandDown) {
    return offset > limit && last <= ((flags & kDescBig) != 0 ? 0xffff'ffffu : 0xffffu);
  }
  return last <= limit;
}

bool Stack::push(uint64_t value, unsigned bytes) noexcept {
  Cpu cpu(*owner);
  const uint64_t next = (sp - bytes) & mask;
  if (!permits(next, bytes)) return raise(cpu, kSS, selector_code(fault_selector, ext));
  const bool flat64 = mask == ~uint64_t{0};
  const uint64_t address = flat64 ? next : (base + next) & 0xffff'ffff;
  bool ok = false;
  if (bytes == 2)
    ok = write_linear(cpu, address, mode, static_cast<uint16_t>(value));
  else if (bytes == 4)
    ok = write_linear(cpu, address, mode, static_cast<uint32_t>(value));
  else
    ok = write_linear(cpu, address, mode, value);
  if (ok) sp = next;
  return ok;
}

bool Stack::pop(uint64_t& value, unsigned bytes) noexcept {
  Cpu cpu(*owner);
  const uint64_t offset = sp & mask;
  if (!permits(offset, bytes)) return raise(cpu, kSS, uint16_t{0});
  const uint64_t address = mask == ~uint64_t{0} ? offset : (base + offset) & 0xffff'ffff;
  uint16_t v16 = 0;
  uint32_t v32 = 0;
  bool ok = false;
  if (bytes == 2) {
    ok = read_linear(cpu, address, mode, v16);
    value = v16;
  } else if (bytes == 4) {
    ok = read_linear(cpu, address, mode, v32);
    value = v32;
  } else {
    ok = read_linear(cpu, address, mode, value);
  }
  if (ok) sp = (offset + bytes) & mask;
  return ok;
}

}  // namespace panda::x86
