# Repeated string instructions over pages, in both directions, overlapping.
.include "common.inc"
.globl _start
.code16
_start:
  ENTER_PROTECTED
  cld
  movl $0x100ff0, %edi
  movl $0x900, %ecx
  movl $0x01234567, %eax
0:
  stosl
  imull $1103515245, %eax, %eax
  addl $12345, %eax
  loop 0b
.macro REPORT
  movl %ecx, %eax
  outl %eax, $LOG_PORT
  movl %esi, %eax
  outl %eax, $LOG_PORT
  movl %edi, %eax
  outl %eax, $LOG_PORT
.endm
  movl $0x100ff3, %esi
  movl $0x110ffd, %edi
  movl $0x1801, %ecx
  rep movsb
  REPORT
  movl $0x101000, %esi      # overlapping, forwards: repeats a pattern
  movl $0x101003, %edi
  movl $500, %ecx
  rep movsb
  REPORT
  std
  movl $0x102ffc, %esi
  movl $0x103002, %edi
  movl $700, %ecx
  rep movsl
  REPORT
  cld
  movl $0x100ff0, %esi
  movl $0x120001, %edi
  movl $0x500, %ecx
  rep movsw
  REPORT
  movb $0x55, %al
  movl $0x130ff0, %edi
  movl $0x1020, %ecx
  rep stosb
  movb $0x56, -1(%edi)
  movb $0x55, %al
  movl $0x130ff0, %edi
  movl $0x2000, %ecx
  repe scasb
  REPORT
  movl $0x130ff0, %esi
  movl $0x131ff0, %edi
  movl $0x100, %ecx
  repe cmpsl
  REPORT
  setz %al
  movzbl %al, %eax
  outl %eax, $LOG_PORT
  movl $0x130ff0, %esi
  movl $77, %ecx
  rep lodsw
  REPORT
  xorl %ecx, %ecx
  rep movsb
  REPORT
  xorl %eax, %eax
  movl $0x100000, %esi
  movl $0x10000, %ecx
1:
  addl (%esi), %eax
  roll $1, %eax
  addl $4, %esi
  loop 1b
  outl %eax, $LOG_PORT
  EXIT
TABLES
gdt_end:
