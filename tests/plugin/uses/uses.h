#include "offers/offers.h"
typedef void (*on_absent_t)(CPUState *, target_ulong);
struct uses_seen {
  uint64_t events, context, blocks;
  int sum, each, visited;
  bool remove;
};
int uses_other_source(void);
