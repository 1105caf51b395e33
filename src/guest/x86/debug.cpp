// Debug registers (SDM vol. 3, 18.2). They are kept and read back; DR7.GD works. Breakpoints are not
// implemented: enabling one in DR7 has no effect.
#include "guest/x86/descriptor.h"

namespace panda::x86 {

bool write_dr(Cpu cpu, unsigned n, uint64_t value) noexcept {
  if (n < 4) {
    cpu.set_dr(n, value);
    return true;
  }
  if (n == 4 || n == 5) {
    if ((cpu.cr(4) & kCr4De) != 0) return raise(cpu, kUD);
    n += 2;
  }
  if (value >> 32 != 0) return raise(cpu, kGP, uint16_t{0});
  if (n == 6) cpu.set_dr(6, (value & 0xe00f) | 0xffff'0ff0);
  else cpu.set_dr(7, (value & 0xffff'23ff) | 0x400);
  return true;
}

}  // namespace panda::x86
