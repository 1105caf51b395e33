#ifndef MEM_HOOKS_INT_FNS_H
#define MEM_HOOKS_INT_FNS_H

struct memory_hooks_region;

// One access, for the function that is called.
struct memory_access_desc {
  target_ulong pc;
  target_ulong addr;  // virtual or physical
  size_t size;        // bytes
  uint8_t *buf;       // the data; NULL before a read
  bool on_before;     // exactly one of each of the three pairs is true
  bool on_after;
  bool on_read;
  bool on_write;
  bool on_virtual;
  bool on_physical;
  struct memory_hooks_region *hook;
};

typedef void (*mem_hook_func_t)(CPUState *cpu, struct memory_access_desc *mad);

struct memory_hooks_region {
  target_ulong start_address;
  target_ulong stop_address;  // the last address that is watched
  bool enabled;               // may be changed at any time in the region that add_mem_hook() returned
  bool on_before;             // of each pair, at least one
  bool on_after;
  bool on_read;
  bool on_write;
  bool on_virtual;
  bool on_physical;
  mem_hook_func_t cb;
};

// Watches a copy of this region, which is returned and belongs to the plugin. NULL: it cannot be watched, which is
// said on stderr.
struct memory_hooks_region *add_mem_hook(struct memory_hooks_region *a);

// All regions; they are enabled at first.
void enable_mem_hooking(void);
void disable_mem_hooking(void);

#endif
