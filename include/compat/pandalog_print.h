// The first generation's name of this header.
#include "panda/plog_print.h"
