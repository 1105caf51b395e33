/* Header name of older plugin sources. */
#include "panda/common.h"
