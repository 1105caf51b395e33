# Events that a plugin answers (tests/plugin/answers_test.cpp), in real mode: each is followed by a number in the log.
.include "common.inc"
.globl _start
.macro VECTOR n, handler
  movw $\handler, 4 * \n
  movw $0, 4 * \n + 2
.endm
# Logs `value`; skip: returns behind an instruction of so many bytes.
.macro HANDLER value, skip
  LOG $\value
  movw %sp, %bp
  addw $\skip, (%bp)
  iretw
.endm
.code16
_start:
  VECTOR 0, divided
  VECTOR 3, stopped
  VECTOR 6, undefined
  VECTOR 0x40, outside
  VECTOR 0x41, other
  sti
  ud2
  LOG $0x1000
  int3
  LOG $0x1001
  xorw %cx, %cx
  divw %cx
  LOG $0x1002
  movb $0x40, %al
  outb %al, $IRQ_PORT
  nop
  nop
  LOG $0x1003
  movb $0x40, %al
  outb %al, $IRQ_PORT
  nop
  nop
  LOG $0x1004
  .rept 2
  movl $0x5000, %eax
  movl %eax, %cr3
  movl %cr3, %eax
  outl %eax, $LOG_PORT
  .endr
  movl $0x80001234, %eax
  cpuid
  outl %eax, $LOG_PORT
  LOG %ebx
  movl $1, %eax
  xchgw %bx, %bx          # what is before this, and behind it, is changed
  incl %eax
  outl %eax, $LOG_PORT
  EXIT
divided:
  HANDLER 0xe0, 2
stopped:
  HANDLER 0xe3, 0
undefined:
  HANDLER 0xe6, 2
outside:
  HANDLER 0xe40, 0
other:
  HANDLER 0xe41, 0
