/* Control of record and replay. A request takes effect between two blocks; one may be pending. */
#ifndef PANDA_RR_API_H
#define PANDA_RR_API_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum RR_mode { RR_NOCHANGE = -1, RR_OFF = 0, RR_RECORD, RR_REPLAY } RR_mode;
typedef enum RRCTRL_ret { RRCTRL_EINVALID = -2, RRCTRL_EPENDING = -1, RRCTRL_OK = 0 } RRCTRL_ret;
#define RRCTRL_ERROR RRCTRL_EINVALID

int panda_vm_quit(void);
int panda_record_begin(const char *name, const char *snapshot); /* snapshot: NULL */
int panda_record_end(void);
int panda_replay_begin(const char *name);
int panda_replay_end(void);

RR_mode panda_rr_mode(void);
RR_mode panda_rr_requested(void); /* the pending request, or RR_NOCHANGE */

static inline bool rr_in_replay(void) { return panda_rr_mode() == RR_REPLAY; }
static inline bool rr_in_record(void) { return panda_rr_mode() == RR_RECORD; }
static inline bool rr_replay_requested(void) { return panda_rr_requested() == RR_REPLAY; }
static inline bool rr_record_requested(void) { return panda_rr_requested() == RR_RECORD; }
static inline bool rr_off(void) { return panda_rr_mode() == RR_OFF; }
static inline bool rr_on(void) { return !rr_off(); }

#ifdef __cplusplus
}
#endif

#endif
