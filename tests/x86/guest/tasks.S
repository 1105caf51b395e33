# Task switches by CALL, IRET and JMP; virtual-8086 mode.
.include "common.inc"
.set TSS2, 0x38
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  movl $second, tss2 + 0x20
  movl $0x5000, %esi
  movl $0x1234, %ebx
  lcall $TSS2, $0
  LOG %ebx              # kept
  LOG %esi
  movb gdt + TSS + 5, %al
  movzbl %al, %eax
  outl %eax, $LOG_PORT  # busy
  movb gdt + TSS2 + 5, %al
  movzbl %al, %eax
  outl %eax, $LOG_PORT  # available
  ljmp $TSS2, $0        # goes on behind its IRET
  LOG $0x99
  movb gdt + TSS2 + 5, %al
  movzbl %al, %eax
  outl %eax, $LOG_PORT
  movl %cr0, %eax
  andl $8, %eax
  outl %eax, $LOG_PORT  # TS
  clts
  FAULT lcall $TSS, $0  # busy
  # --- virtual-8086 mode, IOPL 3
  GATE 0x82, from_v86, 0xee00
  GATE 6, stub_129, 0x8e00
  movl $0f, kernel_resume
  pushl $0x1111         # GS FS DS ES
  pushl $0x2222
  pushl $0x3333
  pushl $0x4444
  pushl $0x600          # SS:ESP
  pushl $0x100
  pushl $0x23202
  pushl $0
  pushl $v86
  iretl
0:
  LOG %ebx
  # --- and IOPL 0: INT, CLI and PUSHF fault
  movl $0f, kernel_resume
  pushl $0
  pushl $0
  pushl $0
  pushl $0
  pushl $0x600
  pushl $0x100
  pushl $0x20202
  pushl $0
  pushl $v86_iopl0
  movl $v86_iopl0, expected
  movl $1f, resume
  iretl
0:
  EXIT
second:
  pushfl
  popl %eax
  andl $0x4000, %eax    # NT
  outl %eax, $LOG_PORT
  LOG %ebx              # from the TSS
  movzwl tss2, %eax     # link
  outl %eax, $LOG_PORT
  movl %cr0, %eax
  andl $8, %eax
  outl %eax, $LOG_PORT
  str %eax
  outl %eax, $LOG_PORT
  movl $0x4321, %ebx
  clts
  iretl
  LOG %ebx
  str %eax
  outl %eax, $LOG_PORT
  pushfl
  popl %eax
  andl $0x4000, %eax
  outl %eax, $LOG_PORT
  ljmp $TSS, $0
.code16
v86:
  movw $0x123, %ax
  movw %ax, %ds
  movl $0xcafe, %ebx
  movw $0x55aa, %cx
  movw %cx, 0x6000 - 0x1230
  movw %cs:0x6000, %dx
  int $0x82
  cli                   # IOPL 3: allowed
  pushfw
  popw %bx
  ud2
v86_iopl0:
  int $0x82
1:
  ud2
.code32
from_v86:
  movl %ds, %eax
  outl %eax, $LOG_PORT  # null
  movw $DATA0, %ax
  movw %ax, %ds
  movl (%esp), %eax
  subl $v86, %eax
  outl %eax, $LOG_PORT
  LOG 4(%esp)           # CS
  LOG 8(%esp)           # flags
  LOG 12(%esp)
  LOG 16(%esp)
  LOG 20(%esp)          # ES DS FS GS
  LOG 24(%esp)
  LOG 28(%esp)
  LOG 32(%esp)
  LOG %ebx
  LOG %edx
  iretl
HANDLERS
.balign 4
tss2: .long 0, 0x7000, DATA0, 0, 0, 0, 0
  .long 0               # CR3
  .long 0, 2            # EIP, EFLAGS
  .long 1, 2, 3, 0x2bb2, 0x5800, 6, 7, 8
  .long DATA0, CODE0, DATA0, DATA0, DATA0, DATA0, 0
  .long 0x00680000
TABLES
  .word 0x67, tss2, 0x8900, 0
gdt_end:
