/* The guest CPU's state for the target being compiled. One struct serves as CPUState and as
 * CPUArchState, and its env_ptr points at itself, so sources of every generation read registers:
 *   env->regs[R_EAX]    ((CPUArchState *)cpu->env_ptr)->regs[R_EAX]
 */
#ifndef PANDA_CPU_H
#define PANDA_CPU_H

#include "panda/target.h"

#if defined(TARGET_I386) || defined(PANDA_CORE_VIEW)
#include "panda/target/i386/cpu.h"
typedef CPUX86State CPUState;
typedef CPUX86State CPUArchState;
typedef CPUX86State X86CPU;
#define EAX (env->regs[R_EAX])
#define ECX (env->regs[R_ECX])
#define EDX (env->regs[R_EDX])
#define EBX (env->regs[R_EBX])
#define ESP (env->regs[R_ESP])
#define EBP (env->regs[R_EBP])
#define ESI (env->regs[R_ESI])
#define EDI (env->regs[R_EDI])
#define EIP (env->eip)
#define CPU_NB_REGS (TARGET_LONG_BITS == 64 ? 16 : 8)
/* hflags, as far as plugins ask for them */
#define HF_CPL_MASK 3u
#define CR0_PE_MASK 1u
#define CR0_PG_MASK 0x80000000u
#define CR4_PAE_MASK 0x20u
#define MSR_EFER_LMA 0x400u
#define DESC_L_MASK 0x00200000u
#define DESC_B_MASK 0x00400000u
#endif

#define CPU(obj) ((CPUState *)(obj))
#define X86_CPU(obj) ((X86CPU *)(obj))
#define ENV_GET_CPU(e) ((CPUState *)(e))

#endif
