# Single-step traps, interrupt shadows of STI and MOV SS, interrupts between instructions.
.include "common.inc"
.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  GATE 1, trap, 0x8e00
  GATE 0x82, just_return, 0x8e00
  GATE 0x40, interrupt, 0x8e00
  movl $base, origin
  movl $3, %ecx
  movl $0x6000, %esi
  movl $0x6100, %edi
  movl %ss, %eax
  pushl $0x102
base:
  popfl                 # no trap behind the instruction that sets TF
  nop                   # 2
  nop                   # 3
  rep movsb             # 3, 3, 5: after each iteration
  movw %ax, %ss         # its trap is held back
  nop                   # 8
  int $0x82             # the handler runs without TF, and the first instruction behind
  nop                   # 11
  pushfl                # 12
  andl $~0x100, (%esp)  # 19
  popfl                 # 20: TF was set at its start
  nop
  # --- external interrupts
  movl $base2, origin
  movb $0x40, %al
  outb %al, $IRQ_PORT
base2:
  nop
  sti                   # 1
  nop                   # 2
  nop                   # 3: before this
  cli
  movb $0x40, %al
  outb %al, $IRQ_PORT
  movl $base3, origin
base3:
  sti
  cli                   # never taken between the two
  nop
  pushl $0x202
  popfl
  nop                   # before this: 9
  movl $base4, origin
  movl $1000, %ecx
  movl $0x6000, %esi
  movl $0x6400, %edi
  movb $0x40, %al
base4:
  outb %al, $IRQ_PORT   # 2: at once
  rep movsb
  LOG %ecx
  LOG %edi
  # --- HLT waits for the interrupt
  movl $base5, origin
  cli
  movb $0x40, %al
  outb %al, $IRQ_PORT
base5:
  sti
  hlt                   # 2: behind it
  LOG $0x77
  EXIT
trap:
  pushl %eax
  movl 4(%esp), %eax
  subl origin, %eax
  outl %eax, $LOG_PORT
  movl %dr6, %eax
  andl $0x4000, %eax
  outl %eax, $LOG_PORT
  xorl %eax, %eax
  movl %eax, %dr6
  popl %eax
  iretl
interrupt:
  pushl %eax
  LOG $0x40
  movl 4(%esp), %eax
  subl origin, %eax
  outl %eax, $LOG_PORT
  popl %eax
just_return:
  iretl
HANDLERS
origin: .long 0
TABLES
gdt_end:
