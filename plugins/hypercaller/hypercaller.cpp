// Hands the guest's hypercalls to the functions that other plugins registered for their numbers.
#include <unordered_map>

#include "panda/plugin.hpp"

extern "C" {
#include "hypercaller_int_fns.h"
}

namespace {

struct Hypercaller : panda::Plugin {
  std::unordered_map<uint32_t, hypercall_t> functions;

  Hypercaller();
};
Hypercaller *plugin;

Hypercaller::Hypercaller() {
  plugin = this;
  // Functions of a plugin that is being unloaded.
  panda_offer_callbacks([](bool (*gone)(void (*function)())) {
    std::erase_if(plugin->functions,
                  [&](const auto &entry) { return gone(reinterpret_cast<void (*)()>(entry.second)); });
  });
  on_guest_hypercall([this](CPUState *cpu) {
    const auto found = functions.find(static_cast<uint32_t>(cpu->regs[R_EAX]));
    if (found == functions.end()) return false;
    const hypercall_t function = found->second;  // it may unregister itself
    function(cpu);
    return true;
  });
}

}  // namespace

void register_hypercall(uint32_t magic, hypercall_t function) {
  if (function == nullptr) {
    plugin->say("no function is given for the hypercall %#x", magic);
    return;
  }
  hypercall_t &place = plugin->functions[magic];
  if (place != nullptr && place != function) plugin->say("the function of the hypercall %#x is replaced", magic);
  place = function;
}

void unregister_hypercall(uint32_t magic) {
  if (plugin->functions.erase(magic) == 0) plugin->say("the hypercall %#x has no function to unregister", magic);
}

PANDA_PLUGIN(Hypercaller)
