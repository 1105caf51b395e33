/* Types that plugins share. */
#ifndef PANDA_TYPES_H
#define PANDA_TYPES_H

#include "panda/cpu.h"
#include "panda/target.h"
#include "panda/translation_block.h"

typedef target_ulong target_ptr_t;
typedef int32_t target_pid_t;
#define TARGET_PTR_FMT TARGET_FMT_lx
#define TARGET_PID_FMT "%" PRId32

typedef struct Monitor Monitor;
typedef struct MachineState MachineState;
typedef struct MemoryRegion MemoryRegion;

/* Declares the function types cb_name_t and cb_name_with_context_t of a plugin-plugin callback. */
#define PPP_CB_TYPEDEF(ret_type, cb_name, ...)  \
  typedef ret_type (*cb_name##_t)(__VA_ARGS__); \
  typedef ret_type (*cb_name##_with_context_t)(void *context, __VA_ARGS__);

#endif
