// Scalar floating point and moves between the register kinds. Operand order is kept: it decides
// which NaN comes out.
#include <iterator>

#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::Type;

void Lowering::zero_xmm(int r) { c_.features.avx ? c_.vpxor(xmm(r), xmm(r), xmm(r)) : c_.pxor(xmm(r), xmm(r)); }

void Lowering::move_xmm(int to, int from) {
  if (to != from) c_.features.avx ? c_.vmovaps(xmm(to), xmm(from)) : c_.movaps(xmm(to), xmm(from));
}

void Lowering::float1(const Inst& in, Avx3 avx32, Avx2 sse32, Avx3 avx64, Avx2 sse64) {
  const bool f64 = in.type == Type::F64;
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (c_.features.avx) {
    (f64 ? avx64 : avx32)(c_, xmm(d), xmm(a), xmm(a));
  } else {
    zero_xmm(d);  // no dependency on what was there
    (f64 ? sse64 : sse32)(c_, xmm(d), xmm(a));
  }
  ra_.define(index_, d);
}

void Lowering::float2(const Inst& in, Avx3 avx32, Avx2 sse32, Avx3 avx64, Avx2 sse64) {
  const bool f64 = in.type == Type::F64;
  const int b = ra_.use(in.args[1]);
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    (f64 ? avx64 : avx32)(c_, xmm(d), xmm(a), xmm(b));
    ra_.define(index_, d);
  } else {
    const int d = ra_.use_mutable(in.args[0]);
    (f64 ? sse64 : sse32)(c_, xmm(d), xmm(b));
    ra_.define(index_, d);
  }
}

#define AVX3(insn) [](Assembler& c, const Xmm& d, const Xmm& a, const Operand& b) { c.insn(d, a, b); }
#define SSE2(insn) [](Assembler& c, const Xmm& d, const Operand& b) { c.insn(d, b); }
#define FLOAT2(op, insn)                                                              \
  void Lowering::lower_##op(const Inst& in) {                                         \
    float2(in, AVX3(v##insn##ss), SSE2(insn##ss), AVX3(v##insn##sd), SSE2(insn##sd)); \
  }
FLOAT2(fadd, add)
FLOAT2(fsub, sub)
FLOAT2(fmul, mul)
FLOAT2(fdiv, div)
FLOAT2(fmin, min)
FLOAT2(fmax, max)

void Lowering::lower_fsqrt(const Inst& in) { float1(in, AVX3(vsqrtss), SSE2(sqrtss), AVX3(vsqrtsd), SSE2(sqrtsd)); }
void Lowering::lower_f32_to_f64(const Inst& in) {
  float1(in, AVX3(vcvtss2sd), SSE2(cvtss2sd), AVX3(vcvtss2sd), SSE2(cvtss2sd));
}
void Lowering::lower_f64_to_f32(const Inst& in) {
  float1(in, AVX3(vcvtsd2ss), SSE2(cvtsd2ss), AVX3(vcvtsd2ss), SSE2(cvtsd2ss));
}

void Lowering::lower_fround(const Inst& in) {
  const auto imm = static_cast<uint8_t>(in.imm);
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const bool f64 = in.type == Type::F64;
  if (c_.features.avx) {
    f64 ? c_.vroundsd(xmm(d), xmm(a), xmm(a), imm) : c_.vroundss(xmm(d), xmm(a), xmm(a), imm);
  } else {
    f64 ? c_.roundsd(xmm(d), xmm(a), imm) : c_.roundss(xmm(d), xmm(a), imm);
  }
  ra_.define(index_, d);
}

void Lowering::lower_fcmp_mask(const Inst& in) {
  const auto imm = static_cast<uint8_t>(in.imm & 7);
  const bool f64 = in.type == Type::F64;
  const int b = ra_.use(in.args[1]);
  int d;
  if (c_.features.avx) {
    const int a = ra_.use(in.args[0]);
    d = ra_.result(index_);
    f64 ? c_.vcmpsd(xmm(d), xmm(a), xmm(b), imm) : c_.vcmpss(xmm(d), xmm(a), xmm(b), imm);
  } else {
    d = ra_.use_mutable(in.args[0]);
    f64 ? c_.cmpsd(xmm(d), xmm(b), imm) : c_.cmpss(xmm(d), xmm(b), imm);
  }
  ra_.define(index_, d);
}

// LAHF puts SF ZF 0 AF 0 PF 1 CF into ah: the bits as they stand in EFLAGS.
void Lowering::flags_to(const Inst&, uint32_t mask) {
  c_.lahf();
  c_.movzx(c_.eax, c_.ah);
  c_.and_(c_.eax, mask);
  ra_.define(index_, 0, 8);
}

void Lowering::float_compare(const Inst& in, bool quiet) {
  ra_.fixed(0);
  const int a = ra_.use(in.args[0]), b = ra_.use(in.args[1]);
  const bool f64 = ra_.type(in.args[0]) == Type::F64;
  const Xmm x = xmm(a), y = xmm(b);
  if (c_.features.avx) {
    if (quiet) {
      f64 ? c_.vucomisd(x, y) : c_.vucomiss(x, y);
    } else {
      f64 ? c_.vcomisd(x, y) : c_.vcomiss(x, y);
    }
  } else if (quiet) {
    f64 ? c_.ucomisd(x, y) : c_.ucomiss(x, y);
  } else {
    f64 ? c_.comisd(x, y) : c_.comiss(x, y);
  }
  flags_to(in, 0x45);
}
void Lowering::lower_fucomi(const Inst& in) { float_compare(in, true); }
void Lowering::lower_fcomi(const Inst& in) { float_compare(in, false); }

void Lowering::lower_vtest(const Inst& in) {
  ra_.fixed(0);
  const int a = ra_.use(in.args[0]), b = ra_.use(in.args[1]);
  c_.features.avx ? c_.vptest(xmm(a), xmm(b)) : c_.ptest(xmm(a), xmm(b));
  flags_to(in, 0x41);
}

// --- integers

void Lowering::integer_to_float(const Inst& in, bool f64) {
  const bool wide = ra_.type(in.args[0]) == Type::I64;
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const Xmm x = xmm(d);
  zero_xmm(d);
  const Xbyak::Reg r = wide ? static_cast<Xbyak::Reg>(reg64(a)) : static_cast<Xbyak::Reg>(reg32(a));
  if (c_.features.avx) {
    f64 ? c_.vcvtsi2sd(x, x, r) : c_.vcvtsi2ss(x, x, r);
  } else {
    f64 ? c_.cvtsi2sd(x, r) : c_.cvtsi2ss(x, r);
  }
  ra_.define(index_, d);
}
void Lowering::lower_int_to_f32(const Inst& in) { integer_to_float(in, false); }
void Lowering::lower_int_to_f64(const Inst& in) { integer_to_float(in, true); }

void Lowering::float_to_integer(const Inst& in, bool truncate) {
  const bool f64 = ra_.type(in.args[0]) == Type::F64;
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const bool wide = in.type == Type::I64;
  const Xmm x = xmm(a);
#define CONVERT(insn)                                         \
  if (c_.features.avx) {                                      \
    wide ? c_.v##insn(reg64(d), x) : c_.v##insn(reg32(d), x); \
  } else {                                                    \
    wide ? c_.insn(reg64(d), x) : c_.insn(reg32(d), x);       \
  }
  if (f64 && truncate) {
    CONVERT(cvttsd2si)
  } else if (f64) {
    CONVERT(cvtsd2si)
  } else if (truncate) {
    CONVERT(cvttss2si)
  } else {
    CONVERT(cvtss2si)
  }
#undef CONVERT
  ra_.define(index_, d, ir::size_bits(in.type));
}
void Lowering::lower_float_to_int(const Inst& in) { float_to_integer(in, false); }
void Lowering::lower_float_to_int_trunc(const Inst& in) { float_to_integer(in, true); }

// --- moves between kinds

void Lowering::lower_bitcast(const Inst& in) {
  const Type from = ra_.type(in.args[0]);
  const bool to_int = ir::is_int(in.type);
  if (ir::is_int(from) == to_int && ra_.info(ra_.info(in.args[0]).root).is_xmm != to_int) {
    return ra_.alias(index_, in.args[0]);
  }
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const bool wide = ir::size_bytes(in.type) == 8;
  const bool avx = c_.features.avx;
  if (to_int) {
    if (wide) {
      avx ? c_.vmovq(reg64(d), xmm(a)) : c_.movq(reg64(d), xmm(a));
    } else {
      avx ? c_.vmovd(reg32(d), xmm(a)) : c_.movd(reg32(d), xmm(a));
    }
  } else if (wide) {
    avx ? c_.vmovq(xmm(d), reg64(a)) : c_.movq(xmm(d), reg64(a));
  } else {
    avx ? c_.vmovd(xmm(d), reg32(a)) : c_.movd(xmm(d), reg32(a));
  }
  ra_.define(index_, d, to_int ? ir::size_bits(in.type) : 64);
}

void Lowering::lower_vlow(const Inst& in) {
  if (!ir::is_int(in.type)) return ra_.alias(index_, in.args[0]);
  lower_bitcast(in);
}

void Lowering::lower_vzext(const Inst& in) {
  const Type from = ra_.type(in.args[0]);
  const bool avx = c_.features.avx;
  if (ir::is_int(from)) {
    const int a = ra_.use(in.args[0]);
    const int d = ra_.result(index_);
    if (from == Type::I64) {
      avx ? c_.vmovq(xmm(d), reg64(a)) : c_.movq(xmm(d), reg64(a));
    } else {
      avx ? c_.vmovd(xmm(d), reg32(a)) : c_.movd(xmm(d), reg32(a));
    }
    return ra_.define(index_, d);
  }
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  if (from == Type::F64) {
    avx ? c_.vmovq(xmm(d), xmm(a)) : c_.movq(xmm(d), xmm(a));
  } else {
    zero_xmm(d);
    avx ? c_.vmovss(xmm(d), xmm(d), xmm(a)) : c_.movss(xmm(d), xmm(a));
  }
  ra_.define(index_, d);
}

void Lowering::lower_vget_lane(const Inst& in) {
  const auto lane = static_cast<uint8_t>(in.imm);
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const Xmm x = xmm(a);
  const bool avx = c_.features.avx;
  switch (ir::size_bytes(in.type)) {
    case 1:
      avx ? c_.vpextrb(reg32(d), x, lane) : c_.pextrb(reg32(d), x, lane);
      break;
    case 2:
      avx ? c_.vpextrw(reg32(d), x, lane) : c_.pextrw(reg32(d), x, lane);
      break;
    case 4:
      avx ? c_.vpextrd(reg32(d), x, lane) : c_.pextrd(reg32(d), x, lane);
      break;
    default:
      avx ? c_.vpextrq(reg64(d), x, lane) : c_.pextrq(reg64(d), x, lane);
      break;
  }
  ra_.define(index_, d, ir::size_bits(in.type));
}

void Lowering::lower_vset_lane(const Inst& in) {
  const auto lane = static_cast<uint8_t>(in.imm);
  const Type t = ra_.type(in.args[1]);
  const int b = ra_.use(in.args[1]);
  const int d = ra_.use_mutable(in.args[0]);
  const Xmm x = xmm(d);
  const bool avx = c_.features.avx;
  switch (t) {
    case Type::F32:
      avx ? c_.vinsertps(x, x, xmm(b), static_cast<uint8_t>(lane << 4))
          : c_.insertps(x, xmm(b), static_cast<uint8_t>(lane << 4));
      break;
    case Type::F64:
      if (lane == 0) {
        avx ? c_.vmovsd(x, x, xmm(b)) : c_.movsd(x, xmm(b));
      } else {
        avx ? c_.vunpcklpd(x, x, xmm(b)) : c_.unpcklpd(x, xmm(b));
      }
      break;
    case Type::I1:
    case Type::I8:
      avx ? c_.vpinsrb(x, x, reg32(b), lane) : c_.pinsrb(x, reg32(b), lane);
      break;
    case Type::I16:
      avx ? c_.vpinsrw(x, x, reg32(b), lane) : c_.pinsrw(x, reg32(b), lane);
      break;
    case Type::I32:
      avx ? c_.vpinsrd(x, x, reg32(b), lane) : c_.pinsrd(x, reg32(b), lane);
      break;
    default:
      avx ? c_.vpinsrq(x, x, reg64(b), lane) : c_.pinsrq(x, reg64(b), lane);
      break;
  }
  ra_.define(index_, d);
}

void Lowering::lower_vmovmsk(const Inst& in) {
  const int a = ra_.use(in.args[0]);
  const int d = ra_.result(index_);
  const bool avx = c_.features.avx;
  switch (in.aux) {
    case 1:
      avx ? c_.vpmovmskb(reg32(d), xmm(a)) : c_.pmovmskb(reg32(d), xmm(a));
      break;
    case 4:
      avx ? c_.vmovmskps(reg32(d), xmm(a)) : c_.movmskps(reg32(d), xmm(a));
      break;
    default:
      avx ? c_.vmovmskpd(reg32(d), xmm(a)) : c_.movmskpd(reg32(d), xmm(a));
      break;
  }
  ra_.define(index_, d, 16);
}

}  // namespace panda::x64
