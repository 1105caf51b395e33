/* The guest architecture that this compilation is for: word type, its printf formats. A plugin is
 * compiled once per target with exactly one family of these defines on the command line:
 *   x86_64: -DTARGET_X86_64 -DTARGET_I386      i386: -DTARGET_I386
 */
#ifndef PANDA_TARGET_H
#define PANDA_TARGET_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(PANDA_CORE_VIEW) || defined(TARGET_X86_64)
#define TARGET_LONG_BITS 64
#define TARGET_LONG_SIZE 8
typedef uint64_t target_ulong;
typedef int64_t target_long;
#define TARGET_FMT_lx "%016" PRIx64
#define TARGET_FMT_lu "%" PRIu64
#define TARGET_FMT_ld "%" PRId64
#elif defined(TARGET_I386)
#define TARGET_LONG_BITS 32
#define TARGET_LONG_SIZE 4
typedef uint32_t target_ulong;
typedef int32_t target_long;
#define TARGET_FMT_lx "%08" PRIx32
#define TARGET_FMT_lu "%" PRIu32
#define TARGET_FMT_ld "%" PRId32
#else
#error "no guest architecture: compile plugins with -DTARGET_X86_64 -DTARGET_I386 or -DTARGET_I386"
#endif

#if defined(PANDA_CORE_VIEW)
#define PANDA_TARGET_NAME "core"
#elif defined(TARGET_X86_64)
#define PANDA_TARGET_NAME "x86_64"
#else
#define PANDA_TARGET_NAME "i386"
#endif
#ifndef TARGET_NAME
#define TARGET_NAME PANDA_TARGET_NAME
#endif

#define TARGET_PAGE_BITS 12
#define TARGET_PAGE_SIZE (((target_ulong)1) << TARGET_PAGE_BITS)
#define TARGET_PAGE_MASK (~(TARGET_PAGE_SIZE - 1))

/* Guest physical address. */
typedef uint64_t hwaddr;
typedef uint64_t target_phys_addr_t; /* its older name */
#define TARGET_FMT_plx "%016" PRIx64
#define HWADDR_PRIx PRIx64
#define HWADDR_FMT_plx "%016" PRIx64
/* Offset in guest RAM as the host holds it. */
typedef uint64_t ram_addr_t;
#define RAM_ADDR_FMT "%" PRIx64
typedef uint32_t MemTxResult;
#define MEMTX_OK 0u
#define MEMTX_ERROR 1u
#define MEMTX_DECODE_ERROR 2u

/* A field as wide as the guest's word in a struct whose layout is the same for all targets. */
#if TARGET_LONG_BITS == 64
#define PANDA_TARGET_FIELD(name) uint64_t name
#else
#define PANDA_TARGET_FIELD(name) \
  uint32_t name;                 \
  uint32_t name##_upper_
#endif

#endif
