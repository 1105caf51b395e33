# CR4.VME and CR4.PVI: the virtual interrupt flag, redirected software interrupts.
.include "common.inc"
.set TSS_VME, 0x38
.macro TO_V86 entry, flags
  movl $0f, kernel_resume
  .rept 4
  pushl $0
  .endr
  pushl $0
  pushl $0x700
  pushl $\flags
  pushl $0
  pushl $\entry
  iretl
0:
.endm
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  movw $TSS_VME, %ax
  ltr %ax
  GATE 6, stub_129, 0x8e00
  GATE 0x21, stub_128, 0xee00
  movl $isr, 0x84          # vector 0x21 of the table at 0
  movl $3, %eax            # VME, PVI
  movl %eax, %cr4
  TO_V86 v86, 0x20002
  .irp at, 0, 2, 4, 6, 8, 10, 12
  movzwl 0x6000 + \at, %eax
  outl %eax, $LOG_PORT
  .endr
  TO_V86 v86_pending, 0x120002
  TO_V86 v86_iopl3, 0x23202
  movzwl 0x600a, %eax
  outl %eax, $LOG_PORT
  movzwl 0x600c, %eax
  outl %eax, $LOG_PORT
  movb $0x02, tss_vme_map + 4   # vector 0x21: not redirected
  TO_V86 v86_gate, 0x23202
  # --- PVI
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $0x202
  pushl $CODE3
  pushl $user
  iretl
0:
  LOG %ebx
  LOG %esi
  # --- without either
  xorl %eax, %eax
  movl %eax, %cr4
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $0x202
  pushl $CODE3
  pushl $user_barred
  iretl
0:
  EXIT
user:
  sti
  pushfl
  popl %ebx
  cli
  pushfl
  popl %esi
  ud2
user_barred:
  movw $DATA3, %ax
  movw %ax, %ds
  FAULT cli
  FAULT sti
  ud2
.code16
v86:
  pushfw
  popw 0x6000
  sti
  pushfw
  popw 0x6002
  cli
  pushfw
  popw 0x6004
  pushw $0x202
  popfw
  pushfw
  popw 0x6006
  int $0x21
  pushfw
  popw 0x600c
  FAULT int $0x82
  FAULT pushfl
  pushw $0x102
  FAULT popfw
  movl $1f, expected
  movl $1f, resume
  int3
1:
  ud2
v86_pending:
  FAULT sti
  pushw $0x202
  FAULT popfw
  pushw $2
  popfw                    # VIF stays clear: allowed
  ud2
v86_iopl3:
  int $0x21
  pushfw
  popw 0x600c
  ud2
v86_gate:
  movl $1f, expected
  movl $1f, resume
  int $0x21
1:
  ud2
isr:
  movw %sp, %bp
  movw 4(%bp), %ax
  movw %ax, 0x6008
  pushfw
  popw 0x600a
  iretw
.code32
HANDLERS
.balign 4
tss_vme: .long 0, 0x7000, DATA0
  .fill 22, 4, 0
  .long 0x00880000
tss_vme_map:
  .fill 16, 1, 0
  .byte 0x04               # vector 0x82
  .fill 15, 1, 0
  .byte 0xff
TABLES
  .word 0x88, tss_vme, 0x8900, 0
gdt_end:
