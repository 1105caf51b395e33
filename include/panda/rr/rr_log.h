/* Where execution stands in a recording. */
#ifndef PANDA_RR_LOG_H
#define PANDA_RR_LOG_H

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
void rr_quit_cpu_loop(void);

static inline RR_prog_point rr_prog_point(void) {
  RR_prog_point point;
  point.guest_instr_count = rr_get_guest_instr_count();
  return point;
}

#ifdef __cplusplus
}
#endif

#endif
