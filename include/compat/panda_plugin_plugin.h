/* The first generation's name of panda/plugin_plugin.h. */
#include "panda_plugin.h"
#include "panda/plugin_plugin.h"
