/* The callback that stringsearch offers (PPP). */
#ifndef STRINGSEARCH_H
#define STRINGSEARCH_H

#include "panda/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A string was seen. pc: the instruction that read or wrote its last byte. in_memory: the string lies in
 * memory as a whole, from addr on; otherwise its bytes came from different places and addr is where the last
 * one is. matched_string is valid during the call. */
typedef void (*on_ssm_t)(CPUState *env, target_ulong pc, target_ulong addr, uint8_t *matched_string,
                         uint32_t matched_string_length, bool is_write, bool in_memory);

#ifdef __cplusplus
}
#endif

#endif
