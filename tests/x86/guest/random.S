# RDRAND and RDSEED: numbers that are the same in every run; RDPID; XGETBV of 1; what UMIP bars.
.include "common.inc"
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  movl $-1, %ebx
  cmpl %ebx, %ecx
  rdrand %ebx
  pushfl
  LOG %ebx
  popl %eax
  andl $0x8d5, %eax
  outl %eax, $LOG_PORT        # CF alone
  rdseed %ebx
  LOG %ebx
  movl $0x12345678, %ebx
  rdrand %bx
  LOG %ebx
  movl $100, %ecx
1: rdrand %ebx
  xorl %ebx, %edi
  loop 1b
  movl $0xc0000103, %ecx      # TSC_AUX
  movl $0x77, %eax
  xorl %edx, %edx
  wrmsr
  rdpid %ebx
  LOG %ebx
  movl $0x40600, %eax         # OSXSAVE
  movl %eax, %cr4
  xorl %ecx, %ecx
  movl $3, %eax
  xorl %edx, %edx
  xsetbv
  incl %ecx
  xgetbv
  outl %eax, $LOG_PORT
  incl %ecx
  FAULT xgetbv
  # --- UMIP: ring 0 may, ring 3 may not
  movl $0x800, %eax
  movl %eax, %cr4
  smsw %ebx
  sgdtl 0x6000
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $2
  pushl $CODE3
  pushl $user
  iretl
0:
  xorl %eax, %eax
  movl %eax, %cr4
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $2
  pushl $CODE3
  pushl $user
  iretl
0:
  LOG %ebx
  EXIT
user:
  movw $DATA3, %ax
  movw %ax, %ds
  xorl %ebx, %ebx
  FAULT str %ebx
  FAULT sldt %ecx
  FAULT smsw %ecx
  FAULT sgdtl 0x6000
  FAULT sidtl 0x6000
  int $129
HANDLERS
TABLES
gdt_end:
