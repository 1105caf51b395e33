/* The callbacks that callstack_instr offers (PPP). `func` is the address of the called function. */
#ifndef CALLSTACK_INSTR_H
#define CALLSTACK_INSTR_H

#include "callstack_instr/prog_point.h"
#include "panda/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A call was executed: the stack pointer is at the return address, the first instruction of func is next. */
typedef void (*on_call_t)(CPUState *env, target_ulong func);
/* A return from func was executed. Functions left in another way (longjmp, exit) have no on_ret. */
typedef void (*on_ret_t)(CPUState *env, target_ulong func);

#ifdef __cplusplus
}
#endif

#endif
