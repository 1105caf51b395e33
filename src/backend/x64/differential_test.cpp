// Random IR on the JIT and on the interpreter must leave the same state, memory, flags and budget
// and leave the unit the same way.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cstdlib>

#include "backend/interp/interp_backend.h"
#include "backend/x64/random_ir.h"
#include "backend/x64/test_machine.h"
#include "backend/x64/x64_backend.h"
#include "ir/printer.h"
#include "ir/verifier.h"

namespace panda::test {
namespace {

using ir::HelperDesc;
using ir::StateRange;
using ir::Type;

// --- helpers that translated code calls

constexpr uint32_t kI64Slots = slot_offset(Type::I64, 0);

uint64_t add_all(void*, uint32_t a, uint32_t b, uint32_t c, uint64_t d) noexcept { return a + b * 3ull + c * 5ull + d; }
uint32_t mix(void*, uint64_t a, uint64_t b, uint64_t c, uint64_t d) noexcept {
  return static_cast<uint32_t>(a ^ b * 3 ^ c * 7 ^ d * 11);
}
uint32_t narrow(void*, uint32_t a, uint32_t b) noexcept { return (a + b) & 0xffff; }
uint64_t read_slots(void* state) noexcept {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kSlots; i++) {
    uint64_t v;
    std::memcpy(&v, static_cast<uint8_t*>(state) + kI64Slots + i * 16, 8);
    sum = sum * 31 + v;
  }
  return sum;
}
void write_slot(void* state, uint64_t v) noexcept { std::memcpy(static_cast<uint8_t*>(state) + kI64Slots + 16, &v, 8); }
void may_leave(void* state, uint32_t a) noexcept {
  if (a % 8 == 3) VcpuContext::of(state).request(ExitRequest::Fault);
}
uint64_t charge(void* state) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  if (cpu.budget > 3) {
    cpu.budget--;
    cpu.count_limit--;
  }
  return cpu.completed();
}
uint32_t rounding(void* state, uint32_t mode) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  const uint32_t before = cpu.guest_mxcsr;
  cpu.guest_mxcsr = (before & ~0x6000u) | (mode & 3) << 13;
  return before;
}

template <typename F>
const void* address_of(F* f) {
  return reinterpret_cast<const void*>(f);
}

const HelperDesc kAddAll{"add_all",    address_of(add_all), Type::I64, {Type::I8, Type::I16, Type::I32, Type::I64},
                         ir::kNoState, ir::kNoState,        false,     true};
const HelperDesc kMix{"mix",        address_of(mix), Type::I32, {Type::I64, Type::I64, Type::I64, Type::I64},
                      ir::kNoState, ir::kNoState,    false,     false};
const HelperDesc kNarrow{"narrow",     address_of(narrow), Type::I16, {Type::I1, Type::I16},
                         ir::kNoState, ir::kNoState,       false,     false};
const HelperDesc kReadSlots{
    "read_slots", address_of(read_slots), Type::I64, {}, {kI64Slots, kI64Slots + kSlots * 16}, ir::kNoState, false,
    false};
const HelperDesc kWriteSlot{"write_slot", address_of(write_slot),           Type::Void, {Type::I64},
                            ir::kNoState, {kI64Slots + 16, kI64Slots + 24}, false,      false};
const HelperDesc kMayLeave{"may_leave", address_of(may_leave), Type::Void, {Type::I8}};
const HelperDesc kCharge{"charge", address_of(charge), Type::I64, {}, ir::kNoState, ir::kNoState, false, false, false,
                         true};
const HelperDesc kRounding{
    "rounding", address_of(rounding), Type::I32, {Type::I32}, ir::kNoState, ir::kNoState, false, false, true};

// --- comparing

constexpr uint32_t kNoLink = ~0u;

class Differential : public ::testing::TestWithParam<bool> {
 protected:
  static std::unique_ptr<exec::Backend> make_x64(bool all_features) {
    auto b =
        all_features ? x64::create_backend(size_t{64} << 20) : x64::create_backend(size_t{64} << 20, x64::Features{});
    PANDA_CHECK(b.has_value());
    return std::move(*b);
  }

  // Runs the unit on both from the state of `seed`; false after a failure.
  bool same(const ir::Unit& unit, uint64_t seed, uint32_t link_to_itself = kNoLink) {
    exec::TranslationUnit ours, reference, after_ours, after_reference;
    if (!jit_.backend().compile(unit, ours)) {
      jit_.backend().reset();
      PANDA_CHECK(jit_.backend().compile(unit, ours));
    }
    PANDA_CHECK(interp_.backend().compile(unit, reference));
    jit_.randomize(seed);
    interp_.randomize(seed);
    if (link_to_itself != kNoLink) {
      jit_.backend().link(ours, link_to_itself, ours, false);
      interp_.backend().link(reference, link_to_itself, reference, false);
      if (seed % 2 == 0) {
        const uint32_t other_exit = link_to_itself == 0 ? 1 : 0;
        ir::Unit leave;
        ir::Builder b(leave);
        leave.pc_offset = kPcOffset;
        b.begin_block();
        b.exit_dispatch();
        PANDA_CHECK(jit_.backend().compile(leave, after_ours));
        PANDA_CHECK(interp_.backend().compile(leave, after_reference));
        jit_.backend().link(ours, other_exit, after_ours, false);
        interp_.backend().link(reference, other_exit, after_reference, false);
      }
      jit_.cpu().budget = interp_.cpu().budget = static_cast<int64_t>(seed % 97);
    }
    const uint32_t mxcsr = _mm_getcsr();
    const exec::ExitInfo a = jit_.backend().run(jit_.cpu(), ours);
    EXPECT_EQ(_mm_getcsr() & ~0x3fu, mxcsr & ~0x3fu);  // all but the sticky flags
    const exec::ExitInfo b = interp_.backend().run(interp_.cpu(), reference);
    EXPECT_EQ(static_cast<int>(a.kind), static_cast<int>(b.kind));
    const bool has_unit = b.kind == exec::Exit::Direct || b.kind == exec::Exit::Budget || b.kind == exec::Exit::Request;
    if (has_unit) {
      EXPECT_EQ(a.unit, &ours);
      EXPECT_EQ(a.index, b.index);
    }
    for (uint32_t i = 0; i < kStateBytes; i++) {
      if (jit_.state()[i] != interp_.state()[i]) {
        ADD_FAILURE() << "state byte " << i << ": " << int{jit_.state()[i]} << ", not " << int{interp_.state()[i]};
        break;
      }
    }
    EXPECT_EQ(0, std::memcmp(jit_.ram().data(), interp_.ram().data(), jit_.ram().size())) << "RAM differs";
    EXPECT_EQ(jit_.cpu().budget, interp_.cpu().budget);
    EXPECT_EQ(jit_.walks(), interp_.walks()) << "page walks";
    // The interpreter's C++ compiler may run a 32-bit conversion beside a 64-bit one (intrinsics count
    // as pure), which raises Invalid too often: not compared where there is one.
    uint32_t flags = ~0u;
    for (const ir::Inst& in : unit.insts) {
      if (in.op == ir::Op::float_to_int || in.op == ir::Op::float_to_int_trunc) flags &= ~0x21u;
    }
    EXPECT_EQ(jit_.cpu().guest_mxcsr & flags, interp_.cpu().guest_mxcsr & flags);
    EXPECT_EQ(jit_.cpu().exit_request, interp_.cpu().exit_request);
    interp_.backend().release(reference);
    if (after_reference.code != nullptr) interp_.backend().release(after_reference);
    if (HasFailure()) ADD_FAILURE() << "seed " << seed << "\n" << ir::print(unit);
    return !HasFailure();
  }

  TestMachine jit_{make_x64(GetParam())};
  TestMachine interp_{std::make_unique<interp::InterpBackend>()};
};

void close(RandomIr& r, ir::Value v) {
  r.builder().set(slot_offset(v.type, 0), v);
  r.builder().exit_dispatch();
}

TEST_P(Differential, EveryOp) {
  for (unsigned i = 0; i < ir::kOpCount; i++) {
    const auto op = static_cast<ir::Op>(i);
    if (!RandomIr::is_plain(op)) continue;
    for (uint64_t seed = 0; seed < 120; seed++) {
      ir::Unit unit;
      RandomIr r(unit, seed * 1000 + i);
      unit.pc_offset = kPcOffset;
      r.builder().begin_block();
      close(r, r.emit(op));
      ASSERT_TRUE(ir::verify(unit).has_value()) << ir::print(unit);
      ASSERT_TRUE(same(unit, seed * 7919 + i)) << ir::info(op).name;
    }
  }
}

// Every value stays alive until the end, in both register files.
TEST_P(Differential, RegisterPressure) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    ir::Unit unit;
    RandomIr r(unit, seed);
    unit.pc_offset = kPcOffset;
    ir::Builder& b = r.builder();
    b.begin_block();
    const Type t = seed % 3 == 0 ? Type::V128 : seed % 3 == 1 ? Type::I64 : Type::I32;
    const ir::Op op = t == Type::V128 ? ir::Op::vadd_i32 : ir::Op::add;
    std::vector<ir::Value> v;
    for (uint32_t i = 0; i < kSlots; i++) v.push_back(b.get(t, slot_offset(t, i)));
    while (v.size() < 60) {
      v.push_back(b.binary(op, v[r.random(v.size())], v[r.random(v.size())]));
      if (v.size() % 16 == 0 && seed % 2 == 0) b.call(kMix, {b.i64(1), b.i64(2), b.i64(3), b.i64(4)});
      if (v.size() % 8 == 0) b.set(slot_offset(t, static_cast<uint32_t>(r.random(kSlots))), v[r.random(v.size())]);
    }
    ir::Value sum = v[0];
    for (size_t i = 1; i < v.size(); i++) sum = b.binary(t == Type::V128 ? ir::Op::vxor : ir::Op::xor_, sum, v[i]);
    close(r, sum);
    ASSERT_TRUE(same(unit, seed));
  }
}

TEST_P(Differential, RandomUnits) {
  const char* from = std::getenv("PANDA_TEST_SEED");
  const char* runs = std::getenv("PANDA_TEST_RUNS");
  const uint64_t first = from != nullptr ? std::strtoull(from, nullptr, 0) : 1;
  const uint64_t count = runs != nullptr ? std::strtoull(runs, nullptr, 0) : 3000;
  for (uint64_t seed = first; seed < first + count; seed++) {
    ir::Unit unit;
    RandomIr r(unit, seed);
    r.unit(1 + static_cast<unsigned>(r.random(4)), 4 + static_cast<unsigned>(r.random(60)),
           {&kAddAll, &kMix, &kNarrow, &kReadSlots, &kWriteSlot, &kMayLeave, &kCharge, &kRounding});
    const auto verified = ir::verify(unit);
    ASSERT_TRUE(verified.has_value()) << verified.error().message << "\n" << ir::print(unit);
    ASSERT_TRUE(same(unit, seed)) << "PANDA_TEST_SEED=" << seed;
  }
}

// Slots that are set again before they are read: what faults on the way must see what they held.
TEST_P(Differential, OverwrittenSlots) {
  for (uint64_t seed = 0; seed < 4000; seed++) {
    ir::Unit unit;
    RandomIr r(unit, seed);
    unit.pc_offset = kPcOffset;
    ir::Builder& b = r.builder();
    b.begin_block();
    b.insn(0x1000, 1);
    const auto slot = [&](Type t) { return slot_offset(t, static_cast<uint32_t>(r.random(2))); };
    constexpr ir::Op kOps[] = {ir::Op::add,    ir::Op::sub,     ir::Op::and_, ir::Op::xor_,  ir::Op::shl,
                               ir::Op::ror,    ir::Op::sar,     ir::Op::zext, ir::Op::trunc, ir::Op::icmp,
                               ir::Op::select, ir::Op::popcnt,  ir::Op::neg,  ir::Op::sext,  ir::Op::deposit,
                               ir::Op::mul,    ir::Op::extract, ir::Op::mulhu};
    for (unsigned i = 0; i < 40; i++) {
      switch (r.random(6)) {
        case 0: {
          // In the window, or beyond it where the access fails.
          const ir::Value at = b.add(b.konst(Type::I64, kRamBase + r.random(kRamWindow)),
                                     b.konst(Type::I64, r.random(12) == 0 ? uint64_t{1} << 40 : 0));
          if (r.random(2) == 0) {
            static_cast<void>(b.load(r.random(2) == 0 ? Type::I32 : Type::I64, at, ir::MemInfo{}));
          } else {
            b.store(at, r.operand(Type::I32), ir::MemInfo{});
          }
          break;
        }
        case 1: {
          const ir::Value v =
              b.call(kAddAll, {r.operand(Type::I8), r.operand(Type::I16), r.operand(Type::I32), r.operand(Type::I64)});
          b.set(slot(Type::I64), v);
          break;
        }
        default: {
          const ir::Value v = r.emit(kOps[r.random(std::size(kOps))]);
          b.set(slot(v.type), v);
          break;
        }
      }
    }
    b.exit_dispatch();
    const auto verified = ir::verify(unit);
    ASSERT_TRUE(verified.has_value()) << verified.error().message << "\n" << ir::print(unit);
    ASSERT_TRUE(same(unit, seed)) << seed;
  }
}

// Accesses at one base plus constants share a check: on ordinary pages, across their ends, on pages that
// are read-only, not mapped, devices or code, with bases that wrap, and with few registers left.
TEST_P(Differential, AccessGroups) {
  constexpr Type kAccessTypes[] = {Type::I8, Type::I16, Type::I32, Type::I64, Type::F32, Type::F64, Type::V128};
  for (uint64_t seed = 0; seed < 8000; seed++) {
    ir::Unit unit;
    RandomIr r(unit, seed);
    unit.pc_offset = kPcOffset;
    ir::Builder& b = r.builder();
    b.begin_block();
    b.insn(0x1000, 1);
    const uint64_t near = r.random(4);  // how the bases lie within their pages
    const auto random_base = [&]() -> uint64_t {
      if (r.random(40) == 0) return 0 - r.random(64);
      uint64_t base = (r.random(12) == 0 ? kRamAlias : kRamBase) + r.random(5) * kPageSize + r.random(kPageSize);
      if (near == 0) base = (base & kPageMask) + kPageSize - 1 - r.random(64);
      if (near == 1) base = (base & kPageMask) + 200;
      return base & 0xffffffff;
    };
    // Slots that act as base registers.
    constexpr uint32_t kBases = 3;
    for (uint32_t i = 0; i < kBases; i++) {
      b.set(slot_offset(Type::I64, i), b.i64(random_base()));
      b.set(slot_offset(Type::I32, i), b.konst(Type::I32, random_base() & 0xffffffff));
    }
    // What keeps the registers busy.
    std::vector<ir::Value> busy;
    for (uint32_t n = r.random(3) == 0 ? 12 : 0; n > 0; n--) {
      busy.push_back(b.add(b.get(Type::I64, slot_offset(Type::I64, 3 + n % 3)), b.i64(n)));
    }
    const uint64_t reach = uint64_t{1} << (3 + r.random(9));
    const uint8_t mode = static_cast<uint8_t>(r.random(2));
    for (uint64_t k = 4 + r.random(24); k > 0; k--) {
      const auto which = static_cast<uint32_t>(r.random(kBases));
      const Type word = r.random(2) == 0 ? Type::I32 : Type::I64;
      const uint32_t slot = slot_offset(word, which);
      const uint64_t what = r.random(24);
      if (what < 3) {  // the base moves, by a constant or to somewhere else
        const ir::Value base = b.get(word, slot);
        const ir::Value delta = b.konst(word, r.random(2) == 0 ? 4 : (0 - r.random(24)) & ir::mask_of(word));
        b.set(slot, r.random(4) == 0 ? b.konst(word, random_base() & ir::mask_of(word)) : b.add(base, delta));
        continue;
      }
      if (what == 3) {
        const ir::Value v = r.operand(Type::I64);
        if (r.random(2) == 0) {
          b.set(slot_offset(Type::I32, 5), b.call(kMix, {v, v, v, v}));
        } else {
          b.set(slot_offset(Type::I64, 5),
                b.call(kAddAll, {b.trunc(Type::I8, v), b.trunc(Type::I16, v), b.trunc(Type::I32, v), v}));
        }
        continue;
      }
      if (what == 4) {
        b.call(kWriteSlot, {b.i64(random_base())});
        continue;
      }
      ir::Value at = b.get(word, slot);
      if (r.random(6) == 0) {
        const ir::Value index = b.and_(b.get(word, slot_offset(word, 4)), b.konst(word, 15));
        at = b.add(at, b.shift(ir::Op::shl, index, b.i8(2)));
      }
      const uint64_t displacement = r.random(reach);
      if (r.random(4) != 0) {
        at = r.random(2) == 0 ? b.add(at, b.konst(word, displacement)) : b.sub(at, b.konst(word, displacement));
      }
      if (word == Type::I32) at = b.zext(Type::I64, at);
      const Type t = kAccessTypes[r.random(std::size(kAccessTypes))];
      ir::MemInfo info;
      info.mode = r.random(12) == 0 ? static_cast<uint8_t>(1 - mode) : mode;
      if (r.random(3) == 0) {
        b.store(at, r.random(3) == 0 && t != Type::V128 ? b.konst(t, r.random_bits(t)) : r.operand(t), info);
      } else {
        info.for_write = r.random(8) == 0;
        b.set(slot_offset(t, 3 + static_cast<uint32_t>(r.random(3))), b.load(t, at, info));
      }
    }
    ir::Value sum = b.i64(1);
    for (const ir::Value v : busy) sum = b.binary(ir::Op::xor_, b.binary(ir::Op::mul, sum, b.i64(3)), v);
    close(r, sum);
    const auto verified = ir::verify(unit);
    ASSERT_TRUE(verified.has_value()) << verified.error().message << "\n" << ir::print(unit);
    ASSERT_TRUE(same(unit, seed)) << seed;
  }
}

// A block that branches back to itself, linked or not, left by its other exit, the budget or a fault.
TEST_P(Differential, Loops) {
  for (uint64_t seed = 0; seed < 6000; seed++) {
    ir::Unit unit;
    RandomIr r(unit, seed);
    unit.pc_offset = kPcOffset;
    unit.pc_type = Type::I64;
    ir::Builder& b = r.builder();
    const bool region = seed % 3 == 0;  // one block with ways out, that goes back to itself
    for (unsigned i = 0; i < (region ? 1 : 3); i++) static_cast<void>(b.new_block());
    b.begin_block(0);
    const auto insns = static_cast<uint16_t>(1 + r.random(5));
    b.count(insns);
    constexpr ir::Op kOps[] = {ir::Op::add, ir::Op::sub,    ir::Op::and_,  ir::Op::xor_, ir::Op::shl,
                               ir::Op::ror, ir::Op::select, ir::Op::trunc, ir::Op::zext, ir::Op::mul};
    const uint64_t spread = 2 + r.random(kSlots - 2);
    const auto slot = [&](Type t) { return slot_offset(t, static_cast<uint32_t>(r.random(spread))); };
    const auto way_out = [&](Type t) {
      b.exit_if(b.icmp(static_cast<ir::Cond>(r.random(10)), b.get(t, slot(t)), r.operand(t)), 0x2000, r.random(2) == 0);
    };
    for (uint16_t k = 0; k < insns; k++) {
      if (region && k != 0 && r.random(2) == 0) way_out(Type::I32);
      b.insn(0x1000 + 4u * k, 4);
      unit.guest_insns.back().refund = static_cast<uint16_t>(insns - k);
      for (uint64_t n = 2 + r.random(8); n > 0; n--) {
        const Type word = r.random(2) == 0 ? Type::I32 : Type::I64;
        switch (r.random(8)) {
          case 0: {
            const ir::Value at = b.add(b.and_(b.get(Type::I64, slot(Type::I64)), b.i64(kRamWindow - 1)),
                                       b.i64(r.random(20) == 0 ? uint64_t{1} << 40 : kRamBase));
            if (r.random(2) == 0) {
              b.set(slot(word), b.load(word, at, ir::MemInfo{}));
            } else {
              b.store(at, b.get(word, slot(word)), ir::MemInfo{});
            }
            break;
          }
          case 1:
            b.set(slot(word), b.get(word, slot(word)));
            break;  // slots change places
          case 2:
            b.set(slot(word), b.konst(word, r.random_int() & ir::mask_of(word)));
            break;
          case 3:
            b.set(slot(Type::I64), b.call(kAddAll, {r.operand(Type::I8), r.operand(Type::I16), r.operand(Type::I32),
                                                    r.operand(Type::I64)}));
            break;
          default: {
            const ir::Value v = r.emit(kOps[r.random(std::size(kOps))]);
            b.set(slot(v.type), v);
            break;
          }
        }
      }
    }
    const Type t = r.random(2) == 0 ? Type::I32 : Type::I64;
    if (region) {
      way_out(t);
      b.exit_direct(0x1000);
      ASSERT_TRUE(ir::verify(unit).has_value()) << ir::print(unit);
      ASSERT_TRUE(same(unit, seed, seed % 4 == 0 ? kNoLink : unit.insts.back().aux)) << seed;
      continue;
    }
    const ir::Value more = b.icmp(static_cast<ir::Cond>(r.random(10)), b.get(t, slot(t)), r.operand(t));
    const bool if_true = r.random(2) == 0;
    b.brc(more, 1, 2);
    b.begin_block(1);
    b.exit_direct(if_true ? 0x1000 : 0x2000);
    b.begin_block(2);
    b.exit_direct(if_true ? 0x2000 : 0x1000);
    const auto verified = ir::verify(unit);
    ASSERT_TRUE(verified.has_value()) << verified.error().message << "\n" << ir::print(unit);
    const uint32_t link = seed % 4 == 0 ? kNoLink : unit.insts[unit.blocks[if_true ? 1 : 2].first].aux;
    ASSERT_TRUE(same(unit, seed, link)) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Hosts, Differential, ::testing::Values(true, false),
                         [](const auto& param) { return param.param ? "AllFeatures" : "Sse42Only"; });

}  // namespace
}  // namespace panda::test
