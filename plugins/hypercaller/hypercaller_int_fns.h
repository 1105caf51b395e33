#ifndef HYPERCALLER_INT_FNS_H
#define HYPERCALLER_INT_FNS_H

// Called inside the guest's hypercall. Its arguments are in the other registers, and its results go there.
typedef void (*hypercall_t)(CPUState *cpu);

// `function` answers the guest's hypercalls with this number (x86: CPUID with it in EAX); it takes the place of
// the one that did so far.
void register_hypercall(uint32_t magic, hypercall_t function);

void unregister_hypercall(uint32_t magic);

#endif
