// Who may access I/O ports: IOPL and the TSS's permission bitmap (SDM vol. 1, 19.5).
#include "guest/x86/descriptor.h"

namespace panda::x86 {

bool check_port(Cpu cpu, uint16_t port, unsigned size) noexcept {
  const State& s = cpu.s();
  if ((s.hflags & kModePe) == 0) return true;
  const unsigned iopl = s.eflags >> 12 & 3;
  if ((s.hflags & kModeVm) == 0 && cpu.cpl() <= iopl) return true;
  const bool tss32 = (s.tr.flags & kDescPresent) != 0 && (s.tr.flags & 0x800) != 0;
  if (!tss32 || s.tr.limit < 0x67) return raise(cpu, kGP, uint16_t{0});
  uint16_t map = 0;
  if (!read_linear(cpu, s.tr.base + 0x66, system_mode(cpu), map)) return false;
  const uint32_t offset = map + port / 8u;
  // Two bytes are always read, so the map must reach that far.
  if (offset + 1 > s.tr.limit) return raise(cpu, kGP, uint16_t{0});
  uint16_t bits = 0;
  if (!read_linear(cpu, s.tr.base + offset, system_mode(cpu), bits)) return false;
  const unsigned wanted = ((1u << size) - 1) << (port % 8);
  return (bits & wanted) == 0 || raise(cpu, kGP, uint16_t{0});
}

}  // namespace panda::x86
