// Who wants to be told of what. Callbacks are kept per type in the order of registration and may be
// added, removed, enabled and disabled at any time, from inside a callback too: while any runs,
// entries are only marked, and the lists are tidied when the last one has returned. A record is never
// freed, since translated code may point at it; it is used again when its callback is registered again.
//
// Callbacks are called untyped: each argument goes zero-extended into a 64-bit integer register, as
// the host's calling convention (System V x86-64) passes every integer and pointer argument. So one
// engine serves plugins of all targets and of all generations of the API, whose prototypes differ in
// the width of target_ulong and in the result type (void, int, bool).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ir/helper.h"
#include "plugin/callback_scan.h"
#include "plugin/near_memory.h"

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
  bool external = false;        // no shared object: its handle means nothing to the linker
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

  // The registry's.
  unsigned type = 0;
  bool emitted = false;       // translations are to have calls of it
  unsigned switched_off = 0;  // how often
  // Of a memory callback: called first, with the same arguments, and the callback only where it returns true.
  const void* filter = nullptr;
  // What translated code calls: the function (or its filter) while it is to be called, else one that does nothing. So a
  // callback ends at once, though translations that call it may still run for a while.
  const void** target = nullptr;
  bool direct = false;    // may be called by translated code without the registry's care
  ir::HelperDesc call{};  // of the direct call

  [[nodiscard]] bool same(const Plugin* p, void* f, void* c, bool wc) const {
    return plugin == p && function == f && context == c && with_context == wc;
  }
  [[nodiscard]] bool live() const { return !removed && enabled && plugin->enabled; }
};

// As in cb-table.inc.
enum class CallbackKind : uint8_t { Asked, Block, BlockEnd, BlockLeft, Insn, Access, Event, Silent };
[[nodiscard]] CallbackKind callback_kind(unsigned type);
[[nodiscard]] std::string_view callback_name(unsigned type);  // as in PANDA_CB_<name>

class CallbackRegistry {
 public:
  static constexpr unsigned kTypes = PANDA_CB_LAST;

  // False: such a callback is there already.
  bool add(unsigned type, const Callback& callback);
  // False: there is no such callback.
  bool set_enabled(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context, bool on);
  // False: there is no such callback. nullptr: none.
  bool set_filter(unsigned type, const Plugin* plugin, void* function, void* context, const void* filter);
  [[nodiscard]] bool is_enabled(unsigned type, const Plugin* plugin, void* function) const;
  // False: there is no such callback.
  bool remove(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context);
  void remove_all(const Plugin* plugin);
  void plugin_changed() { update(); }                                 // its `enabled`
  [[nodiscard]] bool has(unsigned type, const Plugin* plugin) const;  // registered, enabled or not

  // Somebody is registered and enabled.
  [[nodiscard]] bool active(unsigned type) const { return active_[type]; }
  // Somebody is told of translations, or of what runs in them one by one.
  [[nodiscard]] bool translations_told() const;
  // Those that translations are to call, in the order of registration. A callback that is switched off and on again
  // and again stays among them, so that this costs no translations.
  [[nodiscard]] const std::vector<Callback*>& emitted(unsigned type) const { return emitted_[type]; }
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
      const Callback& cb = *callbacks_[type][i];
      if (!cb.live() || (only != nullptr && cb.plugin != only)) continue;
      if (stop(guarded(cb, to_register(args)...))) break;
    }
    if (--depth_ == 0) idle();
  }
  template <typename... Args>
  void call_all(unsigned type, Args... args) {
    call(type, nullptr, [](uint64_t) { return false; }, args...);
  }
  // One callback, if it is to be called.
  template <typename... Args>
  void call_one(const Callback& cb, Args... args) {
    if (!cb.live()) return;
    depth_++;
    guarded(cb, to_register(args)...);
    if (--depth_ == 0) idle();
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
  uint64_t guarded(const Callback& cb, Words... words) {
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
      failed(cb, e.what());
    } catch (const std::exception& e) {
      failed(cb, std::string("an exception: ") + e.what());
    } catch (...) {
      failed(cb, "an exception that is not a std::exception");
    }
    running_ = outer;
    return result;
  }
  void failed(const Callback& cb, const std::string& why);
  void prepare(Callback& cb);
  void set_filter(Callback& cb, const void* filter);
  void update();
  void update(unsigned type);
  void tidy();
  void idle();

  std::deque<Callback> records_;
  NearPool<const void*> targets_;
  std::array<std::vector<Callback*>, kTypes> callbacks_;
  std::array<std::vector<Callback*>, kTypes> emitted_;
  std::array<bool, kTypes> active_{};
  uint64_t generation_ = 1;
  unsigned depth_ = 0;
  bool dirty_ = false;
  Plugin* running_ = nullptr;
  std::function<void()> when_idle_;
};

}  // namespace panda::plugin
