/* What plugins ask of the machine: memory, address spaces, privilege, registers by meaning. */
#ifndef PANDA_COMMON_H
#define PANDA_COMMON_H

#include <stdio.h>

#include "panda/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- memory. Only RAM is reached, never a device; nothing faults; no accessed or dirty bit
 * changes. 0: done. Negative: a part of the range is not mapped to RAM (nothing is said about buf). */
int panda_physical_memory_rw(hwaddr addr, uint8_t *buf, int len, bool is_write);
int panda_virtual_memory_rw(CPUState *env, target_ulong addr, uint8_t *buf, int len, bool is_write);
int cpu_memory_rw_debug(CPUState *env, target_ulong addr, uint8_t *buf, int len, int is_write);
void cpu_physical_memory_rw(hwaddr addr, uint8_t *buf, int len, int is_write);
/* Physical address, or (hwaddr)-1. */
hwaddr panda_virt_to_phys(CPUState *env, target_ulong addr);
/* Host address of guest memory, or NULL: not RAM, or the range leaves its page. Writing through it
 * is not seen by the engine (translations of the page stay). */
void *panda_map_virt_to_host(CPUState *env, target_ulong addr, int len);
MemTxResult PandaPhysicalAddressToRamOffset(ram_addr_t *out, hwaddr addr, bool is_write);
MemTxResult PandaVirtualAddressToRamOffset(ram_addr_t *out, CPUState *cpu, target_ulong addr, bool is_write);
uint64_t panda_ram_size(void); /* bytes */
/* The guest's RAM, to be asked for its size, and one more than its highest physical address. */
MemoryRegion *panda_find_ram(void);
uint64_t memory_region_size(MemoryRegion *region);
__extension__ typedef __int128 Int128;
Int128 panda_find_max_ram_address(void);
static inline uint64_t int128_get64(Int128 a) { return (uint64_t)a; }
/* These accesses have the kernel's rights already; kept for sources that ask for them. */
bool enter_priv(CPUState *cpu);
void exit_priv(CPUState *cpu);

/* ---- CPU */
CPUState *get_cpu(void);
target_ulong panda_current_asid(CPUState *env);              /* x86: CR3 */
target_ulong panda_current_pc(CPUState *cpu);                /* linear address of the current instruction */
uint32_t panda_get_eflags(CPUState *cpu);                    /* x86: EFLAGS with the arithmetic flags */
void panda_disas(FILE *out, void *code, unsigned long size); /* `code`: guest virtual address */
void panda_break_main_loop(void);
/* What the guest runs, as -os gives it: FAMILY-BITS[-VARIANT], "linux-64-debian:12". Strings are NULL until set. */
typedef enum PandaOsFamily { OS_UNKNOWN, OS_WINDOWS, OS_LINUX, OS_FREEBSD } PandaOsFamily;
void panda_set_os_name(char *os_name);
extern char *panda_os_name;
extern char *panda_os_family;
extern char *panda_os_variant;
extern uint32_t panda_os_bits;
extern PandaOsFamily panda_os_familyno;
void panda_cleanup(void);                /* unloads all plugins when the running callbacks have returned */
void panda_before_find_fast(void);       /* the engine does by itself what this was for: nothing */
uint64_t rr_get_guest_instr_count(void); /* instructions completed since the recording or run began */

static inline int panda_physical_memory_read(hwaddr addr, uint8_t *buf, int len) {
  return panda_physical_memory_rw(addr, buf, len, false);
}
static inline int panda_physical_memory_write(hwaddr addr, uint8_t *buf, int len) {
  return panda_physical_memory_rw(addr, buf, len, true);
}
static inline int panda_virtual_memory_read(CPUState *env, target_ulong addr, uint8_t *buf, int len) {
  return panda_virtual_memory_rw(env, addr, buf, len, false);
}
static inline int panda_virtual_memory_write(CPUState *env, target_ulong addr, uint8_t *buf, int len) {
  return panda_virtual_memory_rw(env, addr, buf, len, true);
}

#if defined(TARGET_I386) && !defined(PANDA_CORE_VIEW)
/* The CPU runs with the kernel's privilege. */
static inline bool panda_in_kernel_mode(const CPUState *cpu) { return (cpu->hflags & 3) == 0; }
static inline bool panda_in_kernel(const CPUState *cpu) { return panda_in_kernel_mode(cpu); }
/* The address lies in Linux's part of the address space. */
static inline bool address_in_kernel_code_linux(target_ulong addr) {
#if TARGET_LONG_BITS == 64
  return (addr >> 63) != 0;
#else
  return addr >= 0xc0000000u;
#endif
}
static inline bool panda_in_kernel_code_linux(CPUState *cpu) {
  return address_in_kernel_code_linux(panda_current_pc(cpu));
}
static inline target_ulong panda_current_sp(const CPUState *cpu) { return cpu->regs[R_ESP]; }
static inline target_ulong panda_get_retval(const CPUState *cpu) { return cpu->regs[R_EAX]; }
static inline void panda_set_retval(CPUState *cpu, target_ulong value) { cpu->regs[R_EAX] = value; }
/* The kernel's stack pointer: the current one in the kernel, else the one the TSS holds for ring 0. */
static inline target_ulong panda_current_ksp(CPUState *cpu) {
  target_ulong sp = 0;
  if (panda_in_kernel_mode(cpu)) return panda_current_sp(cpu);
#if TARGET_LONG_BITS == 64
  if (panda_virtual_memory_read(cpu, cpu->tr.base + 4, (uint8_t *)&sp, 8) < 0) return 0;
#else
  if (panda_virtual_memory_read(cpu, cpu->tr.base + 4, (uint8_t *)&sp, 4) < 0) return 0;
#endif
  return sp;
}
static inline target_ulong panda_current_sp_masked_pagesize(const CPUState *cpu, target_ulong pagesize) {
  return panda_current_sp(cpu) & ~(pagesize - 1);
}
static inline uint32_t cpu_compute_eflags(CPUState *cpu) { return panda_get_eflags(cpu); }
#endif

#ifdef __cplusplus
}
#endif

#endif
