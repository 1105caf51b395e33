#ifndef OFFERS_H
#define OFFERS_H
#include "offers/offers_int_fns.h"
#include "panda/plugin.h"
#include "panda/plugin_plugin.h"
#ifdef __cplusplus
extern "C" {
#endif
bool init_plugin(void *self);
void uninit_plugin(void *self);
PPP_CB_TYPEDEF(void, on_offers_block, CPUState *cpu, target_ulong pc)
PPP_PROT_REG_CB(on_offers_block);
#ifdef __cplusplus
}
#endif
#endif
