/* Needs a function that nobody has. */
#include "panda/plugin.h"
bool init_plugin(void *self);
void nobody_has_this(void *self);
bool init_plugin(void *self) {
  nobody_has_this(self);
  return true;
}
