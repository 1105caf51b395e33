# Limits and types of FS, GS and CS where the others are flat, the stack behind ENTER, and what LAR, LSL, VERR
# and VERW answer.
.include "common.inc"
.set SMALL, 0x38        # 16 bytes, writable
.set READABLE, 0x40     # 16 bytes, read-only
.set DOWN, 0x48         # expands down, from 0x1000 on
.set EXECUTE, 0x50      # code, not readable
.set CONFORMING, 0x58   # code, readable, conforming
.set SMALL_STACK, 0x60  # 0x9000 bytes
.set ABSENT, 0x68
.set GATE0, 0x70        # a call gate
.set PAGES, 0x78        # 3 pages
.set SHORT_STACK16, 0x80

# The four questions about `selector`: LAR's value or -1, LSL's or -1, VERR and VERW as bits 0 and 1.
.macro ASK selector
  movl $\selector, %ecx
  movl $-1, %eax
  larl %ecx, %eax
  outl %eax, $LOG_PORT
  movl $-1, %eax
  lsll %ecx, %eax
  outl %eax, $LOG_PORT
  xorl %eax, %eax
  verr %cx
  jnz 1f
  orl $1, %eax
1: verw %cx
  jnz 1f
  orl $2, %eax
1: outl %eax, $LOG_PORT
.endm
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  movl $0x200, %eax           # OSFXSR
  movl %eax, %cr4
  movl $0x44332211, 12
  movw $SMALL, %bx
  movw %bx, %fs
  movw %bx, %gs
  LOG %fs:12
  LOG %gs:12
  FAULT movl %fs:13, %eax
  FAULT movl %eax, %gs:13
  FAULT movb %gs:16, %al
  movb %gs:15, %al
  FAULT movl %fs:-1, %eax
  FAULT incb %fs:16
  FAULT fxsave %fs:0
  FAULT movups %fs:1, %xmm0
  movw $READABLE, %bx
  movw %bx, %fs
  LOG %fs:12
  FAULT movl %eax, %fs:0
  FAULT movl %fs:13, %eax
  movw $DOWN, %bx
  movw %bx, %gs
  movl %gs:0x1000, %eax
  FAULT movl %gs:0xfff, %eax
  movl %gs:-4, %eax
  xorl %ebx, %ebx
  movw %bx, %gs
  FAULT movb %gs:0, %al
  FAULT movb %al, %gs:0
  movw $CONFORMING, %bx       # readable code
  movw %bx, %fs
  movl %fs:0, %eax
  FAULT movl %eax, %fs:0
  # a repeated string stops where the segment ends
  movw $SMALL, %bx
  movw %bx, %fs
  xorl %esi, %esi
  movl $0x6000, %edi
  movl $32, %ecx
  FAULT rep movsb %fs:(%esi), %es:(%edi)
  LOG %ecx
  LOG %esi
  # the code segment
  movl %cs:12, %eax
  FAULT movl %eax, %cs:12
  FAULT incl %cs:12
  movl $2, %ecx
  xorl %esi, %esi
  rep lodsb %cs:(%esi), %al
  LOG %esi
  # ENTER ends where the stack ends
  movw $SMALL_STACK, %bx
  movw %bx, %ss
  movl $0x8000, %esp
  movl $0x1234, %ebp
  FAULT enter $0x7ffc, $0     # fits
  LOG %esp
  LOG %ebp
  movl $0x7000, %esp
  movl $0x1234, %ebp
  FAULT enter $0x7001, $0
  LOG %esp
  LOG %ebp
  movw $DATA0, %bx
  movw %bx, %ss
  movl $0x8000, %esp
  # --- the questions, in ring 0
  ASK 0
  ASK DATA0
  ASK DATA3
  ASK SMALL
  ASK READABLE
  ASK DOWN
  ASK EXECUTE
  ASK CONFORMING
  ASK ABSENT
  ASK GATE0
  ASK TSS
  ASK PAGES
  ASK 0x7f8
  # --- and in ring 3
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $2
  pushl $CODE3
  pushl $user
  iretl
user:
  movw $DATA3, %ax
  movw %ax, %ds
  xorl %ebx, %ebx
  .irp selector, DATA0, DATA3, 0x20, CONFORMING, TSS
  movl $\selector, %ecx
  movl $-1, %eax
  larl %ecx, %eax
  leal (%ebx, %ebx), %ebx
  jnz 1f
  orl $1, %ebx
1: verr %cx
  leal (%ebx, %ebx), %ebx
  jnz 1f
  orl $1, %ebx
1:
  .endr
  lcall $CONFORMING, $conforming   # does not change the privilege level
  int $129
conforming:
  movl %cs, %edi
  lret
0:
  LOG %ebx
  LOG %edi
  EXIT
HANDLERS
TABLES
  .quad 0x004093000000000f
  .quad 0x004091000000000f
  .quad 0x0040970000000fff
  .quad 0x00cf99000000ffff
  .quad 0x00cf9f000000ffff
  .quad 0x0040930000008fff
  .quad 0x004013000000000f
  .quad 0x00008c0000080000
  .quad 0x00c0930000000002
gdt_end:
