/* The C interface to pandalogs. A plugin writes entries into the log that -pandalog FILE opens:
 *
 *     if (pandalog) {
 *       Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
 *       entry.has_asid = 1;
 *       entry.asid = panda_current_asid(cpu);
 *       pandalog_write_entry(&entry);
 *     }
 *
 * Fields are those of all plugins' .proto fragments (docs/pandalog.md). `pc` and `instr` are filled in.
 *
 * Ownership: an entry that is written, and all it points at, stays the caller's and may be freed or
 * changed when the call returns. One that is read is the caller's too: pandalog_free_entry().
 */
#ifndef PANDA_PLOG_H
#define PANDA_PLOG_H

#include "panda/plog-cc-bridge.h"
#include "plog.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

void pandalog_open_write(const char *filename, uint32_t chunk_size);
void pandalog_open_read_fwd(const char *filename);
void pandalog_open_read_bwd(const char *filename);
void pandalog_open(const char *filename, const char *mode); /* "w"; "r" */
void pandalog_close(void);
void pandalog_write_entry(Panda__LogEntry *entry);
void pandalog_seek(uint64_t instr);

/* The next entry, or NULL. Where one is not an entry of this schema, that is said and the next is tried. */
static inline Panda__LogEntry *pandalog_read_entry(void) {
  size_t size;
  const uint8_t *bytes;
  while ((bytes = panda_log_read_entry(NULL, &size)) != NULL) {
    Panda__LogEntry *entry = panda__log_entry__unpack(NULL, size, bytes);
    if (entry != NULL) return entry;
    panda_log_refuse_entry(NULL, "an entry that was read is not a panda.LogEntry of this plugin's .proto");
  }
  return NULL;
}
static inline void pandalog_free_entry(Panda__LogEntry *entry) {
  if (entry != NULL) panda__log_entry__free_unpacked(entry, NULL);
}

#ifdef __cplusplus
}
#endif

#endif
