// Calls functions of other plugins when the guest gets to an address.
//
// A hook before an instruction is compiled into the translation of that instruction and of no other, wherever in a
// block it stands: code without hooks runs as if this plugin were not there. A hook at a new address drops the
// translations, so that they are made again with it; an address that had a hook once keeps its call, so that hooks
// that come and go (on return addresses, say) cost no translation.
//
// The other types, of which few are in use, are found by the callbacks for all blocks, which are registered as soon
// as there is a hook of that type.
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "panda/plugin.hpp"

extern "C" {
#include "hooks_int_fns.h"
}

namespace {

using HookList = std::vector<std::unique_ptr<hook>>;

// An address that has, or had, hooks before its instruction.
struct Place {
  HookList hooks;
  TranslationBlock block{};  // the one last translated that holds it
};

struct Hooks : panda::Plugin {
  std::map<target_ulong, Place> places;             // never shrinks: translations hold a call for each
  std::unordered_map<target_ulong, Place *> quick;  // the same
  std::map<panda_cb_type, HookList> by_type;        // hooks of all other types
  std::vector<panda::Callback *> callbacks;
  bool hooking = true;
  unsigned running = 0;  // hooks being called: the lists keep their elements meanwhile

  Hooks();
  void add(const hook &h);
  void add_before_insn(const hook &h);
  [[nodiscard]] bool listen_for(panda_cb_type type);
  void listen(panda::Callback &callback) {
    callbacks.push_back(&callback);
    if (!hooking) callback.disable();
  }
  void set_hooking(bool on);
  void forget(bool (*gone)(void (*function)()));

