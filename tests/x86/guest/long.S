# Long mode: paging faults with WP, NX, SMEP, SMAP and reserved bits, canonical addresses, SYSCALL,
# compatibility mode.
.include "common.inc"
.set PML4, 0x10000
.set PT, 0x13000
.set USER, 0x40000     # a user page: one instruction to try, then INT 0x81
.set ABSENT, 0x100000
.set READ_ONLY, 0x101000
.set USER_PAGE, 0x102000
.set NO_EXECUTE, 0x103000
.set USER_READ_ONLY, 0x104000
.set RESERVED, 0x105000

.macro FAULT64 insn:vararg
  movl $2f, expected
  movl $1f, resume
2: \insn
1:
.endm
.macro STUB64 vector, has_error
stub64_\vector:
  .if !\has_error
  pushq $NO_ERROR
  .endif
  pushq $\vector
  jmp handle64
.endm
.macro GATE64 vector, handler, access
  movl $\handler, %eax
  movw %ax, idt + 16 * \vector
  movw $CODE64, idt + 16 * \vector + 2
  movw $\access, idt + 16 * \vector + 4
  movw $0, idt + 16 * \vector + 6
.endm
.macro SET_PTE address, value, upper=0
  movl $\value, PT + 8 * (\address >> 12)
  movl $\upper, PT + 8 * (\address >> 12) + 4
.endm
# The user page's bytes are run in ring 3 with RSI; a fault of the first instruction goes on at
# its end (`length`), which comes back here.
.macro TRY_USER address, bytes, length
  stac
  movl $\bytes, USER
  movb $0xcd, USER + \length
  movb $0x81, USER + \length + 1
  clac
  movl $USER, expected
  movl $USER + \length, resume
  movl $8f, kernel_resume
  movl $\address, %esi
  jmp to_user
8:
.endm

.globl _start
.code16
_start:
  ENTER_PROTECTED
  movl $PML4, %edi
  xorl %eax, %eax
  movl $0x1000, %ecx
  rep stosl
  movl $PML4 + 0x1007, PML4
  movl $PML4 + 0x2007, PML4 + 0x1000
  movl $PT + 7, PML4 + 0x2000
  movl $3, %eax
  xorl %ecx, %ecx
0:
  movl %eax, PT(, %ecx, 8)
  addl $0x1000, %eax
  incl %ecx
  cmpl $512, %ecx
  jne 0b
  SET_PTE USER, USER + 7
  SET_PTE ABSENT, 0
  SET_PTE READ_ONLY, READ_ONLY + 1
  SET_PTE USER_PAGE, USER_PAGE + 7
  SET_PTE NO_EXECUTE, NO_EXECUTE + 3, 0x80000000
  SET_PTE USER_READ_ONLY, USER_READ_ONLY + 5
  SET_PTE RESERVED, RESERVED + 3, 0x80000
  movl $PML4, %eax
  movl %eax, %cr3
  movl $0x6a0, %eax         # PAE, PGE, OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  movl $0xc0000080, %ecx
  movl $0x901, %eax         # SCE, LME, NXE
  xorl %edx, %edx
  wrmsr
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  ljmp $CODE64, $1f
.code64
1:
  rdmsr
  LOG %eax                  # LMA too
  movw $0x38, %ax
  ltr %ax
  GATE64 6, stub64_6, 0x8e00
  GATE64 12, stub64_12, 0x8e00
  GATE64 13, stub64_13, 0x8e00
  GATE64 14, stub64_14, 0x8e00
  GATE64 129, stub64_129, 0xee00
  movq $0x7000, %rsp
  FAULT64 movb ABSENT, %al
  FAULT64 movq %rax, ABSENT + 8
  movl $1, READ_ONLY        # without WP
  LOG READ_ONLY
  movq %cr0, %rax
  orl $0x10000, %eax
  movq %rax, %cr0
  FAULT64 movl %eax, READ_ONLY + 4
  movl $NO_EXECUTE, expected
  movl $1f, resume
  movl $NO_EXECUTE, %eax
  jmpq *%rax
1:
  movl $ABSENT + 0x10, expected
  movl $1f, resume
  movl $ABSENT + 0x10, %eax
  jmpq *%rax
