/* Prints entries of the C interface to standard output, by their descriptors: every field of every
 * plugin, and so the names for messages of certain plugins are one function. */
#ifndef PANDA_PLOG_PRINT_H
#define PANDA_PLOG_PRINT_H

#include "panda/plog.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "instr=16356  pc=0xc12c3586 : asid=2 process_name=jbd2", and the end of the line */
void pprint_ple(Panda__LogEntry *ple);
/* " name=value name={...}" */
void panda_pprint_message(const ProtobufCMessage *message);

#define pprint_call_stack(m) panda_pprint_message(&(m)->base)
#define pprint_attack_point(m) panda_pprint_message(&(m)->base)
#define pprint_src_info(m) panda_pprint_message(&(m)->base)
#define pprint_src_info_pri(m) panda_pprint_message(&(m)->base)
#define pprint_taint_query_unique_label_set(m) panda_pprint_message(&(m)->base)
#define pprint_taint_query(m) panda_pprint_message(&(m)->base)
#define pprint_taint_query_hypercall(m) panda_pprint_message(&(m)->base)
#define pprint_taint_query_pri(m) panda_pprint_message(&(m)->base)
#define pprint_tainted_branch_summary(m) panda_pprint_message(&(m)->base)
#define pprint_tainted_branch(m) panda_pprint_message(&(m)->base)
#define pprint_dwarf(m) panda_pprint_message(&(m)->base)

#ifdef __cplusplus
}
#endif

#endif