  void before_insn(CPUState *cpu, target_ulong pc);
  void note_block(const TranslationBlock &tb);
  template <typename Wanted, typename Call>
  void run(HookList &hooks, CPUState *cpu, Wanted wanted, Call call);
  // Those that name an address in this block.
  template <typename Call>
  void run_for_block(panda_cb_type type, CPUState *cpu, const TranslationBlock *tb, Call call) {
    const target_ulong begin = tb->pc;
    const target_ulong size = tb->size;
    run(by_type[type], cpu, [=](const hook &h) { return h.addr - begin < size; }, call);
  }
};
Hooks *plugin;

// The function of a hook, whatever its type.
void (*function_of(const hook &h))() { return reinterpret_cast<void (*)()>(h.cb.start_block_exec); }

Hooks::Hooks() {
  plugin = this;
  panda_offer_callbacks([](bool (*gone)(void (*function)())) { plugin->forget(gone); });
}

// Hooks of a plugin that is being unloaded.
void Hooks::forget(bool (*gone)(void (*function)())) {
  const auto drop = [&](HookList &hooks) {
    for (const auto &h : hooks) {
      if (gone(function_of(*h))) h->enabled = false;
    }
    if (running == 0) std::erase_if(hooks, [](const auto &h) { return !h->enabled; });
  };
  for (auto &[address, place] : places) drop(place.hooks);
  for (auto &[type, hooks] : by_type) drop(hooks);
}

bool applies(CPUState *cpu, const hook &h) {
  if (!h.enabled || (h.asid != 0 && h.asid != panda_current_asid(cpu))) return false;
  return h.km == MODE_ANY || (h.km == MODE_KERNEL_ONLY) == panda_in_kernel_mode(cpu);
}

// Those added meanwhile are not called.
template <typename Wanted, typename Call>
void Hooks::run(HookList &hooks, CPUState *cpu, Wanted wanted, Call call) {
  const size_t end = hooks.size();
  running++;
  for (size_t i = 0; i < end; i++) {
    hook *const h = hooks[i].get();
    if (wanted(*h) && applies(cpu, *h)) call(h);
  }
  if (--running == 0) std::erase_if(hooks, [](const auto &h) { return !h->enabled; });
}

void Hooks::before_insn(CPUState *cpu, target_ulong pc) {
  const auto found = quick.find(pc);
  if (found == quick.end() || found->second->hooks.empty()) return;
  TranslationBlock block = found->second->block;
  if (block.size == 0) block.pc = pc;
  run(
      found->second->hooks, cpu, [](const hook &) { return true; },
      [&](hook *h) {
        (h->type == PANDA_CB_BEFORE_BLOCK_EXEC ? h->cb.before_block_exec : h->cb.start_block_exec)(cpu, &block, h);
      });
}

void Hooks::note_block(const TranslationBlock &tb) {
  for (auto i = places.lower_bound(tb.pc); i != places.end() && i->first - tb.pc < tb.size; ++i) {
    TranslationBlock &copy = i->second.block;
    copy = tb;  // it outlives the translation:
    copy.tc_ptr = copy.opaque = copy.unit_ = nullptr;
  }
}

void Hooks::add_before_insn(const hook &h) {
  const bool is_new = !places.contains(h.addr);
  Place &place = places[h.addr];
  place.hooks.push_back(std::make_unique<hook>(h));
  if (!is_new) return;
  if (quick.empty()) {
    listen(on_insn_translate([this](CPUState *, target_ulong pc) { return quick.contains(pc); }));
    listen(on_insn_exec([this](CPUState *cpu, target_ulong pc) { before_insn(cpu, pc); }));
    listen(on_after_block_translate([this](CPUState *, TranslationBlock *tb) { note_block(*tb); }));
  }
  quick[h.addr] = &place;
  panda_do_flush_tb();
}

// False: hooks cannot be of this type.
bool Hooks::listen_for(panda_cb_type type) {
  const bool is_new = !by_type.contains(type);
  switch (type) {
    case PANDA_CB_BEFORE_BLOCK_TRANSLATE:
      if (is_new) {
        listen(on_before_block_translate([this](CPUState *cpu, target_ulong pc) {
          run(
              by_type[PANDA_CB_BEFORE_BLOCK_TRANSLATE], cpu, [=](const hook &h) { return h.addr == pc; },
              [=](hook *h) { h->cb.before_block_translate(cpu, pc, h); });
        }));
      }
      return true;
    case PANDA_CB_AFTER_BLOCK_TRANSLATE:
      if (is_new) {
        listen(on_after_block_translate([this, type](CPUState *cpu, TranslationBlock *tb) {
          run_for_block(type, cpu, tb, [=](hook *h) { h->cb.after_block_translate(cpu, tb, h); });
        }));
      }
      return true;
    case PANDA_CB_BEFORE_TCG_CODEGEN:
      if (is_new) {
        listen(on_before_tcg_codegen([this, type](CPUState *cpu, TranslationBlock *tb) {
          run_for_block(type, cpu, tb, [=](hook *h) { h->cb.before_tcg_codegen(cpu, tb, h); });
        }));
      }
      return true;
    case PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT:
      if (is_new) {
        listen(on_before_block_exec_invalidate_opt([this, type](CPUState *cpu, TranslationBlock *tb) {
          bool invalidate = false;
          run_for_block(type, cpu, tb,
                        [&](hook *h) { invalidate |= h->cb.before_block_exec_invalidate_opt(cpu, tb, h); });
          return invalidate;
        }));
      }
      return true;
    case PANDA_CB_AFTER_BLOCK_EXEC:
      if (is_new) {
        listen(on_after_block_exec([this, type](CPUState *cpu, TranslationBlock *tb, uint8_t exit_code) {
          run_for_block(type, cpu, tb, [=](hook *h) { h->cb.after_block_exec(cpu, tb, exit_code, h); });
        }));
      }
      return true;
    case PANDA_CB_END_BLOCK_EXEC:
      if (is_new) {
        listen(on_end_block_exec([this, type](CPUState *cpu, TranslationBlock *tb) {
          run_for_block(type, cpu, tb, [=](hook *h) { h->cb.end_block_exec(cpu, tb, h); });
        }));
      }
      return true;
    default:
      return false;
  }
}

void Hooks::add(const hook &h) {
  if (h.type == PANDA_CB_BEFORE_BLOCK_EXEC || h.type == PANDA_CB_START_BLOCK_EXEC) {
    add_before_insn(h);
  } else if (listen_for(h.type)) {
    by_type[h.type].push_back(std::make_unique<hook>(h));
  } else {
    say("add_hook at " TARGET_FMT_lx ": a hook cannot be of the callback type %d", h.addr, static_cast<int>(h.type));
  }
}

void Hooks::set_hooking(bool on) {
  if (hooking == on) return;
  hooking = on;
  for (panda::Callback *c : callbacks) on ? c->enable() : c->disable();
}

}  // namespace

void add_hook(struct hook *h) {
  if (h == nullptr || function_of(*h) == nullptr) {
    plugin->say("add_hook: there is no hook, or no function in it");
    return;
  }
  plugin->add(*h);
}

void enable_hooking(void) { plugin->set_hooking(true); }
void disable_hooking(void) { plugin->set_hooking(false); }

void add_symbol_hook(struct symbol_hook *h) {
  plugin->say(
      "the symbol %s of %s cannot be hooked: finding symbols needs operating-system introspection, which is "
      "not in this version; add a hook at its address",
      h != nullptr ? h->name : "?", h != nullptr && h->section[0] != '\0' ? h->section : "any library");
}

PANDA_PLUGIN(Hooks)
