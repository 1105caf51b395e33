// SYSENTER, SYSEXIT, SYSCALL, SYSRET. True: the state has moved; false: a fault is pending.
#pragma once

#include "guest/x86/system.h"

namespace panda::x86 {

bool sysenter(Cpu cpu) noexcept;
bool sysexit(Cpu cpu, bool to64) noexcept;
bool syscall_insn(Cpu cpu, uint64_t next_eip) noexcept;
bool sysret(Cpu cpu, bool to64) noexcept;

}  // namespace panda::x86
