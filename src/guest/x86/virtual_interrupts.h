// CR4.VME and CR4.PVI: a virtual interrupt flag for code that may not have the real one (SDM vol. 3,
// 21.3 and 21.4).
#pragma once

#include "guest/x86/system.h"
#include "ir/helper.h"

namespace panda::x86 {

// INT n in virtual-8086 mode with CR4.VME: through the interrupt table at 0 where the TSS's redirection bitmap
// says so. Done: it has happened. Gate: it goes the usual way. Fault: an exception is pending.
enum class Redirection : uint8_t { Done, Gate, Fault };
Redirection redirect_interrupt(Cpu cpu, uint8_t vector, uint64_t next_eip) noexcept;
// What a 16-bit POPF or IRET below IOPL 3 does with EFLAGS. False: #GP is pending.
bool load_virtual_flags(Cpu cpu, uint16_t popped) noexcept;

extern const ir::HelperDesc kHelperVirtualSti;
extern const ir::HelperDesc kHelperVirtualPopf;  // (value, new SP, next eip)

}  // namespace panda::x86
