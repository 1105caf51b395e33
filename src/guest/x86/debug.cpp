// Debug registers and breakpoints (SDM vol. 3, 18.2 and 18.3).
//
// Nothing is paid while DR7 enables none. Instruction breakpoints are a mode bit (kModeCodeBreak): translations made
// under it ask before each instruction. Data breakpoints are the engine's watches (Watch): an access to
// one is made in an exact unit, behind which after_exact() takes the trap. Port instructions always run
// alone, and note what they hit.
#include "guest/x86/debug.h"

#include <algorithm>

#include "guest/x86/descriptor.h"

namespace panda::x86 {
namespace {

constexpr unsigned kBreakpoints = 4;

// What DR7 says of DRn.
struct Breakpoint {
  enum Kind : uint8_t { kExecute = 0, kWrite = 1, kPort = 2, kAccess = 3 };
  bool enabled;
  uint8_t kind;
  uint32_t size;
  uint64_t address;  // aligned to size
};

Breakpoint breakpoint(const Cpu& cpu, unsigned n) {
  constexpr uint32_t kSizes[] = {1, 2, 8, 4};
  const uint64_t dr7 = cpu.dr(7);
  const auto fields = static_cast<unsigned>(dr7 >> (16 + 4 * n));
  const uint32_t size = kSizes[fields >> 2 & 3];
  uint64_t address = cpu.dr(n);
  if ((cpu.s().efer & kEferLma) == 0) address &= 0xffff'ffff;
  return {.enabled = (dr7 >> (2 * n) & 3) != 0,
          .kind = static_cast<uint8_t>(fields & 3),
          .size = size,
          .address = (fields & 3) == Breakpoint::kExecute ? address : address & ~uint64_t{size - 1}};
}

}  // namespace

bool has_code_breakpoints(const Cpu& cpu) noexcept {
  if ((cpu.dr(7) & 0xff) == 0) return false;
  for (unsigned n = 0; n < kBreakpoints; n++) {
    const Breakpoint b = breakpoint(cpu, n);
    if (b.enabled && b.kind == Breakpoint::kExecute) return true;
  }
  return false;
}

uint32_t code_breakpoints_at(const Cpu& cpu, uint64_t linear) noexcept {
  uint32_t hits = 0;
  for (unsigned n = 0; n < kBreakpoints; n++) {
    const Breakpoint b = breakpoint(cpu, n);
    if (b.enabled && b.kind == Breakpoint::kExecute && b.address == linear) hits |= 1u << n;
  }
  return hits;
}

void note_port_access(Cpu cpu, uint16_t port, unsigned size) noexcept {
  if ((cpu.dr(7) & 0xff) == 0 || (cpu.cr(4) & kCr4De) == 0) return;
  for (unsigned n = 0; n < kBreakpoints; n++) {
    const Breakpoint b = breakpoint(cpu, n);
    if (!b.enabled || b.kind != Breakpoint::kPort) continue;
    if (b.address < uint64_t{port} + size && port < b.address + b.size) cpu.context().watch_hits |= 1u << n;
  }
}

void update_breakpoints(Cpu cpu) noexcept {
  VcpuContext& c = cpu.context();
  Watch watches[kMaxWatches];
  unsigned count = 0;
  for (unsigned n = 0; n < kBreakpoints && (cpu.dr(7) & 0xff) != 0; n++) {
    const Breakpoint b = breakpoint(cpu, n);
    if (!b.enabled || (b.kind != Breakpoint::kWrite && b.kind != Breakpoint::kAccess)) continue;
    watches[count++] = {.address = b.address,
                        .size = b.size,
                        .bit = static_cast<uint16_t>(1u << n),
                        .reads = b.kind == Breakpoint::kAccess};
  }
  if (count == c.watch_count && std::equal(watches, watches + count, c.watches)) return;
  std::copy_n(watches, kMaxWatches, c.watches);
  c.watch_count = count;
  flush_translations(cpu);  // pages become slow, or fast again
}

// Only instructions that begin are stopped: not those that an IRET goes back to with RF, nor a repeated
// one between two iterations, nor the one behind MOV SS (SDM vol. 3, 6.8.3).
bool stopped_by_code_breakpoint(Cpu cpu, uint64_t linear) noexcept {
  State& s = cpu.s();
  if ((s.eflags & kRF) != 0) {
    s.eflags &= ~uint64_t{kRF};
    return false;
  }
  if (s.inhibit_irq == kShadowOfMovSs) return false;
  const uint32_t hits = code_breakpoints_at(cpu, linear);
  if (hits == 0) return false;
  cpu.set_dr(6, (cpu.dr(6) & ~uint64_t{kDr6Breakpoints}) | hits);
  raise(cpu, kDB);
  return true;
}

bool take_debug_trap(Cpu cpu, bool single_step) noexcept {
  State& s = cpu.s();
  VcpuContext& c = cpu.context();
  const uint32_t hits = s.debug_pending_ | c.watch_hits;
  c.watch_hits = 0;
  s.debug_pending_ = 0;
  if (s.inhibit_irq == kShadowOfMovSs) {
    s.debug_pending_ = hits;  // together with what the next instruction meets
    return false;
  }
  if (hits == 0 && !single_step) return false;
  uint64_t dr6 = cpu.dr(6);
  if (hits != 0) dr6 = (dr6 & ~uint64_t{kDr6Breakpoints}) | hits;
  if (single_step) dr6 |= kDr6SingleStep;
  cpu.set_dr(6, dr6);
  raise(cpu, kDB);
  c.request(ExitRequest::None);
  return true;
}

bool guarded_debug_access(Cpu cpu) noexcept {
  if ((cpu.dr(7) & kDr7Guard) == 0) return false;
  cpu.set_dr(6, cpu.dr(6) | kDr6Guard);
  raise(cpu, kDB);
  cpu.s().exception_flags_ |= kExceptionDebugFault;
  return true;
}

bool write_dr(Cpu cpu, unsigned n, uint64_t value) noexcept {
  if (n < 4) {
    cpu.set_dr(n, value);
    update_breakpoints(cpu);
    return true;
  }
  if (n == 4 || n == 5) {
    if ((cpu.cr(4) & kCr4De) != 0) return raise(cpu, kUD);
    n += 2;
  }
  if (value >> 32 != 0) return raise(cpu, kGP, uint16_t{0});
  if (n == 6) {
    cpu.set_dr(6, (value & 0xe00f) | 0xffff'0ff0);
    return true;
  }
  cpu.set_dr(7, (value & 0xffff'23ff) | 0x400);
  update_breakpoints(cpu);
  update_hflags(cpu);
  return true;
}

}  // namespace panda::x86
