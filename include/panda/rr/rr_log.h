/* Where execution stands in a recording. */
#ifndef PANDA_RR_LOG_H
#define PANDA_RR_LOG_H

#include <stdbool.h>

#include "panda/common.h"
#include "panda/rr/rr_api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct RR_prog_point {
  uint64_t guest_instr_count;
} RR_prog_point;

uint64_t replay_get_total_num_instructions(void); /* of the recording being replayed, else 0 */
double rr_get_percentage(void);                   /* of the replay done, 0 to 100 */
uint8_t rr_replay_finished(void);
/* Instructions that the guest runs for sure before anything reaches it from outside. In a replay: up to the next event
 * of the log. Else 0: nobody knows. */
uint64_t rr_num_instr_before_next_interrupt(void);
bool rr_queue_empty(void); /* true: nothing of a log is left to be replayed (or nothing is replayed) */
void rr_quit_cpu_loop(void);

/* CRC-32 of the guest's RAM; of its registers. Equal at equal counts of a recording and its replays. */
uint32_t rr_checksum_memory(void);
uint32_t rr_checksum_regs(void);
uint64_t rr_get_pc(void);        /* as panda_current_pc() */
uint64_t rr_get_secondary(void); /* a second counter that some architectures need: 0 */

/* Older names of the requests in rr_api.h. */
static inline int rr_do_begin_record(const char *name, CPUState *cpu) {
  (void)cpu;
  return panda_record_begin(name, NULL);
}
static inline void rr_do_end_record(void) { panda_record_end(); }
static inline int rr_do_begin_replay(const char *name, CPUState *cpu) {
  (void)cpu;
  return panda_replay_begin(name);
}
static inline void rr_do_end_replay(int is_error) {
  (void)is_error;
  panda_replay_end();
}

static inline RR_prog_point rr_prog_point(void) {
  RR_prog_point point;
  point.guest_instr_count = rr_get_guest_instr_count();
  return point;
}

#ifdef __cplusplus
}
#endif

#endif
