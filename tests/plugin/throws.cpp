// Throws where it should not: in init_plugin, or in uninit_plugin.
#include <stdexcept>

#include "panda/plugin.h"

extern "C" {
bool init_plugin(void *);
void uninit_plugin(void *);
}
namespace {
bool at_end = false;
}
bool init_plugin(void *) {
  panda_arg_list *args = panda_get_args("throws");
  at_end = panda_parse_bool_opt(args, "end", "throw in uninit_plugin");
  panda_free_args(args);
  if (!at_end) throw std::runtime_error("thrown at once");
  return true;
}
void uninit_plugin(void *) { throw std::runtime_error("thrown at the end"); }
