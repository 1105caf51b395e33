#include "plugin/callback_registry.h"

#include <algorithm>
#include <cstdio>

namespace panda::plugin {
namespace {

constexpr std::string_view kNames[] = {
#define PANDA_CALLBACK(ID, member, result, ...) #ID,
#define PANDA_CALLBACK_NOARGS(ID, member, result) #ID,
#include "panda/callbacks/cb-table.inc"
};
static_assert(std::size(kNames) == CallbackRegistry::kTypes);

// Those whose registration changes what is compiled into translations.
constexpr bool compiled_in(unsigned type) {
  switch (type) {
    case PANDA_CB_BEFORE_BLOCK_TRANSLATE:
    case PANDA_CB_AFTER_BLOCK_TRANSLATE:
    case PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT:
    case PANDA_CB_BEFORE_TCG_CODEGEN:
    case PANDA_CB_BEFORE_BLOCK_EXEC:
    case PANDA_CB_AFTER_BLOCK_EXEC:
    case PANDA_CB_INSN_TRANSLATE:
    case PANDA_CB_INSN_EXEC:
    case PANDA_CB_AFTER_INSN_TRANSLATE:
    case PANDA_CB_AFTER_INSN_EXEC:
    case PANDA_CB_START_BLOCK_EXEC:
    case PANDA_CB_END_BLOCK_EXEC:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string_view callback_name(unsigned type) { return type < std::size(kNames) ? kNames[type] : "?"; }

bool CallbackRegistry::add(unsigned type, const Callback& callback) {
  for (const Callback& c : callbacks_[type]) {
    if (c.same(callback.plugin, callback.function, callback.context, callback.with_context)) return false;
  }
  callbacks_[type].push_back(callback);
  if (compiled_in(type)) generation_++;
  update();
  return true;
}

bool CallbackRegistry::set_enabled(unsigned type, const Plugin* plugin, void* function, void* context,
                                   bool with_context, bool on) {
  for (Callback& c : callbacks_[type]) {
    if (!c.same(plugin, function, context, with_context)) continue;
    if (c.enabled != on) {
      c.enabled = on;
      if (compiled_in(type)) generation_++;
      update();
    }
    return true;
  }
  return false;
}

bool CallbackRegistry::is_enabled(unsigned type, const Plugin* plugin, void* function) const {
  return std::any_of(callbacks_[type].begin(), callbacks_[type].end(), [&](const Callback& c) {
    return !c.removed && c.enabled && c.plugin == plugin && c.function == function && plugin->enabled;
  });
}

bool CallbackRegistry::has(unsigned type, const Plugin* plugin) const {
  return std::any_of(callbacks_[type].begin(), callbacks_[type].end(),
                     [&](const Callback& c) { return !c.removed && c.plugin == plugin; });
}

bool CallbackRegistry::remove(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context) {
  for (Callback& c : callbacks_[type]) {
    if (!c.same(plugin, function, context, with_context)) continue;
    c.removed = true;
    dirty_ = true;
    if (compiled_in(type)) generation_++;
    update();
    if (depth_ == 0) tidy();
    return true;
  }
  return false;
}

void CallbackRegistry::remove_all(const Plugin* plugin) {
  for (unsigned type = 0; type < kTypes; type++) {
    for (Callback& c : callbacks_[type]) {
      if (c.plugin != plugin || c.removed) continue;
      c.removed = true;
      dirty_ = true;
      if (compiled_in(type)) generation_++;
    }
  }
  update();
  if (depth_ == 0 && dirty_) tidy();
}

std::vector<Plugin*> CallbackRegistry::plugins_of(unsigned type) const {
  std::vector<Plugin*> found;
  for (const Callback& c : callbacks_[type]) {
    if (c.removed || !c.enabled || !c.plugin->enabled) continue;
    if (std::find(found.begin(), found.end(), c.plugin) == found.end()) found.push_back(c.plugin);
  }
  return found;
}

void CallbackRegistry::failed(unsigned type, const Callback& cb, const std::string& why) {
  std::fprintf(stderr, "panda: plugin %s: its callback %s failed: %s; the plugin is disabled\n",
               cb.plugin->name.c_str(), std::string(callback_name(type)).c_str(), why.c_str());
  cb.plugin->enabled = false;
  update();
}

void CallbackRegistry::update() {
  for (unsigned type = 0; type < kTypes; type++) {
    const bool now = std::any_of(callbacks_[type].begin(), callbacks_[type].end(),
                                 [](const Callback& c) { return !c.removed && c.enabled && c.plugin->enabled; });
    if (now != active_[type] && compiled_in(type)) generation_++;
    active_[type] = now;
  }
}

void CallbackRegistry::tidy() {
  for (auto& list : callbacks_) std::erase_if(list, [](const Callback& c) { return c.removed; });
  dirty_ = false;
}

void CallbackRegistry::idle() {
  if (dirty_) tidy();
  if (!when_idle_) return;
  const std::function<void()> action = std::exchange(when_idle_, nullptr);
  action();
}

}  // namespace panda::plugin
