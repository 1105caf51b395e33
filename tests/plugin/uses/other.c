#include "offers/offers_ext.h"
#include "uses.h"
int uses_other_source(void) { return offers_blocks() == 0 ? 10 : 20; }
