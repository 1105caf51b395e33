// Who wants to be told of what. Callbacks are kept per type in the order of registration and may be
// added, removed, enabled and disabled at any time, from inside a callback too: while any runs,
// entries are only marked, and the vectors are tidied when the last one has returned.
//
// Callbacks are called untyped: each argument goes zero-extended into a 64-bit integer register, as
// the host's calling convention (System V x86-64) passes every integer and pointer argument. So one
// engine serves plugins of all targets and of all generations of the API, whose prototypes differ in
// the width of target_ulong and in the result type (void, int, bool).
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#define PANDA_CORE_VIEW 1
#include "panda/callbacks/cb-defs.h"
#undef PANDA_CORE_VIEW

namespace panda::plugin {

struct Plugin {
  std::string name;  // without panda_ and .so
  std::string path;
  void* handle = nullptr;
  bool enabled = true;
  bool loaded = true;  // false: unloading, or gone; the record stays, translated code may point at it
  bool unloading = false;
  std::vector<Plugin*> uses{};  // plugins it required: not unloaded before it
};

// What panda_fail() throws, through the plugin's frames.
struct PluginFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Callback {
  Plugin* plugin = nullptr;
  void* function = nullptr;
  void* context = nullptr;
  bool with_context = false;
  bool enabled = true;
  bool removed = false;

  [[nodiscard]] bool same(const Plugin* p, void* f, void* c, bool wc) const {
    return !removed && plugin == p && function == f && context == c && with_context == wc;
  }
};

[[nodiscard]] std::string_view callback_name(unsigned type);  // as in PANDA_CB_<name>

class CallbackRegistry {
 public:
  static constexpr unsigned kTypes = PANDA_CB_LAST;

  // False: such a callback is there already.
  bool add(unsigned type, const Callback& callback);
  // False: there is no such callback.
  bool set_enabled(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context, bool on);
  [[nodiscard]] bool is_enabled(unsigned type, const Plugin* plugin, void* function) const;
  // False: there is no such callback.
  bool remove(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context);
  void remove_all(const Plugin* plugin);
  void plugin_changed() { update(); }                                 // its `enabled`
  [[nodiscard]] bool has(unsigned type, const Plugin* plugin) const;  // registered, enabled or not

  // Somebody is registered and enabled.
  [[nodiscard]] bool active(unsigned type) const { return active_[type]; }
  // Changes with everything that translated code depends on.
  [[nodiscard]] uint64_t generation() const { return generation_; }
  void new_generation() { generation_++; }
  [[nodiscard]] unsigned depth() const { return depth_; }  // callbacks running
  [[nodiscard]] Plugin* running() const { return running_; }

  // Runs once when no callback runs any more (not now, even if none does).
  void when_idle(std::function<void()> action) { when_idle_ = std::move(action); }

  // Plugins with an enabled callback of this type, in the order of their first.
  [[nodiscard]] std::vector<Plugin*> plugins_of(unsigned type) const;

  // Calls each enabled callback of `type` (of `only`, where given) until `stop(result)` is true.
  template <typename Stop, typename... Args>
  void call(unsigned type, const Plugin* only, Stop stop, Args... args) {
    depth_++;
    const size_t end = callbacks_[type].size();
    for (size_t i = 0; i < end; i++) {
      const Callback cb = callbacks_[type][i];  // a copy: the vector may grow meanwhile
      if (cb.removed || !cb.enabled || !cb.plugin->enabled) continue;
      if (only != nullptr && cb.plugin != only) continue;
      if (stop(guarded(type, cb, to_register(args)...))) break;
    }
    if (--depth_ == 0) idle();
  }
  template <typename... Args>
  void call_all(unsigned type, Args... args) {
    call(
        type, nullptr, [](uint64_t) { return false; }, args...);
  }

 private:
  template <typename T>
  static uint64_t to_register(T value) {
    if constexpr (std::is_pointer_v<T>)
      return reinterpret_cast<uint64_t>(value);
    else
      return static_cast<uint64_t>(value);
  }
  template <typename... Words>
  uint64_t guarded(unsigned type, const Callback& cb, Words... words) {
    Plugin* const outer = running_;
    running_ = cb.plugin;
    uint64_t result = 0;
    try {
      if (cb.with_context) {
        result = reinterpret_cast<uint64_t (*)(void*, Words...)>(cb.function)(cb.context, words...);
      } else {
        result = reinterpret_cast<uint64_t (*)(Words...)>(cb.function)(words...);
      }
    } catch (const PluginFailure& e) {
      failed(type, cb, e.what());
    } catch (const std::exception& e) {
      failed(type, cb, std::string("an exception: ") + e.what());
    } catch (...) {
      failed(type, cb, "an exception that is not a std::exception");
    }
    running_ = outer;
    return result;
  }
  void failed(unsigned type, const Callback& cb, const std::string& why);
  void update();
  void tidy();
  void idle();

  std::array<std::vector<Callback>, kTypes> callbacks_;
  std::array<bool, kTypes> active_{};
  uint64_t generation_ = 1;
  unsigned depth_ = 0;
  bool dirty_ = false;
  Plugin* running_ = nullptr;
  std::function<void()> when_idle_;
};

}  // namespace panda::plugin
