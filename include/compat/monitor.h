/* Header name of older plugin sources. */
#include "panda/plugin.h"
