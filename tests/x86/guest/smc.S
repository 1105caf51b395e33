# Code that changes itself: the next instruction, its own loop, across pages, by string instructions.
.include "common.inc"
.set FAR, 0x20ffd
.globl _start
.code16
_start:
  ENTER_PROTECTED
  xorl %eax, %eax
  movb $0x11, 1f + 1
1:
  movb $0, %al
  LOG %eax
  # --- a loop that changes its own addend each time
  xorl %ebx, %ebx
  movl $100, %ecx
2:
  addl $1, %ebx           # 83 c3 imm8
  incb 2b + 2
  andb $0x3f, 2b + 2
  decl %ecx
  jnz 2b
  LOG %ebx
  # --- an instruction on two pages: MOV EAX, imm32; RET
  movb $0xb8, FAR
  movl $0x44332211, FAR + 1
  movb $0xc3, FAR + 5
  movl $FAR, %esi
  call *%esi
  outl %eax, $LOG_PORT
  movb $0x55, FAR + 4     # on the second page
  call *%esi
  outl %eax, $LOG_PORT
  movb $0x66, FAR + 1     # on the first
  call *%esi
  outl %eax, $LOG_PORT
  movl $0x04030201, FAR + 1
  call *%esi
  outl %eax, $LOG_PORT
  # --- REP STOSB over what follows: 8 times INC EBX
  xorl %ebx, %ebx
  movl $3f, %edi
  movl $8, %ecx
  movb $0x43, %al
  rep stosb
3:
  .fill 8, 1, 0x90
  LOG %ebx
  # --- a function replaced again and again
  xorl %ebp, %ebp
  movl $0x30000, %edi
4:
  movl $function, %esi
  movl $function_end - function, %ecx
  rep movsb
  subl $function_end - function, %edi
  movl %ebp, 1(%edi)
  call *%edi
  addl %eax, %ebx
  incl %ebp
  cmpl $50, %ebp
  jne 4b
  LOG %ebx
  # --- a unit that overwrites an instruction ahead of it, in a loop
  movl $20, %ecx
  xorl %edx, %edx
5:
  movb %cl, 6f + 1
  nop
  nop
6:
  movb $0, %al
  movzbl %al, %eax
  addl %eax, %edx
  loop 5b
  LOG %edx
  EXIT
function:
  movl $0, %eax
  ret
function_end:
TABLES
gdt_end:
