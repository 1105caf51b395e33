// An older place of this header.
#include "panda/plog-cc-bridge.h"
