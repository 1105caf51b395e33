/* Functions under the names by which a library user of the system calls them; those that need the
 * machine to be driven from outside (panda_init, panda_run, panda_finish ...) are not in this version. */
#ifndef PANDA_PANDA_API_H
#define PANDA_PANDA_API_H

#include "panda/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

struct _GArray; /* glib's */
void panda_register_callback_helper(void *plugin, panda_cb_type type, panda_cb *cb);
void panda_enable_callback_helper(void *plugin, panda_cb_type type, panda_cb *cb);
void panda_disable_callback_helper(void *plugin, panda_cb_type type, panda_cb *cb);
void panda_start_pandalog(const char *name); /* as -pandalog does; what goes wrong is said on stderr */
/* Requests to the machine, carried out when the running block has ended. */
void panda_stop(int code); /* the guest stands until panda_cont() or the monitor's cont; `code` has no meaning here */
void panda_cont(void);
void panda_reset(void);
void panda_cleanup_record(void); /* ends the recording, if one is being made */
/* A monitor command. What only answers (help, info, list_plugins, plugin_cmd) does so: free() it. Others are
 * carried out when the running block has ended, and the answer is "". */
char *panda_monitor_run(char *buf);
void panda_init_monitor(void);                                                   /* nothing: it is always there */
int panda_init_plugin(char *plugin_name, char **plugin_args, uint32_t num_args); /* 1: loaded; 0: not */
bool panda_was_aborted(void);                                                    /* false: nothing here aborts a run */
unsigned long garray_len(struct _GArray *list);
/* Snapshots to go back to, and memory added to a machine, are not in this version: -1, and said once. */
int panda_snap(char *name);
int panda_delvm(char *name);
int panda_revert(char *name);
void map_memory(char *name, uint64_t size, uint64_t address);
uint64_t rr_get_guest_instr_count_external(void);
int panda_virtual_memory_read_external(CPUState *cpu, target_ulong addr, char *buf, int len);
int panda_virtual_memory_write_external(CPUState *cpu, target_ulong addr, char *buf, int len);
int panda_physical_memory_read_external(hwaddr addr, uint8_t *buf, int len);
int panda_physical_memory_write_external(hwaddr addr, uint8_t *buf, int len);
target_ulong panda_get_retval_external(const CPUState *cpu);
MemTxResult PandaPhysicalAddressToRamOffset_external(ram_addr_t *out, hwaddr addr, bool is_write);
bool panda_in_kernel_external(const CPUState *cpu);
bool panda_in_kernel_mode_external(const CPUState *cpu);
bool panda_in_kernel_code_linux_external(CPUState *cpu);
target_ulong panda_current_ksp_external(CPUState *cpu);
target_ulong panda_current_sp_external(const CPUState *cpu);
target_ulong panda_current_sp_masked_pagesize_external(const CPUState *cpu, target_ulong pagesize);
target_ulong panda_virt_to_phys_external(CPUState *cpu, target_ulong addr);

#ifdef __cplusplus
}
#endif

#endif
