// SDM vol. 2: binary arithmetic and logic, and the table of the whole integer chapter.
#include "guest/x86/translate_integer.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

// The same register as source and destination: the result does not depend on it.
bool same_register(const InsnContext& x) {
  return x.ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && x.ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         x.ops[0].reg.value == x.ops[1].reg.value;
}

InsnEnd translate_add(InsnContext& x) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value b = x.read_as(x.ops[1], d.type());
  const Value r = x.b.add(a, b);
  d.write(r);
  x.set_cc_add(a, b, r);
  return InsnEnd::Next;
}

InsnEnd translate_adc(InsnContext& x) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value b = x.read_as(x.ops[1], d.type());
  const Value c = x.b.zext(d.type(), x.carry());
  const Value r = x.b.add(x.b.add(a, b), c);
  d.write(r);
  x.set_cc(kCcAdc, r, b, c);
  return InsnEnd::Next;
}

InsnEnd translate_sub(InsnContext& x) {
  if (same_register(x)) {
    const Value zero = x.b.konst(x.type_of(x.ops[0]), 0);
    x.set_reg(x.ops[0].reg.value, zero);
    x.set_cc(kCcLogic, zero);
    return InsnEnd::Next;
  }
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value b = x.read_as(x.ops[1], d.type());
  const Value r = x.b.sub(a, b);
  d.write(r);
  x.set_cc_sub(a, b, r);
  return InsnEnd::Next;
}

InsnEnd translate_sbb(InsnContext& x) {
  if (same_register(x)) {  // 0 or -1 by the carry, as in 0 - CF
    const Type type = x.type_of(x.ops[0]);
    const Value c = x.b.zext(type, x.carry());
    const Value r = x.b.neg(c);
    x.set_reg(x.ops[0].reg.value, r);
    x.set_cc_sub(x.b.konst(type, 0), c, r);
    return InsnEnd::Next;
  }
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value b = x.read_as(x.ops[1], d.type());
  const Value c = x.b.zext(d.type(), x.carry());
  const Value r = x.b.sub(x.b.sub(a, b), c);
  d.write(r);
  x.set_cc(kCcSbb, r, b, c);
  x.known.a = a;
  return InsnEnd::Next;
}

InsnEnd translate_cmp(InsnContext& x) {
  const Value a = x.read(x.ops[0]);
  const Value b = x.read_as(x.ops[1], a.type);
  x.set_cc_sub(a, b, x.b.sub(a, b));
  return InsnEnd::Next;
}

InsnEnd translate_test(InsnContext& x) {
  const Value a = x.read(x.ops[0]);
  x.set_cc(kCcLogic, same_register(x) ? a : x.b.and_(a, x.read_as(x.ops[1], a.type)));
  return InsnEnd::Next;
}

InsnEnd logic(InsnContext& x, ir::Op op) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value r = x.b.binary(op, a, x.read_as(x.ops[1], d.type()));
  d.write(r);
  x.set_cc(kCcLogic, r);
  return InsnEnd::Next;
}

InsnEnd translate_and(InsnContext& x) { return logic(x, ir::Op::and_); }
InsnEnd translate_or(InsnContext& x) { return logic(x, ir::Op::or_); }
InsnEnd translate_xor(InsnContext& x) { return same_register(x) ? translate_sub(x) : logic(x, ir::Op::xor_); }

InsnEnd step(InsnContext& x, uint32_t cc, ir::Op op) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value r = x.b.binary(op, a, x.b.konst(d.type(), 1));
  const Value c = x.b.zext(d.type(), x.carry());  // CF is kept
  d.write(r);
  x.set_cc(cc, r, c);
  return InsnEnd::Next;
}

InsnEnd translate_inc(InsnContext& x) { return step(x, kCcInc, ir::Op::add); }
InsnEnd translate_dec(InsnContext& x) { return step(x, kCcDec, ir::Op::sub); }

InsnEnd translate_neg(InsnContext& x) {
  Destination d(x, x.ops[0]);
  const Value a = d.read();
  const Value r = x.b.neg(a);
  d.write(r);
  x.set_cc_sub(x.b.konst(d.type(), 0), a, r);
  return InsnEnd::Next;
}

InsnEnd translate_not(InsnContext& x) {
  Destination d(x, x.ops[0]);
  d.write(x.b.not_(d.read()));
  return InsnEnd::Next;
}

// CLFLUSH, CLFLUSHOPT, CLWB: checked as a byte load, no cache to write back.
InsnEnd translate_clflush(InsnContext& x) {
  const ir::MemInfo info = x.mem_info(Type::I8, false, 0);
  (void)x.b.emit(ir::Op::load, Type::I8, {x.address(x.ops[0], 1, false).linear}, info.pack());  // no data: not reported
  return InsnEnd::Next;
}

InsnEnd translate_ud(InsnContext& x) {
  x.raise(kUD);
  return InsnEnd::Closed;
}

#define ROW(name, fn) \
  Row { ZYDIS_MNEMONIC_##name, fn }
#define ROW_F(name, fn, feature) \
  Row { ZYDIS_MNEMONIC_##name, fn, Feature::feature }
#define ROWS_CC(prefix, fn, feature)                                                                  \
  ROW_F(prefix##O, fn, feature), ROW_F(prefix##NO, fn, feature), ROW_F(prefix##B, fn, feature),       \
      ROW_F(prefix##NB, fn, feature), ROW_F(prefix##Z, fn, feature), ROW_F(prefix##NZ, fn, feature),  \
      ROW_F(prefix##BE, fn, feature), ROW_F(prefix##NBE, fn, feature), ROW_F(prefix##S, fn, feature), \
      ROW_F(prefix##NS, fn, feature), ROW_F(prefix##P, fn, feature), ROW_F(prefix##NP, fn, feature),  \
      ROW_F(prefix##L, fn, feature), ROW_F(prefix##NL, fn, feature), ROW_F(prefix##LE, fn, feature),  \
      ROW_F(prefix##NLE, fn, feature)

constexpr Row kRows[] = {
    ROW(ADD, translate_add),
    ROW(ADC, translate_adc),
    ROW(SUB, translate_sub),
    ROW(SBB, translate_sbb),
    ROW(CMP, translate_cmp),
    ROW(TEST, translate_test),
    ROW(AND, translate_and),
    ROW(OR, translate_or),
    ROW(XOR, translate_xor),
    ROW(INC, translate_inc),
    ROW(DEC, translate_dec),
    ROW(NEG, translate_neg),
    ROW(NOT, translate_not),
    // shifts and rotates
    ROW(SHL, translate_shl),
    ROW(SHR, translate_shr),
    ROW(SAR, translate_sar),
    ROW(ROL, translate_rol),
    ROW(ROR, translate_ror),
    ROW(RCL, translate_rcl),
    ROW(RCR, translate_rcr),
    ROW(SHLD, translate_shld),
    ROW(SHRD, translate_shrd),
    // multiplication, division, decimal
    ROW(MUL, translate_mul),
    ROW(IMUL, translate_imul),
    ROW(DIV, translate_div),
    ROW(IDIV, translate_idiv),
    ROW(DAA, translate_decimal),
    ROW(DAS, translate_decimal),
    ROW(AAA, translate_decimal),
    ROW(AAS, translate_decimal),
    ROW(AAM, translate_aam),
    ROW(AAD, translate_aad),
    // bits
    ROW(BT, translate_bt),
    ROW(BTS, translate_bt),
    ROW(BTR, translate_bt),
    ROW(BTC, translate_bt),
    ROW(BSF, translate_bsf),
    ROW(BSR, translate_bsr),
    ROW(TZCNT, translate_tzcnt),
    ROW(LZCNT, translate_lzcnt),
    ROW_F(POPCNT, translate_popcnt, Popcnt),
    ROW(BSWAP, translate_bswap),
    ROW_F(CRC32, translate_crc32, Sse42),
    ROW_F(ANDN, translate_andn, Bmi1),
    ROW_F(BLSR, translate_bls, Bmi1),
    ROW_F(BLSMSK, translate_bls, Bmi1),
    ROW_F(BLSI, translate_bls, Bmi1),
    ROW_F(BEXTR, translate_bextr, Bmi1),
    ROW_F(BZHI, translate_bzhi, Bmi2),
    ROW_F(SHLX, translate_shift_x, Bmi2),
    ROW_F(SHRX, translate_shift_x, Bmi2),
    ROW_F(SARX, translate_shift_x, Bmi2),
    ROW_F(RORX, translate_rorx, Bmi2),
    ROW_F(MULX, translate_mulx, Bmi2),
    ROW_F(PDEP, translate_pdep_pext, Bmi2),
    ROW_F(PEXT, translate_pdep_pext, Bmi2),
    ROW_F(ADCX, translate_adx, Adx),
    ROW_F(ADOX, translate_adx, Adx),
    // moves
    ROW(MOV, translate_mov),
    ROW_F(MOVNTI, translate_mov, Sse2),
    ROW(MOVZX, translate_movzx),
    ROW(MOVSX, translate_movsx),
    ROW(MOVSXD, translate_movsx),
    ROW_F(MOVBE, translate_movbe, Movbe),
    ROW(LEA, translate_lea),
    ROW(XCHG, translate_xchg),
    ROW(XADD, translate_xadd),
    ROW(CMPXCHG, translate_cmpxchg),
    ROW_F(CMPXCHG8B, translate_cmpxchg8b, Cx8),
    ROW_F(CMPXCHG16B, translate_cmpxchg16b, Cx16),
    ROW(XLAT, translate_xlat),
    ROW(CBW, translate_sign_extend_accumulator),
    ROW(CWDE, translate_sign_extend_accumulator),
    ROW(CDQE, translate_sign_extend_accumulator),
    ROW(CWD, translate_sign_fill_dx),
    ROW(CDQ, translate_sign_fill_dx),
    ROW(CQO, translate_sign_fill_dx),
    ROW(SALC, translate_salc),
    ROWS_CC(SET, translate_setcc, None),
    ROWS_CC(CMOV, translate_cmovcc, Cmov),
    // nothing to do, or nothing to be done
    ROW(NOP, translate_nop),
    ROW(PAUSE, translate_pause),
    ROW(ENDBR32, translate_nop),
    ROW(ENDBR64, translate_nop),
    ROW(PREFETCH, translate_nop),
    ROW(PREFETCHNTA, translate_nop),
    ROW(PREFETCHT0, translate_nop),
    ROW(PREFETCHT1, translate_nop),
    ROW(PREFETCHT2, translate_nop),
    ROW(PREFETCHW, translate_nop),
    ROW(PREFETCHWT1, translate_nop),
    ROW_F(SFENCE, translate_nop, Sse),
    ROW_F(LFENCE, translate_nop, Sse2),
    ROW_F(MFENCE, translate_nop, Sse2),
    ROW_F(CLFLUSH, translate_clflush, Clfsh),
    ROW_F(CLFLUSHOPT, translate_clflush, Clflushopt),
    ROW_F(CLWB, translate_clflush, Clwb),
    ROW(UD0, translate_ud),
    ROW(UD1, translate_ud),
    ROW(UD2, translate_ud),
};

}  // namespace

InsnEnd translate_nop(InsnContext&) { return InsnEnd::Next; }

std::span<const Row> integer_rows() { return kRows; }

}  // namespace panda::x86
