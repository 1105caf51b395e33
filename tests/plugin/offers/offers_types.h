#ifndef OFFERS_TYPES_H
#define OFFERS_TYPES_H
#include "panda/plugin.h"
typedef struct offers_pair_t {
  int sum;
  char text[8];
} offers_pair_t;
#endif
