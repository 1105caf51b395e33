// V128: one row per op, each one host instruction. Where the row names `insn`, the AVX form is
// vinsn with three operands, the SSE form insn with two.
#include "backend/x64/lower.h"

namespace panda::x64 {

void Lowering::xmm1(const Inst& in, Avx2 avx, Avx2 sse) {
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  (c_.features.avx ? avx : sse)(c_, xmm(d), xmm(a));
  ra_.define(index_, d);
}

void Lowering::xmm1_imm(const Inst& in, Avx2Imm avx, Avx2Imm sse) {
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  (c_.features.avx ? avx : sse)(c_, xmm(d), xmm(a), static_cast<uint8_t>(in.imm));
  ra_.define(index_, d);
}

void Lowering::xmm2(const Inst& in, Avx3 avx, Avx2 sse) {
  const int b = ra_.use(in.args[1]);
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    avx(c_, xmm(d), xmm(a), xmm(b));
    return ra_.define(index_, d);
  }
  const int d = ra_.use_mutable(in.args[0]);
  sse(c_, xmm(d), xmm(b));
  ra_.define(index_, d);
}

void Lowering::xmm2_imm(const Inst& in, Avx3Imm avx, Avx2Imm sse) {
  const auto imm = static_cast<uint8_t>(in.imm);
  const int b = ra_.use(in.args[1]);
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    avx(c_, xmm(d), xmm(a), xmm(b), imm);
    return ra_.define(index_, d);
  }
  const int d = ra_.use_mutable(in.args[0]);
  sse(c_, xmm(d), xmm(b), imm);
  ra_.define(index_, d);
}

void Lowering::xmm1_shift(const Inst& in, Avx2Imm avx, SseImm sse) {
  const auto imm = static_cast<uint8_t>(in.imm);
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    avx(c_, xmm(d), xmm(a), imm);
    return ra_.define(index_, d);
  }
  const int d = ra_.use_mutable(in.args[0]);
  sse(c_, xmm(d), imm);
  ra_.define(index_, d);
}

// The SSE forms want their mask in xmm0. Instead the mask's sign bits are spread over the lanes and
// the lanes picked by ((a ^ b) & ~mask) ^ b.
void Lowering::blendv(const Inst& in, unsigned lane_bytes, Avx4 avx) {
  const int mask = ra_.use(in.args[2]), b = ra_.use(in.args[1]);
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    avx(c_, xmm(d), xmm(a), xmm(b), xmm(mask));
    return ra_.define(index_, d);
  }
  const int a = ra_.use_mutable(in.args[0]);
  const int d = ra_.scratch_xmm();
  if (lane_bytes == 1) {
    c_.pxor(xmm(d), xmm(d));
    c_.pcmpgtb(xmm(d), xmm(mask));
  } else {
    c_.pshufd(xmm(d), xmm(mask), lane_bytes == 4 ? 0xe4 : 0xf5);
    c_.psrad(xmm(d), 31);
  }
  c_.pxor(xmm(a), xmm(b));
  c_.pandn(xmm(d), xmm(a));
  c_.pxor(xmm(d), xmm(b));
  ra_.define(index_, d);
}

#define ROW(op, body) \
  void Lowering::lower_##op(const Inst& in) { body; }
