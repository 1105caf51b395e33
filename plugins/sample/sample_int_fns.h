/* Functions that other plugins can call: include sample_ext.h, call init_sample_api(). */
#ifndef SAMPLE_INT_FNS_H
#define SAMPLE_INT_FNS_H

#include "panda/types.h"

#ifdef __cplusplus
extern "C" {
#endif

// Prints "sample was passed a cpustate"; 0.
int sample_function(CPUState *env);

// Prints "sample was passed a cpustate and parameter FOO"; foo.
int other_sample_function(CPUState *env, int foo);

#ifdef __cplusplus
}
#endif

#endif
