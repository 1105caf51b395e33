/* Kept for sources that include it. */
#include "panda/rr/rr_log.h"
