#ifndef MMIO_TRACE_INT_FNS_H
#define MMIO_TRACE_INT_FNS_H

typedef struct mmio_event_t {
  char access_type;  // 'R' or 'W'
  target_ulong pc;
  hwaddr phys_addr;
  target_ulong virt_addr;
  size_t size;  // bytes
  uint64_t value;
  const char *dev_name;  // valid while the plugin is loaded
} mmio_event_t;

// All accesses so far, in order: an array that the caller frees with free(). NULL: none, and *arr_size_ret is 0.
mmio_event_t *get_mmio_events(int *arr_size_ret);

#endif
