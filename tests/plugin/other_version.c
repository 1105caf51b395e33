/* Built for an API of the future. */
#include "panda/plugin.h"
bool init_plugin(void *self);
int panda_plugin_api_version(void) { return PANDA_API_VERSION + 1; }
bool init_plugin(void *self) { return self != NULL; }
