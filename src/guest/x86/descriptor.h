// Segment descriptors (SDM vol. 3, 3.4.5 and 5.8) and stack pushes that commit nothing until the
// whole transfer is known to succeed. Internal to the system part of the front end.
#pragma once

#include <cstdint>

#include "guest/x86/system.h"

namespace panda::x86 {

// Bits of a descriptor's second word, as in SegmentCache::flags.
inline constexpr uint32_t kDescAccessed = 1u << 8, kDescWritable = 1u << 9, kDescReadable = 1u << 9,
                          kDescExpandDown = 1u << 10, kDescConforming = 1u << 10, kDescCode = 1u << 11,
                          kDescSegment = 1u << 12, kDescPresent = 1u << 15, kDescLong = 1u << 21, kDescBig = 1u << 22,
                          kDescGranular = 1u << 23, kDescTssBusy = 1u << 9;
inline constexpr unsigned kDescDplShift = 13;
inline constexpr uint32_t kDescFlagsMask = 0x00f0'ff00;

// System descriptor types.
enum SystemType : uint32_t {
  kTypeTss16 = 1,
  kTypeLdt = 2,
  kTypeTss16Busy = 3,
  kTypeCallGate16 = 4,
  kTypeTaskGate = 5,
  kTypeIntGate16 = 6,
  kTypeTrapGate16 = 7,
  kTypeTss32 = 9,
  kTypeTss32Busy = 11,
  kTypeCallGate32 = 12,
  kTypeIntGate32 = 14,
  kTypeTrapGate32 = 15,
};

struct Descriptor {
  uint32_t lo = 0, hi = 0;
  [[nodiscard]] uint32_t base() const { return lo >> 16 | (hi & 0xff) << 16 | (hi & 0xff00'0000); }
  [[nodiscard]] uint32_t limit() const {
    const uint32_t raw = (lo & 0xffff) | (hi & 0xf0000);
    return (hi & kDescGranular) != 0 ? raw << 12 | 0xfff : raw;
  }
  [[nodiscard]] uint32_t flags() const { return hi & kDescFlagsMask; }
  [[nodiscard]] unsigned type() const { return hi >> 8 & 15; }
  [[nodiscard]] unsigned dpl() const { return hi >> kDescDplShift & 3; }
  [[nodiscard]] bool present() const { return (hi & kDescPresent) != 0; }
  [[nodiscard]] bool is_segment() const { return (hi & kDescSegment) != 0; }
  [[nodiscard]] bool is_code() const { return (hi & (kDescSegment | kDescCode)) == (kDescSegment | kDescCode); }
  [[nodiscard]] bool is_data() const { return (hi & (kDescSegment | kDescCode)) == kDescSegment; }
  [[nodiscard]] bool is_writable_data() const { return is_data() && (hi & kDescWritable) != 0; }
  [[nodiscard]] bool is_conforming() const { return (hi & kDescConforming) != 0; }
  // Gates.
  [[nodiscard]] uint16_t gate_selector() const { return static_cast<uint16_t>(lo >> 16); }
  [[nodiscard]] uint32_t gate_offset() const { return (lo & 0xffff) | (hi & 0xffff'0000); }
};

[[nodiscard]] constexpr bool is_null(uint16_t selector) { return (selector & 0xfffc) == 0; }
[[nodiscard]] constexpr uint16_t selector_code(uint16_t selector, unsigned ext = 0) {
  return static_cast<uint16_t>((selector & 0xfffc) | ext);
}
[[nodiscard]] constexpr bool is_canonical(uint64_t a) {
  return static_cast<uint64_t>(static_cast<int64_t>(a << 16) >> 16) == a;
}
[[nodiscard]] inline bool long_mode(const State& s) { return (s.hflags & kModeLma) != 0; }

// Reads a descriptor from the GDT or LDT. Beyond: not inside the table (nothing raised, the caller
// knows the right fault). Fault: reading it faulted (pending).
enum class Lookup : uint8_t { Ok, Beyond, Fault };
Lookup read_descriptor(Cpu cpu, uint16_t selector, Descriptor& out) noexcept;
// The same with `vector`(selector | ext) raised where it is beyond the table.
bool fetch_descriptor(Cpu cpu, uint16_t selector, Descriptor& out, Vector vector = kGP, unsigned ext = 0) noexcept;
// The upper half (base bits 63-32) of a 16-byte system descriptor.
bool fetch_upper_base(Cpu cpu, uint16_t selector, uint64_t& base, Vector vector = kGP, unsigned ext = 0) noexcept;
// Sets the accessed bit in memory where it is not set.
bool mark_accessed(Cpu cpu, uint16_t selector, Descriptor& d) noexcept;
// Sets or clears the busy bit of a TSS descriptor in memory.
bool set_tss_busy(Cpu cpu, uint16_t selector, bool busy) noexcept;
// Puts a descriptor into a segment register.
void set_segment(Cpu cpu, unsigned seg, uint16_t selector, const Descriptor& d) noexcept;
// Real and virtual-8086 mode: base from the selector.
void set_real_segment(Cpu cpu, unsigned seg, uint16_t selector) noexcept;
// What an outer-privilege return does to DS, ES, FS and GS.
void drop_inaccessible_segments(Cpu cpu, unsigned new_cpl) noexcept;

// The checks on a CS that a return (RETF, IRET) or task switch loads are in far_transfer.h. SS for
// an inner stack: from a TSS (vector #TS) or from the return frame (#GP).
bool fetch_stack_segment(Cpu cpu, uint16_t selector, unsigned new_cpl, Vector vector, unsigned ext,
                         Descriptor& out) noexcept;

// TSS stack pointers (SDM vol. 3, 7.2.1 and 7.7).
bool read_inner_stack(Cpu cpu, unsigned level, unsigned ext, uint16_t& ss, uint32_t& esp) noexcept;
bool read_long_stack(Cpu cpu, unsigned slot, unsigned ext, uint64_t& rsp) noexcept;  // slot 0-2 RSPn, 3 + n ISTn

// A stack being pushed to or popped from; registers are set by the caller at the end.
struct Stack {
  State* owner;
  uint64_t base;  // of SS; 0 in 64-bit mode
  uint64_t sp;
  uint64_t mask;  // of SP: 0xffff, 0xffffffff or all
  MmuMode mode;
  uint32_t limit = ~0u;  // of SS
  uint32_t flags = kDescWritable;
  unsigned ext = 0;             // of the #SS error code
  uint16_t fault_selector = 0;  // named by #SS where a new stack is being set up

  [[nodiscard]] static Stack current(Cpu cpu) noexcept;
  bool push(uint64_t value, unsigned bytes) noexcept;
  bool pop(uint64_t& value, unsigned bytes) noexcept;
  [[nodiscard]] uint64_t merged(uint64_t old_rsp) const { return (old_rsp & ~mask) | (sp & mask); }

 private:
  [[nodiscard]] bool permits(uint64_t offset, unsigned bytes) const noexcept;
};
[[nodiscard]] constexpr uint64_t stack_mask(uint32_t ss_flags) {
  return (ss_flags & kDescBig) != 0 ? 0xffff'ffffu : 0xffffu;
}

}  // namespace panda::x86
