/* Pandalogs as bytes: what the C interface (plog.h) and the C++ one (plog-cc.hpp) are made of. An entry
 * here is a serialised panda.LogEntry, so that nothing in the executable depends on the fields that
 * plugins have: a plugin brings the classes it was compiled with.
 *
 * Thread: functions on one log are for one thread; those on the machine's, for the guest's. What goes
 * wrong is said once in one line on stderr that names the file; the run goes on without the log.
 */
#ifndef PANDA_PLOG_CC_BRIDGE_H
#define PANDA_PLOG_CC_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1 while the machine's log is open for writing (-pandalog): ask before making an entry. Do not write. */
extern int pandalog;

/* ---- one log. NULL in their place: the machine's, which -pandalog opens. */
typedef struct panda_log panda_log;
panda_log *panda_log_new(void); /* not open */
void panda_log_delete(panda_log *log);
/* 0, or -1. `chunk_size`: bytes of entries per compressed chunk; 0: the default, 16 MiB. */
int panda_log_open_write(panda_log *log, const char *path, uint32_t chunk_size);
int panda_log_open_read(panda_log *log, const char *path, int backwards);
/* 0, or -1 where something could not be written. A log that is not open: 0. */
int panda_log_close(panda_log *log);

/* Sets both to the machine's program counter and instruction count. Other logs: leaves them alone. */
void panda_log_stamp(panda_log *log, uint64_t *pc, uint64_t *instr);
/* Room for an entry of `size` bytes at instruction `instr`: fill it at once, then end it. NULL: there is
 * no log to write to (any more). */
uint8_t *panda_log_begin_entry(panda_log *log, size_t size, uint64_t instr);
void panda_log_end_entry(panda_log *log);
void panda_log_refuse_entry(panda_log *log, const char *why); /* an entry that cannot be written: says so once */

/* The next entry, valid until the next call on this log; NULL: there is none (any more). */
const uint8_t *panda_log_read_entry(panda_log *log, size_t *size);
/* The next entry read is the first one at or after `instr`; backwards: the last at or before. */
void panda_log_seek(panda_log *log, uint64_t instr);

/* ---- the machine's log, under the names of the bridge between C and C++ */
void pandalog_init(const char *fname); /* opens it for writing, as -pandalog does */
void pandalog_cc_init_write(const char *path);
void pandalog_cc_init_read(const char *path);
void pandalog_cc_init_read_bwd(const char *path);
void pandalog_cc_seek(uint64_t instr);
void pandalog_cc_close(void);
/* An entry as it is (with its own pc and instr). The bytes stay the caller's. */
void pandalog_write_packed(size_t entry_size, unsigned char *buf);
/* A size_t with the entry's size, then the entry; free() it. NULL: there is none. */
unsigned char *pandalog_read_packed(void);

#ifdef __cplusplus
}
#endif

#endif
