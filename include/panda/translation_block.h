/* A piece of guest code that was translated as a whole, as callbacks see it. Valid from
 * before_tcg_codegen until the translation is dropped; do not keep pointers across callbacks
 * without copying pc and size. Read-only for plugins, but for `opaque`, which is theirs.
 */
#ifndef PANDA_TRANSLATION_BLOCK_H
#define PANDA_TRANSLATION_BLOCK_H

#include "panda/target.h"

typedef struct TranslationBlock {
  PANDA_TARGET_FIELD(pc);      /* guest virtual (linear) address of the first instruction */
  PANDA_TARGET_FIELD(cs_base); /* linear address minus the pc register (x86: CS base) */
  uint64_t flags;              /* CPU mode the translation depends on; the engine's encoding */
  uint64_t phys_pc;            /* guest physical address of the first instruction */
  uint16_t size;               /* guest bytes; 0 until the block is translated */
  uint16_t icount;             /* guest instructions; 0 until the block is translated */
  uint32_t cflags;
  const void *tc_ptr; /* host code, for display */
  void *opaque;       /* free for plugins; NULL at first */
  void *unit_;        /* the engine's */
  uint64_t engine_;   /* the engine's */
} TranslationBlock;

/* How a block ended (after_block_exec): <= TB_EXIT_IDX1 it ran to its end, else it was left early
 * (fault, exception). */
#define TB_EXIT_MASK 3
#define TB_EXIT_IDX0 0
#define TB_EXIT_IDX1 1
#define TB_EXIT_ICOUNT_EXPIRED 2
#define TB_EXIT_REQUESTED 3

#endif
