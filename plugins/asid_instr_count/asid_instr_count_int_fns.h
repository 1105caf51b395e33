#ifndef ASID_INSTR_COUNT_INT_FNS_H
#define ASID_INSTR_COUNT_INT_FNS_H

typedef uint64_t Instr;

// Instructions completed so far while the address space was the current one, since the plugin was loaded.
Instr get_instr_count_current_asid(void);

// The same for any address space; 0: it has not been seen.
Instr get_instr_count_by_asid(target_ulong asid);

#endif
