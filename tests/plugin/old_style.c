/* A source of the API's first generation: its header names, its callbacks' results and types. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"
#include "panda_plugin_plugin.h"
#include "rr_log.h"

#include <stdio.h>
#include <stdlib.h>

int before_block(CPUState *env, TranslationBlock *tb);
int after_block(CPUState *env, TranslationBlock *tb, TranslationBlock *next_tb);
int memory_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
int hypercall(CPUState *env);
bool init_plugin(void *);
void uninit_plugin(void *);

int old_style_blocks;

int before_block(CPUState *env, TranslationBlock *tb) {
    target_phys_addr_t phys = panda_virt_to_phys(env, tb->pc);
    unsigned char byte;
    if (phys != (target_phys_addr_t)-1 && panda_physical_memory_rw(phys, &byte, 1, 0) == 0) old_style_blocks++;
    return 0;
}

int after_block(CPUState *env, TranslationBlock *tb, TranslationBlock *next_tb) {
    return next_tb == NULL && env->eip == tb->pc && EAX == 0 && !rr_in_replay();
}

int memory_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf) {
    return buf != NULL && pc + addr + size == panda_current_asid(env);
}

int hypercall(CPUState *env) { return panda_in_kernel(env); }

bool init_plugin(void *self) {
    panda_cb pcb;
    pcb.before_block_exec = before_block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, pcb);
    pcb.after_block_exec = after_block;
    panda_register_callback(self, PANDA_CB_AFTER_BLOCK_EXEC, pcb);
    pcb.guest_hypercall = hypercall;
    panda_register_callback(self, PANDA_CB_GUEST_HYPERCALL, pcb);
    panda_enable_memcb();
    pcb.virt_mem_read = memory_read;
    panda_register_callback(self, PANDA_CB_VIRT_MEM_READ, pcb);
    return true;
}

void uninit_plugin(void *self) { (void)self; }
