// What only MMX has; its packed arithmetic shares the rows of the SSE integer instructions.
#include "guest/x86/translate_fp.h"
#include "guest/x86/x87_inline.h"

namespace panda::x86 {
namespace {

InsnEnd emms(InsnContext& x) {
  if (!mmx_ready(x)) return InsnEnd::Closed;
  x.b.set(offsetof(State, fpstt), x.b.i32(0));
  x.b.set(offsetof(State, fptags), x.b.i64(0x0101010101010101));
  if (x.x87 != nullptr) x.x87->assume(0, 0xff);
  return InsnEnd::Next;
}

InsnEnd movdq2q(InsnContext& x) {
  if (!sse_ready(x) || !mmx_ready(x)) return InsnEnd::Closed;
  const Value v = x.b.emit(Op::vlow, Type::I64, {get_xmm(x, x.ops[1])});
  enter_mmx(x);
  set_mm(x, mmx_number(x.ops[0]), v);
  return InsnEnd::Next;
}

InsnEnd movq2dq(InsnContext& x) {
  if (!sse_ready(x) || !mmx_ready(x)) return InsnEnd::Closed;
  const Value v = x.b.emit(Op::vzext, Type::V128, {get_mm(x, mmx_number(x.ops[1]))});
  enter_mmx(x);
  set_xmm(x, x.ops[0], v);
  return InsnEnd::Next;
}

InsnEnd movntq(InsnContext& x) {
  if (!mmx_ready(x)) return InsnEnd::Closed;
  x.store(x.address(x.ops[0], 8, true), get_mm(x, mmx_number(x.ops[1])));
  enter_mmx(x);
  return InsnEnd::Next;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_EMMS, &emms, Feature::Mmx},
    {ZYDIS_MNEMONIC_MOVDQ2Q, &movdq2q, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVQ2DQ, &movq2dq, Feature::Sse2},
    {ZYDIS_MNEMONIC_MOVNTQ, &movntq, Feature::Sse},
};

}  // namespace

std::span<const Row> mmx_rows() { return kRows; }

}  // namespace panda::x86
