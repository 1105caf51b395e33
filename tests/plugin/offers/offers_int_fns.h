#ifndef OFFERS_INT_FNS_H
#define OFFERS_INT_FNS_H
/* What the plugin `offers` lets others call: kinds of prototypes that the generated header must forward. */
#include "offers_types.h"

uint64_t offers_blocks(void);
void offers_add(offers_pair_t *pair, int, const char *text);
// A pointer to a function, and one that is there on one target only.
int offers_each(int (*visit)(int value, void *context), void *context);
#ifdef TARGET_X86_64
target_ulong offers_only_64(target_ulong x);
#endif
#endif
