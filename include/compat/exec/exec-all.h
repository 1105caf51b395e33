/* Header name of older plugin sources. */
#include "panda/types.h"
#include "panda/common.h"
