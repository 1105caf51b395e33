/* A tap point: where in the program an access happens. (caller, pc, stack): the return address of the
 * running function, the instruction, and whose stack it is. C and C++.
 */
#ifndef CALLSTACK_INSTR_PROG_POINT_H
#define CALLSTACK_INSTR_PROG_POINT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "panda/types.h"

/* By what callstack_instr tells stacks apart; the numbers stand in files. */
enum stack_type { STACK_ASID = 0, STACK_HEURISTIC = 1, STACK_THREADED = 2 };
#ifndef __cplusplus
typedef enum stack_type stack_type;
#endif

struct prog_point {
  target_ulong caller; /* 0: not known, no call was seen on this stack */
  target_ulong pc;
  enum stack_type stackKind;
  union {
    target_ulong sidFirst; /* the ASID; threaded: process ID */
    target_ulong cr3;      /* its older name */
  };
  target_ulong sidSecond; /* heuristic: the stack's first stack pointer; threaded: thread ID; else 0 */
  bool isKernelMode;
#ifdef __cplusplus
  bool operator==(const prog_point &p) const {
    return pc == p.pc && caller == p.caller && sidFirst == p.sidFirst && sidSecond == p.sidSecond &&
           stackKind == p.stackKind && isKernelMode == p.isKernelMode;
  }
  bool operator<(const prog_point &p) const {
    if (pc != p.pc) return pc < p.pc;
    if (caller != p.caller) return caller < p.caller;
    if (stackKind != p.stackKind) return stackKind < p.stackKind;
    if (sidFirst != p.sidFirst) return sidFirst < p.sidFirst;
    if (sidSecond != p.sidSecond) return sidSecond < p.sidSecond;
    return isKernelMode < p.isKernelMode;
  }
#endif
};
#ifndef __cplusplus
typedef struct prog_point prog_point;
#else
struct hash_prog_point {
  size_t operator()(const prog_point &p) const {
    uint64_t h = (p.pc * UINT64_C(0x9e3779b97f4a7c15)) ^ (p.caller * UINT64_C(0xc2b2ae3d27d4eb4f)) ^
                 (p.sidFirst * UINT64_C(0x165667b19e3779f9)) ^ p.sidSecond;
    return h ^ h >> 29;
  }
};
#endif

/* The stack's ID as text: "(asid=0x3eb5b3c0)". Free it with free() (g_free() is that too). Works without
 * the plugin. */
static inline char *get_stackid_string(struct prog_point p) {
  char *text = (char *)malloc(96);
  if (!text) abort();
  const uint64_t first = p.sidFirst, second = p.sidSecond;
  switch (p.stackKind) {
    case STACK_HEURISTIC:
      snprintf(text, 96, "(asid=0x%" PRIx64 ", sp=0x%" PRIx64 ")", first, second);
      break;
    case STACK_THREADED:
      snprintf(text, 96, "(processID=0x%" PRIx64 ", threadID=0x%" PRIx64 ")", first, second);
      break;
    default:
      snprintf(text, 96, "(asid=0x%" PRIx64 ")", first);
  }
  return text;
}

#endif
