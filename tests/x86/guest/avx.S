# AVX as an operating system meets it: CR4.OSXSAVE and XCR0 before the first VEX instruction, #NM, CPUID's
# leaf 0xD, XSAVE areas with the upper halves of the YMM registers, alignment, instructions without AVX state.
.include "common.inc"
.set AREA, 0x10000     # of XSAVE
.set DATA, 0x11000

# Logs the upper half of YMM1: its lowest and its highest 32 bits.
.macro LOG_UPPER
  vextractf128 $1, %ymm1, DATA + 0x100
  LOG DATA + 0x100
  LOG DATA + 0x10c
.endm
.macro SET_XCR0 value
  movl $\value, %eax
  xorl %edx, %edx
  xorl %ecx, %ecx
  xsetbv
.endm
.macro MASK value
  movl $\value, %eax
  xorl %edx, %edx
.endm

.globl _start
.code16
_start:
  ENTER_PROTECTED
  GATES
  movl %cr4, %eax
  orl $0x600, %eax               # OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  FAULT vaddps %ymm1, %ymm2, %ymm3   # without CR4.OSXSAVE
  FAULT vzeroupper
  FAULT xgetbv
  andnl %eax, %ecx, %edx             # needs no state
  movl %cr4, %eax
  orl $0x40000, %eax
  movl %eax, %cr4
  FAULT vaddps %ymm1, %ymm2, %ymm3   # XCR0 is 1
  SET_XCR0 3
  FAULT vaddps %xmm1, %xmm2, %xmm3   # and now 3
  MASK 5
  xorl %ecx, %ecx
  FAULT xsetbv                       # AVX without SSE
  MASK 15
  xorl %ecx, %ecx
  FAULT xsetbv                       # what there is not
  movl $0xd, %eax
  xorl %ecx, %ecx
  cpuid
  movl %ecx, %edx
  LOG %ebx
  LOG %edx
  SET_XCR0 7
  movl $0xd, %eax
  xorl %ecx, %ecx
  cpuid
  LOG %ebx
  xorl %ecx, %ecx
  xgetbv
  outl %eax, $LOG_PORT

  # --- CR0.TS
  movl %cr0, %eax
  orl $8, %eax
  movl %eax, %cr0
  FAULT vzeroall
  clts

  # --- the upper halves: kept by SSE, cleared by VEX.128, saved and restored
  vmovups pattern, %ymm1
  LOG_UPPER
  addps %xmm1, %xmm1
  LOG_UPPER
  movl $0, AREA + 512
  movl $0, AREA + 516
  MASK 7
  xsave AREA
  LOG AREA + 512
  LOG AREA + 576 + 16
  LOG AREA + 576 + 28
  vaddps %xmm1, %xmm1, %xmm1
  LOG_UPPER
  MASK 4
  xrstor AREA                        # the upper halves alone
  LOG_UPPER
  movl $3, AREA + 512                # the image has none: they become zero
  MASK 7
  xrstor AREA
  LOG_UPPER
  vmovups pattern, %ymm1
  movl $7, AREA + 512
  MASK 3
  xrstor AREA                        # nor are they touched where they were not asked for
  LOG_UPPER
  vzeroupper
  LOG_UPPER
  movl $8, AREA + 512
  MASK 7
  FAULT xrstor AREA                  # a component that XCR0 has not
  movl $0, AREA + 512

  # --- alignment: none is demanded but by the moves that say so
  vmovups DATA + 1, %ymm1
  vaddps DATA + 1, %ymm1, %ymm1
  FAULT vmovaps DATA + 16, %ymm1     # 32 bytes
  vmovaps DATA + 16, %xmm1
  FAULT vmovdqa %xmm1, DATA + 8

  # --- a masked store that does not touch what lies beyond the segment
  movw $LIMITED, %ax
  movw %ax, %es
  vmovups mask, %ymm2
  vmovups pattern, %ymm1
  vmaskmovps %ymm1, %ymm2, %es:0x7f0
  LOG DATA + 0x7f0
  LOG DATA + 0x7fc
  LOG DATA + 0x800
  FAULT vmaskmovps %ymm1, %ymm2, %es:0x7f4
  EXIT

HANDLERS
.set LIMITED, 0x38                   # the DATA page's first 2 KiB
TABLES
  .quad 0x00409301100007ff
gdt_end:
.balign 32
pattern: .long 0x3f800000, 0x40000000, 0x40400000, 0x40800000, 0x11111111, 0x22222222, 0x33333333, 0x44444444
mask: .long 0x80000000, 0, 0, 0xffffffff, 0, 0, 0, 0
