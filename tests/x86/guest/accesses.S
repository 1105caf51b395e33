# One kind of memory access after the other, for tests of who watches them: case N begins at
# 0x3000 + 0x40 * N and makes its accesses there alone. Paging is on: 0x180000 is not present, 0x181000
# lies at 0x190000, the rest where it says.
.include "common.inc"
.globl _start
.set DATA, 0x100000
.set MMIO, 0x500000
.set CASES, 0x3000

.macro CASE n
  .org CASES - 0x1000 + 0x40 * \n, 0x90
.endm
# What has to be got ready for the next case: at the end of this one, where nobody looks.
.macro READY n
  .org CASES - 0x1000 + 0x40 * \n + 0x28, 0x90
.endm

.code16
_start:
  ENTER_PROTECTED
  GATES
  movl $0x200083, %eax        # 0x200000: the page directory: identity by 4 MiB pages
  movl $0x00000083, 0x200000
  movl $0x00400083, 0x200004
  movl $0x201003, 0x200000    # but the first by small pages
  xorl %ecx, %ecx
0:
  movl %ecx, %eax
  shll $12, %eax
  orl $3, %eax
  movl %eax, 0x201000(,%ecx,4)
  incl %ecx
  cmpl $1024, %ecx
  jne 0b
  movl $0, 0x201000 + 4 * 0x180
  movl $0x190003, 0x201000 + 4 * 0x181
  movl $0x200000, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x40610, %eax          # PSE, OSFXSR, OSXMMEXCPT, OSXSAVE
  movl %eax, %cr4
  movl %cr0, %eax
  andl $~0xc, %eax
  orl $0x80010022, %eax       # PG, WP, NE, MP
  movl %eax, %cr0
  xorl %ecx, %ecx
  xgetbv
  orl $7, %eax
  xsetbv
  fninit
  xorl %ecx, %ecx             # bytes 0, 1, 2 ... at DATA
0:
  movb %cl, DATA(%ecx)
  incl %ecx
  cmpl $0x1100, %ecx
  jne 0b
  movl $0x11223344, 0x181010
  movl $0x10, %ebx
  cld
  jmp 1f

CASE 0
1:
  movl DATA, %eax
CASE 1
  movb %al, DATA + 4
CASE 2
  addl $5, DATA + 8
CASE 3
  pushl $0x12345678
CASE 4
  popl DATA + 12
CASE 5
  movl $DATA + 0x20, %esi
  movl $DATA + 0x30, %edi
  movsb
CASE 6
  movl $3, %ecx
  rep movsl
CASE 7
  movl DATA + 0xffe, %eax     # straddles two pages
CASE 8
  movups DATA + 0x40, %xmm0
CASE 9
  vmovups DATA + 0x40, %ymm1
CASE 10
  vmovups %ymm1, DATA + 0x80
CASE 11
  cmpxchg8b DATA + 0x10
CASE 12
  fldt DATA + 0x50
CASE 13
  fstpt DATA + 0xc0
CASE 14
  fildl DATA + 0x54
CASE 15
  fistps DATA + 0xd0
CASE 16
  sidt DATA + 0xd8
CASE 17
  lidt DATA + 0xd8
CASE 18
  movl $DATA0, %eax
  movw %ax, %fs               # a descriptor is read
CASE 19
  movl MMIO, %eax
CASE 20
  addl $1, MMIO + 8           # crosses the line: runs alone
CASE 21
  pushl MMIO + 16
CASE 22
  popl MMIO + 24              # the load comes before what has to run alone
CASE 23
  movl $DATA + 0x20, %esi
  movl $MMIO + 32, %edi
  movsl
CASE 24
  movl $2, %ecx
  rep movsl
CASE 25
  movb $0x90, 0f              # its own block
  nop
0: nop
READY 25
  movl $2f, expected
  movl $1f, resume
CASE 26
2: movl 0x180004, %eax
1:
CASE 27
  movl 0x181010, %eax
CASE 28
  pushal
CASE 29
  popal
CASE 30
  call 0f
0: popl %eax
CASE 31
  lock xaddl %eax, DATA + 0x18
CASE 32
  lock btsl %ebx, DATA + 0x18
CASE 33
  vpcmpeqd %xmm2, %xmm2, %xmm2
  vpsrldq $8, %xmm2, %xmm2
  vmaskmovps %xmm0, %xmm2, DATA + 0xe0
CASE 34
  movl $3, %ecx
  movl $DATA + 0x100, %edi
  movl $0x41, %eax
  rep stosw
CASE 35
  movl $8, %ecx
  movl $DATA + 0x100, %edi
  repe scasb                  # 41 00 41: ends at the second
READY 35
  movl $1f, resume
CASE 36
  int $0x80
1:
CASE 37
  movl $0x5a, DATA + 0x120
  lea DATA + 0x120, %esi
  movl $0xe9, %edx
  outsl
CASE 38
  enter $8, $0
CASE 39
  leave
CASE 40
  fxsave DATA + 0x200
CASE 41
  fxrstor DATA + 0x200
CASE 42
  movw $0xffff, DATA + 0x1ffe
  movb $0x11, DATA + 0x1fff
CASE 43
  clflush DATA                # no access
CASE 44
  movl $0xaabbccdd, 0x181ffe  # straddles: the parts are not neighbours in physical memory
CASE 45
  EXIT

HANDLERS
TABLES
gdt_end:
