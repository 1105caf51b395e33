/* The state of an x86 CPU, as plugins and the engine see it. One layout for both targets: a field
 * of the target's word size takes eight bytes (on i386 the upper half is zero and unnamed), so the
 * engine's code is compiled once; only the arrays regs, cr and dr are packed by word size, so that
 * env->regs[R_EAX] means what it always meant.
 *
 * Names and meanings follow QEMU's and PANDA's CPUX86State. Plain C; no function here.
 * Thread: the guest's. Valid for the life of the machine; registers are current in every callback.
 *
 * Arithmetic flags are kept lazily in cc_op, cc_dst, cc_src and cc_src2: panda_get_eflags() gives
 * the whole register; `eflags` alone holds the system flags (TF, IF, IOPL, NT, RF, VM, AC, ID).
 */
#ifndef PANDA_TARGET_I386_CPU_H
#define PANDA_TARGET_I386_CPU_H

#include <stdbool.h>
#include <stdint.h>

#ifdef PANDA_CORE_VIEW /* the engine: 64-bit words, regs/cr/dr reached through x86::Cpu */
typedef uint64_t panda_x86_word;
#define PANDA_WORD(name) uint64_t name
#elif defined(TARGET_X86_64)
typedef uint64_t panda_x86_word;
#define PANDA_WORD(name) uint64_t name
#else
typedef uint32_t panda_x86_word;
#define PANDA_WORD(name) \
  uint32_t name;         \
  uint32_t name##_upper_
#endif

enum {
  R_EAX = 0,
  R_ECX,
  R_EDX,
  R_EBX,
  R_ESP,
  R_EBP,
  R_ESI,
  R_EDI,
  R_R8,
  R_R9,
  R_R10,
  R_R11,
  R_R12,
  R_R13,
  R_R14,
  R_R15
};
#define R_AL 0
#define R_CL 1
#define R_DL 2
#define R_BL 3
#define R_AH 4
#define R_CH 5
#define R_DH 6
#define R_BH 7
enum { R_ES = 0, R_CS, R_SS, R_DS, R_FS, R_GS, R_LDTR, R_TR };

typedef struct SegmentCache {
  uint32_t selector;
  uint32_t flags; /* the descriptor's second word: type, S, DPL, P, AVL, L, D/B, G */
  PANDA_WORD(base);
  uint32_t limit; /* bytes, granularity applied */
  uint32_t reserved_;
} SegmentCache;

typedef union ZMMReg {
  uint8_t _b_ZMMReg[64];
  uint16_t _w_ZMMReg[32];
  uint32_t _l_ZMMReg[16];
  uint64_t _q_ZMMReg[8];
  float _s_ZMMReg[16];
  double _d_ZMMReg[8];
} ZMMReg;
#define ZMM_B(n) _b_ZMMReg[n]
#define ZMM_W(n) _w_ZMMReg[n]
#define ZMM_L(n) _l_ZMMReg[n]
#define ZMM_Q(n) _q_ZMMReg[n]
#define ZMM_S(n) _s_ZMMReg[n]
#define ZMM_D(n) _d_ZMMReg[n]
#define XMM_B(n) _b_ZMMReg[n]
#define XMM_W(n) _w_ZMMReg[n]
#define XMM_L(n) _l_ZMMReg[n]
#define XMM_Q(n) _q_ZMMReg[n]

typedef union MMXReg {
  uint8_t _b_MMXReg[8];
  uint16_t _w_MMXReg[4];
  uint32_t _l_MMXReg[2];
  uint64_t _q_MMXReg[1];
  uint64_t q;
} MMXReg;
#define MMX_B(n) _b_MMXReg[n]
#define MMX_W(n) _w_MMXReg[n]
#define MMX_L(n) _l_MMXReg[n]
#define MMX_Q(n) _q_MMXReg[n]

typedef struct floatx80 {
  uint64_t low;  /* significand */
  uint16_t high; /* sign and exponent */
} floatx80;

typedef union FPReg {
  floatx80 d;
  MMXReg mmx;
  uint8_t bytes_[16];
} FPReg;

