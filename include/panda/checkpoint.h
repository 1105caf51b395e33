/* Checkpoints of a replay. There are none in this version: the queries answer 0, -1 or NULL, and what should
 * make or restore one says once that it does not. */
#ifndef PANDA_CHECKPOINT_H
#define PANDA_CHECKPOINT_H

#include "panda/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Checkpoint Checkpoint;

size_t get_num_checkpoints(void);
int get_closest_checkpoint_num(uint64_t instr_count);
Checkpoint *get_checkpoint(int num);
void *panda_checkpoint(void);
void panda_restore_by_num(int num);
void panda_restore(void *opaque);

#ifdef __cplusplus
}
#endif

#endif
