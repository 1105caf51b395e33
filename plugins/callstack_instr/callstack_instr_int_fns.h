/* What other plugins call: include callstack_instr_ext.h, call init_callstack_instr_api(). */
#ifndef CALLSTACK_INSTR_INT_FNS_H
#define CALLSTACK_INSTR_INT_FNS_H

#include "callstack_instr/prog_point.h"
#include "panda/plog.h"

#ifdef __cplusplus
extern "C" {
#endif

// Up to n return addresses of the running functions, innermost first; how many there are.
uint32_t get_callers(target_ulong *callers, uint32_t n, CPUState *cpu);

// Up to n addresses of the running functions, innermost first; how many there are.
uint32_t get_functions(target_ulong *functions, uint32_t n, CPUState *cpu);

// The current tap point.
void get_prog_point(CPUState *cpu, prog_point *p);

// Up to 16 callers as a message for a pandalog entry's call_stack.
Panda__CallStack *pandalog_callstack_create(void);
void pandalog_callstack_free(Panda__CallStack *cs);

#ifdef __cplusplus
}
#endif

#endif
