/* What other plugins call: include stringsearch_ext.h, call init_stringsearch_api(). */
#ifndef STRINGSEARCH_INT_FNS_H
#define STRINGSEARCH_INT_FNS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Also search for this text, from now on. True: it is searched for (it may have been already).
bool add_string(const char *arg);

// No longer search for it. False: it was not searched for.
bool remove_string(const char *arg);

// Search for nothing, until a string is added.
void reset_strings(void);

#ifdef __cplusplus
}
#endif

#endif
