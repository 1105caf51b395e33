# Protected mode: faults and their error codes, segment limits, privilege levels, gates.
.include "common.inc"
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  # --- faults in ring 0
  FAULT ud2
  xorl %edx, %edx
  xorl %ecx, %ecx
  FAULT divl %ecx
  movl $1f, expected
  movl $1f, resume
  int3
1:
  movl $0x7fffffff, %eax
  incl %eax
  movl $1f, expected
  movl $1f, resume
  into
1:
  movl $9, %eax
  FAULT boundl %eax, bounds
  movl $0x7b, %ecx
  movw $0x38, %bx
  FAULT movw %cx, %fs   # beyond the limit
  FAULT movw %bx, %fs   # not present
  FAULT movw %bx, %ss   # writable, not present: #SS
  FAULT ljmpl $0x48, $0 # code, not present
  movw $0x50, %bx       # 16 bytes
  movw %bx, %es
  movl %es:12, %eax
  FAULT movl %es:13, %eax
  FAULT movl %eax, %es:16
  movw $0x58, %bx       # expands down: from 0x1000 on
  movw %bx, %es
  movl %es:0x1000, %eax
  FAULT movl %es:0xfff, %eax
  movw $0x60, %bx       # read-only
  movw %bx, %es
  movl %es:0x1000, %eax
  FAULT movl %eax, %es:0x1000
  xorw %bx, %bx
  movw %bx, %es
  FAULT movl %es:0, %eax
  movw $DATA0, %bx
  movw %bx, %es
  FAULT int $0x90       # no gate: not present
  FAULT int $0xff       # beyond no limit, gate empty
  # --- ring 3
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6000
  pushl $0x202
  pushl $CODE3
  pushl $user
  iretl
user:
  movw $DATA3, %ax
  movw %ax, %ds
  movw %ax, %es
  FAULT cli
  FAULT hlt
  FAULT movl %cr0, %eax
  FAULT int $32         # a gate of ring 0
  movl $1f, expected
  movl $1f, resume
  int $128
1:
  FAULT movl %cr3, %eax
  movw $DATA0, %bx
  FAULT movw %bx, %ds
  FAULT lcall $CODE0, $0
  FAULT inb $0x10, %al
  pushfl
  popl %eax
  andl $0x3202, %eax
  movl %eax, %ebx
  pushl $0x3202         # POPF in ring 3 keeps IF and IOPL
  popfl
  pushfl
  popl %eax
  andl $0x3200, %eax
  movl %eax, %ebp
  # --- a call gate with two parameters
  pushl $0x1111
  pushl $0x2222
  movl %esp, %esi
  lcall $0x6b, $0
  subl %esp, %esi
  movl %cs, %edi
  int $129
0:
  LOG %ebx
  LOG %ebp
  LOG %esi
  LOG %edi
  # --- SYSENTER and SYSEXIT
  movl $0x174, %ecx
  movl $CODE0, %eax
  xorl %edx, %edx
  wrmsr
  movl $0x175, %ecx
  movl $0x7800, %eax
  wrmsr
  movl $0x176, %ecx
  movl $entered, %eax
  wrmsr
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6000
  pushl $0x202
  pushl $CODE3
  pushl $1f
  iretl
1:
  movl $0x5000, %ecx
  movl $2f, %edx
  sysenter
2:
  movl %cs, %ebx
  movl %esp, %ebp
  movl %ss, %esi
  int $129
entered:
  pushfl
  popl %ebx
  movl %esp, %eax
  outl %eax, $LOG_PORT
  movl %cs, %eax
  outl %eax, $LOG_PORT
  andl $0x200, %ebx
  LOG %ebx
  sysexit
0:
  LOG %ebx
  LOG %ebp
  LOG %esi
  EXIT

gate_target:
  pushl %ebp
  movl %esp, %ebp
  LOG 12(%ebp)          # parameters, copied to the inner stack
  LOG 16(%ebp)
  LOG 8(%ebp)           # the caller's CS
  movl %cs, %eax
  outl %eax, $LOG_PORT
  popl %ebp
  lretl $8

HANDLERS
.balign 4
bounds: .long 1, 8
TABLES
  .quad 0x00cf13000000ffff    # 0x38 data, not present
  .quad 0x00cf13000000ffff    # 0x40 the same
  .quad 0x00cf1b000000ffff    # 0x48 code, not present
  .quad 0x004093000000000f    # 0x50 16 bytes
  .quad 0x0040970000000fff    # 0x58 expand-down, 0x1000..0xffffffff
  .quad 0x00cf91000000ffff    # 0x60 read-only
  .word gate_target, CODE0, 0xec02, 0   # 0x68 call gate, DPL 3, two parameters
  .quad 0x00cf9b000000ffff    # 0x70 the last
gdt_end:
