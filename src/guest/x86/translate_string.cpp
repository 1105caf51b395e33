// SDM vol. 2: MOVS, STOS, LODS, SCAS, CMPS. Without a prefix in plain IR, repeated by a helper.
#include "guest/x86/decoder.h"
#include "guest/x86/rows.h"
#include "guest/x86/string_helpers.h"

namespace panda::x86 {

using exec::InsnEnd;
using ir::Op;

namespace {

unsigned log2_of(unsigned n) { return n == 1 ? 0u : n == 2 ? 1u : n == 4 ? 2u : 3u; }

struct Shape {
  StringKind kind;
  Type type;
  unsigned seg;  // of the source
};

Shape shape(const InsnContext& x) {
  Shape s{StringKind::Movs, Type::I8, R_DS};
  switch (x.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
      s.kind = StringKind::Movs;
      break;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
      s.kind = StringKind::Stos;
      break;
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
      s.kind = StringKind::Lods;
      break;
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      s.kind = StringKind::Scas;
      break;
    default:
      s.kind = StringKind::Cmps;
      break;
  }
  // The source is the memory operand that does not go through ES:rDI.
  for (unsigned i = 0; i < x.insn.operand_count; ++i) {
    const ZydisDecodedOperand& op = x.ops[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    s.type = x.type_of(op);
    if (general_register(op.mem.base).number == R_ESI && op.mem.segment != ZYDIS_REGISTER_NONE) {
      s.seg = segment_register(op.mem.segment);
    }
  }
  return s;
}

InsnEnd repeated(InsnContext& x, const Shape& s, Repeat repeat) {
  const StringOp op{.kind = s.kind,
                    .repeat = repeat,
                    .size_log2 = static_cast<uint8_t>(log2_of(ir::size_bytes(s.type))),
                    .address_log2 = static_cast<uint8_t>(log2_of(ir::size_bytes(x.address_type()))),
                    .seg = static_cast<uint8_t>(s.seg),
                    .one_only = x.request.exact};
  x.call(kHelperString, {x.b.i32(op.pack()), x.b.i64(x.pc())});
  if (s.kind == StringKind::Scas || s.kind == StringKind::Cmps) x.known = {};
  return InsnEnd::Next;
}

InsnEnd translate_string(InsnContext& x) {
  ir::Builder& b = x.b;
  const Shape s = shape(x);
  const bool compares = s.kind == StringKind::Scas || s.kind == StringKind::Cmps;
  const uint64_t prefixes = x.insn.attributes;
  if ((prefixes & ZYDIS_ATTRIB_HAS_REPNE) != 0)
    return repeated(x, s, compares ? Repeat::WhileNotEqual : Repeat::Always);
  if ((prefixes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0) {
    return repeated(x, s, compares ? Repeat::WhileEqual : Repeat::Always);
  }

  const Type address = x.address_type();
  const unsigned bytes = ir::size_bytes(s.type);
  const bool uses_source = s.kind != StringKind::Stos && s.kind != StringKind::Scas;
  const bool uses_destination = s.kind != StringKind::Lods;
  const Value accumulator = x.reg(R_EAX, s.type);
  Value si, di, source, old;
  if (uses_source) {
    si = x.reg(R_ESI, address);
    source = x.load(x.segment_address(s.seg, si, bytes, false), s.type);
  }
  if (uses_destination) {
    di = x.reg(R_EDI, address);
    const bool writes = s.kind == StringKind::Movs || s.kind == StringKind::Stos;
    const Memory m = x.segment_address(R_ES, di, bytes, writes);
    if (writes) {
      x.store(m, s.kind == StringKind::Movs ? source : accumulator);
    } else {
      old = x.load(m, s.type);
    }
  }

  const Value df = b.get(Type::I32, offsetof(State, df));
  Value step = ir::size_bytes(address) > 4 ? b.sext(address, df) : b.trunc(address, df);
  if (bytes > 1) step = b.shift(Op::shl, step, b.i8(log2_of(bytes)));
  if (si.valid()) x.set_reg(R_ESI, b.add(si, step));
  if (di.valid()) x.set_reg(R_EDI, b.add(di, step));
  if (s.kind == StringKind::Lods) x.set_reg(R_EAX, source);
  if (compares) {
    const Value first = s.kind == StringKind::Scas ? accumulator : source;
    x.set_cc_sub(first, old, b.sub(first, old));
  }
  return InsnEnd::Next;
}

#define ROWS(name)                                                                                  \
  Row{ZYDIS_MNEMONIC_##name##B, translate_string}, Row{ZYDIS_MNEMONIC_##name##W, translate_string}, \
      Row{ZYDIS_MNEMONIC_##name##D, translate_string}, Row {                                        \
    ZYDIS_MNEMONIC_##name##Q, translate_string                                                      \
  }
constexpr Row kRows[] = {ROWS(MOVS), ROWS(STOS), ROWS(LODS), ROWS(SCAS), ROWS(CMPS)};

}  // namespace

std::span<const Row> string_rows() { return kRows; }

}  // namespace panda::x86
