/* Built for an API of the future. */
#include "panda/plugin_version.h"
#undef PANDA_API_VERSION
#define PANDA_API_VERSION 2
#include "panda/plugin.h"
bool init_plugin(void *self);
bool init_plugin(void *self) { return self != NULL; }
