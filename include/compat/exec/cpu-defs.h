/* Header name of older plugin sources. */
#include "panda/cpu.h"
#include "panda/types.h"
