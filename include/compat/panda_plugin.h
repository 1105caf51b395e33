/* The first generation's name of panda/plugin.h. Its callbacks returned int where today's return
 * void or bool, so in C the members of panda_cb take any function here. */
#ifndef PANDA_COMPAT_PANDA_PLUGIN_H
#define PANDA_COMPAT_PANDA_PLUGIN_H

#if !defined(PANDA_UNTYPED_CALLBACKS) && !defined(PANDA_CB_DEFS_H)
#define PANDA_UNTYPED_CALLBACKS 1
#endif
#include "panda/plugin.h"

#endif
