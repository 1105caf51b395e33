// The first generation's name of this header.
#include "panda/plog.h"