typedef struct CPUX86State {
  /* First: translated code reaches these with one-byte displacements. */
#ifdef PANDA_CORE_VIEW
  union {
    uint64_t regs64[16];
    uint32_t regs32[16];
  };
#elif defined(TARGET_X86_64)
  uint64_t regs[16];
#else
  uint32_t regs[8];
  uint32_t regs_unused_[24];
#endif
  PANDA_WORD(eip);
  PANDA_WORD(cc_dst);
  PANDA_WORD(cc_src);
  PANDA_WORD(cc_src2);
  uint32_t cc_op;
  int32_t df;           /* 1 or -1 */
  PANDA_WORD(eflags);   /* system flags only, see above */
  uint64_t hflags;      /* the mode bits that translations depend on; derived, the engine's own */
  SegmentCache segs[6]; /* by R_ES .. R_GS */
  SegmentCache ldt;
  SegmentCache tr;
  SegmentCache gdt; /* base and limit only */
  SegmentCache idt;
#ifdef PANDA_CORE_VIEW
  union {
    uint64_t cr64[5];
    uint32_t cr32[10];
  };
  union {
    uint64_t dr64[8];
    uint32_t dr32[16];
  };
#elif defined(TARGET_X86_64)
  uint64_t cr[5];
  uint64_t dr[8];
#else
  uint32_t cr[5];
  uint32_t cr_unused_[5];
  uint32_t dr[8];
  uint32_t dr_unused_[8];
#endif
  int32_t a20_mask;
  uint32_t is_64bit_target; /* 1: regs, cr and dr are 64-bit words */

  /* x87: registers by physical number; ST(i) is fpregs[(fpstt + i) & 7] */
  uint32_t fpstt;
  uint16_t fpus;     /* status word without TOP */
  uint16_t fpuc;     /* control word */
  uint8_t fptags[8]; /* by physical number; 0 valid, 1 empty */
  FPReg fpregs[8];
  uint16_t fpop;
  uint16_t fpcs;
  uint16_t fpds;
  uint16_t fpus_next_; /* engine: status word once the running store instruction is done */
  uint64_t fpip;
  uint64_t fpdp;

  uint32_t mxcsr; /* as of the last synchronisation; the sticky flags may run ahead in the engine */
  uint32_t mxcsr_pad_;
  uint64_t xcr0;
  ZMMReg xmm_regs[16]; /* bytes 0-15 XMM, 16-31 upper half of YMM */

  /* MSRs */
  uint32_t sysenter_cs;
  uint32_t msr_pad_;
  PANDA_WORD(sysenter_esp);
  PANDA_WORD(sysenter_eip);
  uint64_t efer;
  uint64_t star;
  uint64_t lstar;
  uint64_t cstar;
  uint64_t fmask;
  uint64_t kernelgsbase;
  int64_t tsc_offset; /* guest TSC minus the virtual clock's */
  uint64_t tsc_aux;
  uint64_t pat;
  uint64_t mtrr_def_type;
  uint64_t mtrr_fixed[11];
  uint64_t mtrr_base[8];
  uint64_t mtrr_mask[8];
  uint64_t misc_enable;
  uint64_t spec_ctrl;
  uint64_t pdptes_[4];      /* engine: the page-directory pointers of 32-bit PAE paging, as of the last CR3 load */
  uint64_t large_pages_[6]; /* engine: where large pages were translated since the last TLB flush */

  /* exceptions and interrupts */
  int32_t exception_index; /* pending exception's vector, or -1 */
  int32_t error_code;
  uint32_t exception_flags_; /* engine: has error code, is a trap, is software */
  uint32_t halted;
  uint32_t interrupt_request;
  uint32_t inhibit_irq; /* interrupt shadow of STI (1) or MOV SS (2) until the next instruction is done */
  uint32_t nmi_blocked;
  uint32_t old_exception;      /* the one being delivered, for double faults; -1 none */
  uint64_t exception_next_eip; /* engine: where a software interrupt returns to */
  uint64_t cr2_pending_;
  uint32_t debug_pending_; /* engine: breakpoints hit by a MOV SS, taken behind the next instruction */
  uint32_t debug_pad_;

  uint32_t cpu_model; /* index into the engine's CPU models */
  int32_t cpu_index;
  uint64_t cpuid_features_[8];
  uint64_t segment_bounds_[2]; /* engine: FS and GS: offsets below this are in the limit */
  uint64_t random_;            /* engine: what RDRAND and RDSEED are drawn from */

  /* PANDA */
  void *env_ptr; /* points at this struct, so that both generations of plugin source compile */
  PANDA_WORD(panda_guest_pc);
  uint64_t rr_guest_instr_count; /* completed guest instructions since the recording or run began */
  uint64_t mem_io_vaddr;
  void *opaque_[4]; /* the engine's */
} CPUX86State;

#endif
