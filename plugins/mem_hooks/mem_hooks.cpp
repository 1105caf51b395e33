// Calls functions of other plugins when the guest accesses memory in their regions. Of the eight memory
// callbacks those are registered that a region asks for.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "panda/plugin.hpp"

extern "C" {
#include "mem_hooks_int_fns.h"
}

namespace {

using Region = memory_hooks_region;

// The kinds of callback: a bit each for after, write, physical.
constexpr unsigned kAfter = 1, kWrite = 2, kPhysical = 4, kKinds = 8;

// The regions that ask for one kind, and the addresses between which all of them lie.
struct Watch {
  std::vector<Region *> regions;
  target_ulong lowest = ~target_ulong{0};
  target_ulong highest = 0;
  panda::Callback *callback = nullptr;
};

struct MemHooks : panda::Plugin {
  std::vector<std::unique_ptr<Region>> regions;
  std::array<Watch, kKinds> watches;
  bool hooking = true;

  MemHooks();
  Region *add(const Region &wanted);
  void set_hooking(bool on);
  panda::Callback &listen_for(unsigned kind);
  template <unsigned kind>
  void accessed(CPUState *cpu, target_ulong pc, target_ulong address, size_t size, uint8_t *data);
  template <unsigned kind>
  auto with_data() {
    return [this](CPUState *cpu, target_ulong pc, target_ulong address, size_t size, uint8_t *data) {
      accessed<kind>(cpu, pc, address, size, data);
    };
  }
  template <unsigned kind>
  auto without_data() {
    return [this](CPUState *cpu, target_ulong pc, target_ulong address, size_t size) {
      accessed<kind>(cpu, pc, address, size, nullptr);
    };
  }
};
MemHooks *plugin;

MemHooks::MemHooks() {
  plugin = this;
  // Regions of a plugin that is being unloaded.
  panda_offer_callbacks([](bool (*gone)(void (*function)())) {
    for (const auto &r : plugin->regions) {
      if (gone(reinterpret_cast<void (*)()>(r->cb))) r->enabled = false;
    }
  });
}

template <unsigned kind>
void MemHooks::accessed(CPUState *cpu, target_ulong pc, target_ulong address, size_t size, uint8_t *data) {
  const Watch &watch = watches[kind];
  const target_ulong last = address + static_cast<target_ulong>(size - 1);
  if (address > watch.highest || last < watch.lowest) return;
  for (size_t i = 0, end = watch.regions.size(); i < end; i++) {
    Region *const r = watch.regions[i];
    if (!r->enabled || address > r->stop_address || last < r->start_address) continue;
    memory_access_desc access = {.pc = pc,
                                 .addr = address,
                                 .size = size,
                                 .buf = data,
                                 .on_before = (kind & kAfter) == 0,
                                 .on_after = (kind & kAfter) != 0,
                                 .on_read = (kind & kWrite) == 0,
                                 .on_write = (kind & kWrite) != 0,
                                 .on_virtual = (kind & kPhysical) == 0,
                                 .on_physical = (kind & kPhysical) != 0,
                                 .hook = r};
    r->cb(cpu, &access);
  }
}

panda::Callback &MemHooks::listen_for(unsigned kind) {
  switch (kind) {
    case 0:
      return on_virt_mem_before_read(without_data<0>());
    case kAfter:
      return on_virt_mem_after_read(with_data<kAfter>());
    case kWrite:
      return on_virt_mem_before_write(with_data<kWrite>());
    case kWrite | kAfter:
      return on_virt_mem_after_write(with_data<kWrite | kAfter>());
    case kPhysical:
      return on_phys_mem_before_read(without_data<kPhysical>());
    case kPhysical | kAfter:
      return on_phys_mem_after_read(with_data<kPhysical | kAfter>());
    case kPhysical | kWrite:
      return on_phys_mem_before_write(with_data<kPhysical | kWrite>());
    default:
      return on_phys_mem_after_write(with_data<kPhysical | kWrite | kAfter>());
  }
}

bool asks_for(const Region &r, unsigned kind) {
  return ((kind & kAfter) != 0 ? r.on_after : r.on_before) && ((kind & kWrite) != 0 ? r.on_write : r.on_read) &&
         ((kind & kPhysical) != 0 ? r.on_physical : r.on_virtual);
}

Region *MemHooks::add(const Region &wanted) {
  Region *const region = regions.emplace_back(std::make_unique<Region>(wanted)).get();
  for (unsigned kind = 0; kind < kKinds; kind++) {
    if (!asks_for(*region, kind)) continue;
    Watch &watch = watches[kind];
    watch.regions.push_back(region);
    watch.lowest = std::min(watch.lowest, region->start_address);
    watch.highest = std::max(watch.highest, region->stop_address);
    if (watch.callback != nullptr) continue;
    panda_enable_memcb();
    watch.callback = &listen_for(kind);
    if (!hooking) watch.callback->disable();
  }
  return region;
}

void MemHooks::set_hooking(bool on) {
  if (hooking == on) return;
  hooking = on;
  for (const Watch &watch : watches) {
    if (watch.callback != nullptr) on ? watch.callback->enable() : watch.callback->disable();
  }
}

const char *what_is_wrong(const Region *r) {
  if (r == nullptr || r->cb == nullptr) return "there is no region, or no function in it";
  if (r->stop_address < r->start_address) return "stop_address is below start_address";
  if (!r->on_before && !r->on_after) return "neither on_before nor on_after is set";
  if (!r->on_read && !r->on_write) return "neither on_read nor on_write is set";
  if (!r->on_virtual && !r->on_physical) return "neither on_virtual nor on_physical is set";
  return nullptr;
}

}  // namespace

struct memory_hooks_region *add_mem_hook(struct memory_hooks_region *a) {
  if (const char *wrong = what_is_wrong(a); wrong != nullptr) {
    plugin->say("add_mem_hook: %s", wrong);
    return nullptr;
  }
  return plugin->add(*a);
}

void enable_mem_hooking(void) { plugin->set_hooking(true); }
void disable_mem_hooking(void) { plugin->set_hooking(false); }

PANDA_PLUGIN(MemHooks)
