# CR0.TS, EM and MP, CR4.OSFXSR and OSXMMEXCPT: which exception each kind of instruction raises. Pending x87
# exceptions and unmasked SSE ones. Alignment checks.
.include "common.inc"
# Logs the vector that `insn` raises, or 0.
.macro TRY insn:vararg
  movl $0, raised
  movl $9f, resume
  \insn
9:
  LOG raised
.endm
.macro TRY_ALL
  TRY fnop
  TRY fwait
  TRY fnstsw %ax
  TRY paddb %mm0, %mm0
  TRY emms
  TRY addps %xmm0, %xmm0
  TRY ldmxcsr mxcsr
  TRY movnti %eax, scratch
  TRY fxsave scratch
  TRY sfence
  TRY cvtpi2ps %mm0, %xmm0
.endm
.macro UNMASKED vector, handler
  GATE \vector, \handler, 0x8e00
.endm
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  GATE 6, quiet_6, 0x8e00
  GATE 7, quiet_7, 0x8e00
  GATE 13, quiet_13, 0x8e00
  GATE 16, quiet_16, 0x8e00
  GATE 17, quiet_17, 0x8e00
  GATE 19, quiet_19, 0x8e00
  movl $0x600, %eax       # OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  xorl %edi, %edi
next:
  movl %cr0, %eax
  andl $~0xe, %eax
  orl $0x20, %eax         # NE
  orl %edi, %eax
  movl %eax, %cr0
  TRY_ALL
  addl $2, %edi
  cmpl $16, %edi
  jne next
  movl %cr0, %eax
  andl $~0xe, %eax
  movl %eax, %cr0
  # --- without OSFXSR
  movl $0, %eax
  movl %eax, %cr4
  TRY addps %xmm0, %xmm0
  TRY fxsave scratch
  TRY movnti %eax, scratch
  # --- an x87 exception waits for the next instruction that looks
  fninit
  fldcw unmasked          # divide by zero
  fld1
  TRY fdivs zero
  TRY fnstsw %ax
  TRY fnop
  TRY fwait
  TRY paddb %mm0, %mm0
  TRY fnclex
  TRY fwait
  fninit
  # --- SSE
  movl $0x200, %eax
  movl %eax, %cr4
  ldmxcsr mxcsr_divide
  xorps %xmm1, %xmm1
  movss one, %xmm0
  TRY divss %xmm1, %xmm0  # no OSXMMEXCPT: #UD
  movl $0x600, %eax
  movl %eax, %cr4
  TRY divss %xmm1, %xmm0
  stmxcsr scratch
  LOG scratch
  movss %xmm0, scratch
  LOG scratch             # unchanged
  ldmxcsr mxcsr_underflow
  movss tiny, %xmm0
  movss half, %xmm1
  TRY mulss %xmm1, %xmm0  # exact, and too small for a normal number
  stmxcsr scratch
  LOG scratch
  TRY minss %xmm1, %xmm0  # nothing is computed
  ldmxcsr mxcsr_invalid
  movups dot_a, %xmm0
  movups dot_b, %xmm1
  TRY dpps $0x31, %xmm1, %xmm0  # a product is invalid: there is no sum, with its denormal
  stmxcsr scratch
  LOG scratch
  ldmxcsr mxcsr
  # --- alignment: CR0.AM and EFLAGS.AC in ring 3 alone
  movl %cr0, %eax
  orl $0x40000, %eax
  movl %eax, %cr0
  pushl $0x40002
  popfl
  TRY movl scratch + 1, %eax
  pushl $2
  popfl
  movl $0f, kernel_resume
  pushl $DATA3
  pushl $0x6800
  pushl $0x43002          # AC, IOPL 3: ring 3 may log
  pushl $CODE3
  pushl $user
  iretl
user:
  movw $DATA3, %ax
  movw %ax, %ds
  movw %ax, %es
  TRY movl scratch + 1, %eax
  TRY movl %eax, scratch + 2
  TRY movw scratch + 1, %ax
  TRY movb scratch + 1, %al
  TRY movl scratch + 4, %eax
  TRY movq scratch + 4, %xmm0
  TRY movups scratch + 8, %xmm0
  TRY movaps scratch + 8, %xmm0
  TRY movaps %xmm0, scratch + 1
  TRY addps scratch + 4, %xmm0
  TRY cmpxchg8b scratch + 4
  TRY fldt scratch + 4
  TRY incw scratch + 1
  movl $0x6801, %esp
  TRY pushl %eax
  movl $0x6800, %esp
  pushl $0x3002
  popfl
  TRY movl scratch + 1, %eax
  TRY movaps scratch + 8, %xmm0
  int $129
0:
  EXIT
.macro QUIET vector, has_error
quiet_\vector:
  .if \has_error
  addl $4, %esp
  .endif
  pushl %eax
  movl $\vector, raised
  movl resume, %eax
  movl %eax, 4(%esp)
  popl %eax
  iretl
.endm
QUIET 6, 0
QUIET 7, 0
QUIET 13, 1
QUIET 16, 0
QUIET 17, 1
QUIET 19, 0
HANDLERS
.balign 4
raised: .long 0
mxcsr: .long 0x1f80
mxcsr_divide: .long 0x1d80
mxcsr_underflow: .long 0x1780
mxcsr_invalid: .long 0x1f00
dot_a: .long 0x7f800000, 0x00800000, 0, 0
dot_b: .long 0, 0x3f000000, 0, 0
one: .long 0x3f800000
zero: .long 0
tiny: .long 0x00800000
half: .long 0x3f000000
unmasked: .word 0x37b
.balign 16
scratch: .fill 512, 1, 0
TABLES
gdt_end:
