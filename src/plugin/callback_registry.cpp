#include "plugin/callback_registry.h"

#include <algorithm>
#include <cstdio>

namespace panda::plugin {
namespace {

struct Row {
  std::string_view name;
  CallbackKind kind;
};
constexpr Row kTable[] = {
#define PANDA_CALLBACK(ID, member, kind, result, ...) {#ID, CallbackKind::kind},
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) {#ID, CallbackKind::kind},
#include "panda/callbacks/cb-table.inc"
};
static_assert(std::size(kTable) == CallbackRegistry::kTypes);

constexpr bool is(CallbackKind kind, unsigned type) { return kTable[type].kind == kind; }

// Translations call each of them.
constexpr bool called_by_translations(unsigned type) {
  return is(CallbackKind::Block, type) || is(CallbackKind::BlockEnd, type) || is(CallbackKind::Insn, type) ||
         is(CallbackKind::Access, type);
}

// Switched off more often than this, a callback stays in translations.
constexpr unsigned kOftenSwitched = 2;

uint64_t nothing() { return 0; }

}  // namespace

std::string_view callback_name(unsigned type) { return type < std::size(kTable) ? kTable[type].name : "?"; }
CallbackKind callback_kind(unsigned type) { return kTable[type].kind; }

// What translated code needs to call it.
void CallbackRegistry::prepare(Callback& cb) {
  if (!called_by_translations(cb.type)) return;
  cb.target = targets_.take();
  const Footprint footprint = scan_callback(cb.filter != nullptr ? cb.filter : cb.function);
  cb.direct = !footprint.calls_out && cb.type != PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT;
  cb.call.name = callback_name(cb.type);
  cb.call.function = cb.target;
  cb.call.indirect = true;
  cb.call.params[0] = ir::Type::I64;
  if (is(CallbackKind::Access, cb.type)) cb.call.params[1] = cb.call.params[2] = ir::Type::I64;  // a fourth: data
  if (is(CallbackKind::BlockEnd, cb.type)) cb.call.params[1] = ir::Type::I64;
  // A filter does not look at the guest.
  cb.call.reads = footprint.reads && cb.filter == nullptr ? ir::kAllState : ir::kNoState;
  cb.call.writes = footprint.writes && cb.filter == nullptr ? ir::kAllState : ir::kNoState;
  cb.call.may_exit = false;
  cb.call.keeps = footprint.keeps;
  cb.call.ignores = footprint.ignores;
  cb.call.has_context = cb.with_context;
  cb.call.context = cb.context;
}

// Translations that call it now know which registers its function keeps: they are left with their cell.
void CallbackRegistry::set_filter(Callback& cb, const void* filter) {
  if (cb.target != nullptr) *std::exchange(cb.target, nullptr) = reinterpret_cast<const void*>(&nothing);
  cb.filter = filter;
  prepare(cb);
}

bool CallbackRegistry::add(unsigned type, const Callback& callback) {
  const auto is_it = [&](const Callback& c) {
    return c.type == type && c.same(callback.plugin, callback.function, callback.context, callback.with_context);
  };
  for (const Callback* c : callbacks_[type]) {
    if (is_it(*c) && !c->removed) return false;
  }
  Callback* record = nullptr;
  for (Callback& c : records_) {
    // One that is still in its list, waiting to be tidied away, has its place there.
    if (is_it(c) && std::find(callbacks_[type].begin(), callbacks_[type].end(), &c) == callbacks_[type].end())
      record = &c;
  }
  if (record == nullptr) {
    record = &records_.emplace_back(callback);
    record->type = type;
  }
  if (record->filter != nullptr || record->target == nullptr) set_filter(*record, nullptr);
  record->enabled = callback.enabled;
  record->removed = false;
  callbacks_[type].push_back(record);
  if (is(CallbackKind::Asked, type)) generation_++;  // it is to be asked about everything
  update(type);
  return true;
}

bool CallbackRegistry::set_enabled(unsigned type, const Plugin* plugin, void* function, void* context,
                                   bool with_context, bool on) {
  for (Callback* c : callbacks_[type]) {
    if (c->removed || !c->same(plugin, function, context, with_context)) continue;
    if (c->enabled != on) {
      c->enabled = on;
      if (!on) c->switched_off++;
      if (is(CallbackKind::Asked, type)) generation_++;
      update(type);
    }
    return true;
  }
  return false;
}

bool CallbackRegistry::set_filter(unsigned type, const Plugin* plugin, void* function, void* context,
                                  const void* filter) {
  for (Callback* c : callbacks_[type]) {
    if (c->removed || !c->same(plugin, function, context, true)) continue;
    set_filter(*c, filter);
    update(type);
    generation_++;
    return true;
  }
  return false;
}

bool CallbackRegistry::is_enabled(unsigned type, const Plugin* plugin, void* function) const {
  return std::any_of(callbacks_[type].begin(), callbacks_[type].end(),
                     [&](const Callback* c) { return c->live() && c->plugin == plugin && c->function == function; });
}

bool CallbackRegistry::has(unsigned type, const Plugin* plugin) const {
  return std::any_of(callbacks_[type].begin(), callbacks_[type].end(),
                     [&](const Callback* c) { return !c->removed && c->plugin == plugin; });
}

bool CallbackRegistry::remove(unsigned type, const Plugin* plugin, void* function, void* context, bool with_context) {
  for (Callback* c : callbacks_[type]) {
    if (c->removed || !c->same(plugin, function, context, with_context)) continue;
    c->removed = true;
    dirty_ = true;
    if (is(CallbackKind::Asked, type)) generation_++;
    update(type);
    if (depth_ == 0) tidy();
    return true;
  }
  return false;
}

void CallbackRegistry::remove_all(const Plugin* plugin) {
  for (unsigned type = 0; type < kTypes; type++) {
    for (Callback* c : callbacks_[type]) {
      if (c->plugin != plugin || c->removed) continue;
      c->removed = true;
      dirty_ = true;
      if (is(CallbackKind::Asked, type)) generation_++;
    }
  }
  update();
  if (depth_ == 0 && dirty_) tidy();
}

bool CallbackRegistry::translations_told() const {
  for (unsigned type = 0; type < kTypes; type++) {
    if (is(CallbackKind::Event, type) || is(CallbackKind::Silent, type)) continue;
    if (active_[type] || !emitted_[type].empty()) return true;
  }
  return false;
}

std::vector<Plugin*> CallbackRegistry::plugins_of(unsigned type) const {
  std::vector<Plugin*> found;
  for (const Callback* c : callbacks_[type]) {
    if (!c->live()) continue;
    if (std::find(found.begin(), found.end(), c->plugin) == found.end()) found.push_back(c->plugin);
  }
  return found;
}

void CallbackRegistry::failed(const Callback& cb, const std::string& why) {
  std::fprintf(stderr, "panda: plugin %s: its callback %s failed: %s; the plugin is disabled\n",
               cb.plugin->name.c_str(), std::string(callback_name(cb.type)).c_str(), why.c_str());
  cb.plugin->enabled = false;
  update();
}

void CallbackRegistry::update() {
  for (unsigned type = 0; type < kTypes; type++) update(type);
}

void CallbackRegistry::update(unsigned type) {
  const std::vector<Callback*>& all = callbacks_[type];
  const bool was_active = active_[type];
  active_[type] = std::any_of(all.begin(), all.end(), [](const Callback* c) { return c->live(); });
  if (is(CallbackKind::BlockLeft, type) && active_[type] != was_active) generation_++;
  if (!called_by_translations(type)) return;
  std::vector<Callback*> now;
  for (Callback* c : all) {
    const void* const called = c->filter != nullptr ? c->filter : c->function;
    *c->target = c->live() ? called : reinterpret_cast<const void*>(&nothing);
    const bool stays = !c->removed && c->emitted && c->switched_off > kOftenSwitched;
    c->emitted = c->live() || stays;
    if (c->emitted) now.push_back(c);
  }
  if (now == emitted_[type]) return;
  emitted_[type] = std::move(now);
  generation_++;
}

void CallbackRegistry::tidy() {
  for (auto& list : callbacks_) std::erase_if(list, [](const Callback* c) { return c->removed; });
  dirty_ = false;
}

void CallbackRegistry::idle() {
  if (dirty_) tidy();
  if (!when_idle_) return;
  const std::function<void()> action = std::exchange(when_idle_, nullptr);
  action();
}

}  // namespace panda::plugin
