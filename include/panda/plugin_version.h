/* Version of the plugin API: changes where a plugin must be compiled again. */
#ifndef PANDA_PLUGIN_VERSION_H
#define PANDA_PLUGIN_VERSION_H

#define PANDA_API_VERSION 1

#endif