1:
  FAULT64 movl RESERVED, %eax
  movq $0x800000000000, %rbx
  FAULT64 movl (%rbx), %eax
  movq %rbx, %rbp
  FAULT64 movl (%rbp), %eax
  movl $0xc3, USER_PAGE
  movl $USER_PAGE, %eax
  callq *%rax               # before SMEP
  movq %cr4, %rax
  orl $0x300000, %eax       # SMEP, SMAP
  movq %rax, %cr4
  movq %rsp, %r12
  movl $USER_PAGE, expected
  movl $1f, resume
  movl $USER_PAGE, %eax
  callq *%rax
1:
  movq %r12, %rsp
  clac
  FAULT64 movl USER_PAGE, %eax
  FAULT64 movl %eax, USER_PAGE
  stac
  movl USER_PAGE, %eax
  LOG %eax
  clac
  # --- accessed and dirty bits
  movl PT + 8 * (READ_ONLY >> 12), %eax
  outl %eax, $LOG_PORT
  movl PT + 8 * (USER_READ_ONLY >> 12), %eax
  outl %eax, $LOG_PORT
  # --- ring 3: MOV AL,(RSI); MOV (RSI),AL; CLI; a jump
  TRY_USER READ_ONLY, 0x068a, 2
  TRY_USER ABSENT, 0x068a, 2
  TRY_USER USER_READ_ONLY, 0x0688, 2
  TRY_USER USER_READ_ONLY, 0x068a, 2
  TRY_USER 0, 0xfa, 1
  # --- SYSCALL and SYSRET
  movl $0xc0000081, %ecx
  movl $0x00500030, %edx
  xorl %eax, %eax
  wrmsr
  movl $0xc0000082, %ecx
  movl $called, %eax
  xorl %edx, %edx
  wrmsr
  movl $0xc0000084, %ecx
  movl $0x200, %eax
  wrmsr
  TRY_USER 0, 0x050f, 2
  LOG %r14d                 # CS and SS after SYSRET
  LOG %r15d
  # --- compatibility mode and back: upper halves
  movq $-1, %rbx
  pushq $CODE0
  pushq $1f
  lretq
.code32
1:
  incl %ebx
  movl $5, %edx
  decl %edx                 # 0x4a: REX in 64-bit code
  ljmp $CODE64, $2f
.code64
2:
  LOG %ebx
  shrq $32, %rbx
  LOG %ebx
  LOG %edx
  EXIT

to_user:
  pushq $DATA3
  pushq $0x6000
  pushq $0x202
  pushq $0x4b
  pushq $USER
  iretq
called:
  movl %ecx, %eax
  outl %eax, $LOG_PORT
  movl %r11d, %eax
  outl %eax, $LOG_PORT
  pushfq
  popq %rax
  andl $0x200, %eax
  outl %eax, $LOG_PORT
  movl %cs, %eax
  outl %eax, $LOG_PORT
  movl %ss, %eax
  outl %eax, $LOG_PORT
  sysretq
  STUB64 6, 0
  STUB64 12, 1
  STUB64 13, 1
  STUB64 14, 1
handle64:
  pushq %rax
  LOG 8(%rsp)
  LOG 16(%rsp)
  cmpl $14, 8(%rsp)
  jne 5f
  movq %cr2, %rax
  outl %eax, $LOG_PORT
5:
  LOG 32(%rsp)
  movl 24(%rsp), %eax
  cmpl expected, %eax
  sete %al
  movzbl %al, %eax
  outl %eax, $LOG_PORT
  movl resume, %eax
  movq %rax, 24(%rsp)
  popq %rax
  addq $16, %rsp
  iretq
stub64_129:
  movl 8(%rsp), %r14d
  movl 32(%rsp), %r15d
  movq $0x7000, %rsp
  movl kernel_resume, %eax
  jmpq *%rax
  .balign 16
tss64: .long 0, 0x7000, 0
  .fill 22, 4, 0
  .long 0x00680000
TABLES
  .word 0x67, tss64, 0x8900, 0    # 0x38
  .quad 0
  .quad 0x00affb000000ffff        # 0x48 user code, 64-bit
gdt_end:

