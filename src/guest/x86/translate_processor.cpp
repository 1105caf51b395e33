// RDRAND, RDSEED, RDPID and INVPCID (SDM vol. 2).
//
// Random numbers must be the same in a replay, so they come from a generator whose state belongs to
// the CPU's (State::random_): seeded at reset, stepped by each number, saved in snapshots. They are
// not fit to keep secrets, as nothing in a machine that is recorded is.
#include "guest/x86/decoder.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/translate_system.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

// SplitMix64: every state follows from the last by an addition, the output is mixed from it.
uint64_t random_helper(void* state) noexcept {
  State& s = *static_cast<State*>(state);
  s.random_ += 0x9e37'79b9'7f4a'7c15;
  uint64_t v = s.random_;
  v = (v ^ v >> 30) * 0xbf58'476d'1ce4'e5b9;
  v = (v ^ v >> 27) * 0x94d0'49bb'1331'11eb;
  return v ^ v >> 31;
}

void invpcid_helper(void* state, uint64_t type, uint64_t descriptor, uint64_t address) noexcept {
  Cpu cpu(state);
  invalidate_pcid(cpu, type, descriptor, address);
}

constexpr ir::StateRange kRandomRange{offsetof(State, random_), offsetof(State, random_) + 8};
const ir::HelperDesc kRandom{.name = "x86_random",
                             .function = reinterpret_cast<const void*>(&random_helper),
                             .result = Type::I64,
                             .params = {},
                             .reads = kRandomRange,
                             .writes = kRandomRange,
                             .may_exit = false};
const ir::HelperDesc kInvpcid = system_helper("x86_invpcid", invpcid_helper);

InsnEnd translate_random(InsnContext& x) {
  const Type type = x.type_of(x.ops[0]);
  x.set_reg(x.ops[0].reg.value, x.b.trunc(type, x.call(kRandom)));
  x.set_cc_flags(x.b.i32(kCF));  // there is always a number
  return InsnEnd::Next;
}

InsnEnd translate_rdpid(InsnContext& x) {
  const Value aux = x.b.get(Type::I64, offsetof(State, tsc_aux));
  x.set_reg(x.ops[0].reg.value, x.b.trunc(x.type_of(x.ops[0]), aux));
  return InsnEnd::Next;
}

InsnEnd translate_invpcid(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  const Value type = x.b.zext(Type::I64, x.read(x.ops[0]));
  const Memory m = x.address(x.ops[1], 16, false);
  const auto [low, high] = x.load(m, Type::I64, {x.b.add(m.linear, x.b.i64(8))}, Type::I64);
  x.call(kInvpcid, {type, low, high});
  return x.end_dispatch();
}

const Row kRows[] = {
    {ZYDIS_MNEMONIC_RDRAND, translate_random, Feature::Rdrand},
    {ZYDIS_MNEMONIC_RDSEED, translate_random, Feature::Rdseed},
    {ZYDIS_MNEMONIC_RDPID, translate_rdpid, Feature::Rdpid},
    {ZYDIS_MNEMONIC_INVPCID, translate_invpcid, Feature::Invpcid},
};

}  // namespace

std::span<const Row> processor_rows() { return kRows; }

}  // namespace panda::x86
