/* Header name of older plugin sources. */
#include "panda/target.h"