#define B(op, insn)                                                                                       \
  ROW(op, xmm2(                                                                                           \
              in, [](Assembler& c, const Xmm& d, const Xmm& a, const Operand& b) { c.v##insn(d, a, b); }, \
              [](Assembler& c, const Xmm& d, const Operand& b) { c.insn(d, b); }))
#define BI(op, insn)                                                                                                \
  ROW(op,                                                                                                           \
      xmm2_imm(                                                                                                     \
          in, [](Assembler& c, const Xmm& d, const Xmm& a, const Operand& b, uint8_t i) { c.v##insn(d, a, b, i); }, \
          [](Assembler& c, const Xmm& d, const Operand& b, uint8_t i) { c.insn(d, b, i); }))
#define U(op, insn)                                                                      \
  ROW(op, xmm1(                                                                          \
              in, [](Assembler& c, const Xmm& d, const Operand& a) { c.v##insn(d, a); }, \
              [](Assembler& c, const Xmm& d, const Operand& a) { c.insn(d, a); }))
// Conversions that Xbyak declares for registers apart from memory.
#define UX(op, insn)                                                                                              \
  ROW(op, xmm1(                                                                                                   \
              in, [](Assembler& c, const Xmm& d, const Operand& a) { c.v##insn(d, static_cast<const Xmm&>(a)); }, \
              [](Assembler& c, const Xmm& d, const Operand& a) { c.insn(d, a); }))
#define UI(op, insn)                                                                                   \
  ROW(op, xmm1_imm(                                                                                    \
              in, [](Assembler& c, const Xmm& d, const Operand& a, uint8_t i) { c.v##insn(d, a, i); }, \
              [](Assembler& c, const Xmm& d, const Operand& a, uint8_t i) { c.insn(d, a, i); }))
#define SI(op, insn)                                                                                   \
  ROW(op, xmm1_shift(                                                                                  \
              in, [](Assembler& c, const Xmm& d, const Operand& a, uint8_t i) { c.v##insn(d, a, i); }, \
              [](Assembler& c, const Xmm& d, uint8_t i) { c.insn(d, i); }))
#define BLEND(op, insn, lane_bytes) \
  ROW(op, blendv(in, lane_bytes,    \
                 [](Assembler& c, const Xmm& d, const Xmm& a, const Xmm& b, const Xmm& m) { c.v##insn(d, a, b, m); }))

// clang-format off
B(vand, pand) B(vandn, pandn) B(vor, por) B(vxor, pxor)
B(vadd_i8, paddb) B(vadd_i16, paddw) B(vadd_i32, paddd) B(vadd_i64, paddq)
B(vsub_i8, psubb) B(vsub_i16, psubw) B(vsub_i32, psubd) B(vsub_i64, psubq)
B(vadds_s8, paddsb) B(vadds_s16, paddsw) B(vadds_u8, paddusb) B(vadds_u16, paddusw)
B(vsubs_s8, psubsb) B(vsubs_s16, psubsw) B(vsubs_u8, psubusb) B(vsubs_u16, psubusw)
B(vmullo_i16, pmullw) B(vmullo_i32, pmulld) B(vmulhi_s16, pmulhw) B(vmulhi_u16, pmulhuw) B(vmulhrs_s16, pmulhrsw)
B(vmulwide_u32, pmuludq) B(vmulwide_s32, pmuldq)
B(vmadd_s16, pmaddwd) B(vmadd_u8s8, pmaddubsw)
B(vavg_u8, pavgb) B(vavg_u16, pavgw) B(vsad_u8, psadbw)
B(vmin_s8, pminsb) B(vmin_u8, pminub) B(vmin_s16, pminsw) B(vmin_u16, pminuw) B(vmin_s32, pminsd) B(vmin_u32, pminud)
B(vmax_s8, pmaxsb) B(vmax_u8, pmaxub) B(vmax_s16, pmaxsw) B(vmax_u16, pmaxuw) B(vmax_s32, pmaxsd) B(vmax_u32, pmaxud)
B(vcmpeq_i8, pcmpeqb) B(vcmpeq_i16, pcmpeqw) B(vcmpeq_i32, pcmpeqd) B(vcmpeq_i64, pcmpeqq)
B(vcmpgt_s8, pcmpgtb) B(vcmpgt_s16, pcmpgtw) B(vcmpgt_s32, pcmpgtd) B(vcmpgt_s64, pcmpgtq)
B(vpack_s16_s8, packsswb) B(vpack_s32_s16, packssdw) B(vpack_s16_u8, packuswb) B(vpack_s32_u16, packusdw)
B(vunpacklo_i8, punpcklbw) B(vunpacklo_i16, punpcklwd) B(vunpacklo_i32, punpckldq) B(vunpacklo_i64, punpcklqdq)
B(vunpackhi_i8, punpckhbw) B(vunpackhi_i16, punpckhwd) B(vunpackhi_i32, punpckhdq) B(vunpackhi_i64, punpckhqdq)
B(vshuffle_i8, pshufb)
B(vsign_s8, psignb) B(vsign_s16, psignw) B(vsign_s32, psignd) U(vabs_s8, pabsb) U(vabs_s16, pabsw) U(vabs_s32, pabsd)
B(vhadd_i16, phaddw) B(vhadd_i32, phaddd) B(vhadds_s16, phaddsw)
B(vhsub_i16, phsubw) B(vhsub_i32, phsubd) B(vhsubs_s16, phsubsw)
B(vshl_i16, psllw) B(vshl_i32, pslld) B(vshl_i64, psllq)
B(vshr_i16, psrlw) B(vshr_i32, psrld) B(vshr_i64, psrlq) B(vsar_i16, psraw) B(vsar_i32, psrad)
SI(vshli_i16, psllw) SI(vshli_i32, pslld) SI(vshli_i64, psllq)
SI(vshri_i16, psrlw) SI(vshri_i32, psrld) SI(vshri_i64, psrlq) SI(vsari_i16, psraw) SI(vsari_i32, psrad)
SI(vshlbytes, pslldq) SI(vshrbytes, psrldq)
UI(vpshufd, pshufd) UI(vpshuflw, pshuflw) UI(vpshufhw, pshufhw)
BI(vshufps, shufps) BI(vshufpd, shufpd) BI(vpalignr, palignr) BI(vblend_i16, pblendw) BI(vblendps, blendps)
BI(vblendpd, blendpd) BI(vinsertps, insertps) BI(vmpsadbw, mpsadbw)
BLEND(vblendv_i8, pblendvb, 1) BLEND(vblendvps, blendvps, 4) BLEND(vblendvpd, blendvpd, 8)
U(vsext_i8_i16, pmovsxbw) U(vsext_i8_i32, pmovsxbd) U(vsext_i8_i64, pmovsxbq)
U(vsext_i16_i32, pmovsxwd) U(vsext_i16_i64, pmovsxwq) U(vsext_i32_i64, pmovsxdq)
U(vzext_i8_i16, pmovzxbw) U(vzext_i8_i32, pmovzxbd) U(vzext_i8_i64, pmovzxbq)
U(vzext_i16_i32, pmovzxwd) U(vzext_i16_i64, pmovzxwq) U(vzext_i32_i64, pmovzxdq)
U(vminpos_u16, phminposuw)

B(vadd_f32, addps) B(vadd_f64, addpd) B(vsub_f32, subps) B(vsub_f64, subpd)
B(vmul_f32, mulps) B(vmul_f64, mulpd) B(vdiv_f32, divps) B(vdiv_f64, divpd)
B(vmin_f32, minps) B(vmin_f64, minpd) B(vmax_f32, maxps) B(vmax_f64, maxpd)
U(vsqrt_f32, sqrtps) U(vsqrt_f64, sqrtpd)
BI(vcmp_f32, cmpps) BI(vcmp_f64, cmppd)
B(vaddsub_f32, addsubps) B(vaddsub_f64, addsubpd) B(vhadd_f32, haddps) B(vhadd_f64, haddpd)
B(vhsub_f32, hsubps) B(vhsub_f64, hsubpd)
BI(vdp_f32, dpps) BI(vdp_f64, dppd)
UI(vround_f32, roundps) UI(vround_f64, roundpd)
U(vcvt_s32_f32, cvtdq2ps) U(vcvt_f32_s32, cvtps2dq) U(vcvtt_f32_s32, cvttps2dq)
U(vcvt_s32_f64, cvtdq2pd) UX(vcvt_f64_s32, cvtpd2dq) UX(vcvtt_f64_s32, cvttpd2dq)
U(vcvt_f32_f64, cvtps2pd) UX(vcvt_f64_f32, cvtpd2ps)
// clang-format on

}  // namespace panda::x64
