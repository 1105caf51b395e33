/* Header name of older plugin sources. */
#include "panda/rr/rr_log.h"
