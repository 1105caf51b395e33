# Faults met while a fault is delivered: double faults, through a task gate too, and the last one, which shuts down.
.include "common.inc"
.set TSS_DF, 0x38
.macro NO_GATE vector
  movl $0, idt + 8 * \vector + 4
.endm
.macro LOG_CR2
  movl %cr2, %eax
  outl %eax, $LOG_PORT
.endm
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  # contributory behind contributory
  xorl %eax, %eax
  movw %ax, %gs
  NO_GATE 13
  FAULT movl %gs:0, %eax
  # behind a benign one the second is delivered alone
  GATE 13, stub_13, 0x8e00
  NO_GATE 6
  FAULT ud2                    # the #GP of its gate
  GATE 6, stub_6, 0x8e00
  # --- page faults: 4 MiB are mapped
  movl $0x83, 0x20000
  movl $0, 0x20004
  movl $0x10, %eax
  movl %eax, %cr4
  movl $0x20000, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  FAULT movl 0x500000, %eax    # one as such
  NO_GATE 14
  FAULT movl 0x500000, %eax    # contributory behind it
  GATE 14, stub_14, 0x8e00
  movl $idt, %esi              # the gate of vector 14 is the first thing not mapped
  movl $0x400000 - 14 * 8, %edi
  movl $14 * 2, %ecx
  rep movsl
  movl $0x400000 - 14 * 8, idtr + 2
  lidtl idtr
  FAULT movl 0x500000, %eax
  LOG_CR2
  movl $idt, idtr + 2
  lidtl idtr
  # --- a double fault through a task gate
  movw $TSS_DF, idt + 8 * 8 + 2
  movl $0x8500, idt + 8 * 8 + 4
  movl $df_task, tss_df + 0x20
  movl $0x20000, tss_df + 0x1c
  movl $0x20000, tss + 0x1c
  NO_GATE 13
interrupted:
  int $0x90
continued:
  LOG $0x55
  # --- nothing left to go to: the CPU shuts down
  lidtl empty
  ud2
  LOG $0x66
  EXIT
df_task:
  popl %eax                    # the error code
  outl %eax, $LOG_PORT
  movzwl tss_df, %eax          # back link
  outl %eax, $LOG_PORT
  movl tss + 0x20, %eax        # where the interrupted task stands
  subl $interrupted, %eax
  outl %eax, $LOG_PORT
  str %eax
  outl %eax, $LOG_PORT
  movl $continued, tss + 0x20
  iretl
HANDLERS
.balign 4
tss_df: .long 0, 0x7000, DATA0, 0, 0, 0, 0
  .long 0
  .long 0, 2
  .long 1, 2, 3, 4, 0x5800, 6, 7, 8
  .long DATA0, CODE0, DATA0, DATA0, DATA0, DATA0, 0
  .long 0x00680000
empty: .word 0
  .long 0
TABLES
  .word 0x67, tss_df, 0x8900, 0
gdt_end:
