# Debug registers: instruction, data and port breakpoints, RF, GD, aliases, with MOV SS and single-step.
# Each #DB logs EIP minus `origin`, DR6 and the saved RF.
.include "common.inc"
.set WATCHED, 0x6100
.macro ORIGIN label
  movl $\label, origin
.endm
.macro ENABLE number, address, dr7
  movl $\address, %eax
  movl %eax, %dr\number
  movl $\dr7, %eax
  movl %eax, %dr7
.endm
.macro DISABLE
  xorl %eax, %eax
  movl %eax, %dr7
.endm
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  GATE 1, trap, 0x8e00

  # --- instructions: DR0, L0
  ENABLE 0, 1f, 1
  ORIGIN 1f
  nop
1: nop                     # 0, before it
  movl $3, %ecx
  ENABLE 0, 2f, 2          # G0
  ORIGIN 2f
2: loop 2b                 # 0, three times
  ENABLE 0, 3f, 2
  ORIGIN 3f
  movl $4, %ecx
  movl $0x6000, %esi
  movl $0x6800, %edi
3: rep movsb               # 0, once
  LOG %ecx
  # one on an instruction that faults: the breakpoint first, and not again with RF set
  ENABLE 0, 2f, 2
  ORIGIN 2f
  FAULT ud2
  # behind MOV SS
  movl %ss, %ecx
  ENABLE 0, 4f, 2
  movw %cx, %ss
4: nop
  # not fetched from yet, and not the enabled kind of access
  movl 4b, %edx
  # disabled: DR7 without L or G
  ENABLE 0, 5f, 0
5: nop

  # --- data: DR1, four bytes
  ORIGIN 1f
  ENABLE 1, WATCHED, 0xd0000c   # writes
1: movl %eax, WATCHED      # 5
  movb %al, WATCHED + 3    # 10
  movb %al, WATCHED + 4
  movb %al, WATCHED - 1
  movl %eax, WATCHED - 2   # 25
  movl WATCHED, %eax
  ORIGIN 2f
2: incl WATCHED            # 6
  ORIGIN 2f
  ENABLE 1, WATCHED, 0xf0000c   # reads too
2: movl WATCHED, %eax      # 5
  movb WATCHED + 3, %al    # 10
  movb WATCHED + 4, %al
  cmpl $0, WATCHED - 3     # 22
  ORIGIN 3f
  ENABLE 1, WATCHED, 0x90000c   # writes of eight bytes
3: movb %al, WATCHED + 7   # 5
  movb %al, WATCHED + 8
  # the stack
  ORIGIN 4f
  movl $WATCHED + 4, %esp
  ENABLE 1, WATCHED, 0xd0000c
4: pushl %eax              # 1
  movl $0x8000, %esp
  # a repeated store: behind the iteration that wrote it
  ORIGIN 5f
  movl $WATCHED - 4, %edi
  movl $12, %ecx
  ENABLE 1, WATCHED, 0x10000c   # one byte
5: rep stosb               # 0
  LOG %edi
  LOG %ecx
  # a page that holds translations too
  xorl %edx, %edx
  ORIGIN 6f
  ENABLE 1, patched + 1, 0x10000c
6: movb $0x66, patched + 1 # 7
patched: movb $0x11, %dl
  LOG %edx

  # --- MOV SS holds the trap back
  ORIGIN 7f
  movl $DATA0, WATCHED
  ENABLE 1, WATCHED, 0x70000c   # reads of two bytes
7: movw WATCHED, %ss       # not behind it
  nop                      # 7: here
  # --- together with single-step
  ORIGIN 8f
  pushl $0x102
8: popfl
  movw WATCHED, %dx        # 8: both
  pushl $2                 # 10
  popfl                    # 11

  # --- POP SS holds the single-step trap back as MOV SS does
  ORIGIN 7f
  pushl $DATA0
  pushl $0x102
7: popfl
  popl %ss                 # not behind it
  nop                      # 3
  pushl $2                 # 5
  popfl                    # 6
  # --- ports: DR2, with CR4.DE
  ORIGIN 9f
  movl $8, %eax
  movl %eax, %cr4
  ENABLE 2, 0x80, 0x6000030  # two bytes
9: outb %al, $0x80         # 2
  inb $0x81, %al           # 4
  outb %al, $0x82
  inl $0x7e, %eax          # 8
  # --- DR4 and DR5 with CR4.DE
  FAULT movl %dr4, %eax
  xorl %eax, %eax
  movl %eax, %cr4
  movl %dr5, %edx
  LOG %edx
  # --- DR7.GD
  ORIGIN 1f
  movl $0x2000, %eax
  movl %eax, %dr7
1: movl %dr0, %ebx         # 0: before it; the handler's own accesses go through
  movl %dr7, %edx
  LOG %edx
  DISABLE
  LOG $0x77
  EXIT
trap:
  pushl %eax
  movl 4(%esp), %eax
  subl origin, %eax
  outl %eax, $LOG_PORT
  movl %dr6, %eax
  outl %eax, $LOG_PORT
  testb $1, %al
  movl 12(%esp), %eax
  jz 1f
  orl $0x10000, 12(%esp)
1: shrl $16, %eax
  andl $1, %eax
  outl %eax, $LOG_PORT
  xorl %eax, %eax
  movl %eax, %dr6
  popl %eax
  iretl
HANDLERS
origin: .long 0
TABLES
gdt_end:
