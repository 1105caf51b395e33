// Random F80 ops on the JIT, where values stay on the host's x87 stack, and on the interpreter, which
// runs one op at a time from memory: slots, status word and RAM must come out alike, also where an access
// faults or misses the soft TLB in the middle, a helper is called, or more values are alive than fit.
#include <gtest/gtest.h>

#include "backend/interp/interp_backend.h"
#include "backend/x64/random_ir.h"
#include "backend/x64/test_machine.h"
#include "backend/x64/x64_backend.h"
#include "ir/printer.h"
#include "ir/verifier.h"

namespace panda::test {
namespace {

using ir::F80Format;
using ir::Op;
using ir::Type;
using ir::Value;

constexpr uint32_t kControl = 1000, kStatus = 1002;
static_assert(slot_offset(Type::F80, kSlots) <= kControl && kStatus + 2 <= kStateBytes);

void nothing(void*) noexcept {}
void change_slot(void* state) noexcept { static_cast<uint8_t*>(state)[slot_offset(Type::F80, 1)] ^= 0x40; }
const ir::HelperDesc kNothing{.name = "nothing",
                              .function = reinterpret_cast<const void*>(&nothing),
                              .result = Type::Void,
                              .params = {},
                              .reads = ir::kNoState,
                              .writes = ir::kNoState,
                              .may_exit = false};
const ir::HelperDesc kChangeSlot{
    .name = "change_slot", .function = reinterpret_cast<const void*>(&change_slot), .result = Type::Void, .params = {}};
void stop(void* state, uint64_t pc) noexcept {
  VcpuContext::of(state).request(pc == 0x1000 ? ExitRequest::Fault : ExitRequest::Dispatch);
}

class RandomF80 {
 public:
  RandomF80(ir::Unit& unit, uint64_t seed) : r_(unit, seed), b_(r_.builder()) {
    unit.pc_offset = kPcOffset;
    unit.f80_control = kControl;
    unit.f80_status = kStatus;
  }

  void block(unsigned ops) {
    b_.begin_block();
    b_.insn(0x1000, 1);
    for (unsigned i = 0; i < ops; i++) op();
    b_.exit_dispatch();
  }

 private:
  [[nodiscard]] uint32_t slot() { return slot_offset(Type::F80, static_cast<uint32_t>(r_.random(kSlots))); }
  Value value() {
    if (values_.empty() || r_.random(3) == 0) return keep(b_.get(Type::F80, slot()));
    const size_t n = values_.size();
    return values_[n - 1 - r_.random(r_.random(4) == 0 ? n : std::min<size_t>(n, 3))];
  }
  Value keep(Value v) {
    values_.push_back(v);
    return v;
  }
  // Now and then beyond the window, where the access faults.
  Value address() {
    return b_.add(b_.i64(kRamBase + r_.random(kRamWindow)), b_.i64(r_.random(60) == 0 ? uint64_t{1} << 40 : 0));
  }
  // As translated guest code does, most results go to a slot at once.
  void result(Value v) {
    keep(v);
    if (r_.random(4) != 0) b_.set(slot(), v);
  }
  void op() {
    constexpr Op kBinary[] = {Op::f80_add, Op::f80_sub, Op::f80_mul, Op::f80_div};
    constexpr Op kUnary[] = {Op::f80_neg, Op::f80_abs, Op::f80_sqrt, Op::f80_round};
    constexpr Op kMemory[] = {Op::f80_add_load, Op::f80_sub_load, Op::f80_subr_load,
                              Op::f80_mul_load, Op::f80_div_load, Op::f80_divr_load};
    constexpr F80Format kOperands[] = {F80Format::F32, F80Format::F64, F80Format::I16, F80Format::I32};
    const auto format = static_cast<uint32_t>(kOperands[r_.random(4)]);
    const uint32_t i32 = slot_offset(Type::I32, static_cast<uint32_t>(r_.random(kSlots)));
    const uint32_t i16 = slot_offset(Type::I16, static_cast<uint32_t>(r_.random(kSlots)));
    switch (r_.random(20)) {
      case 0:
        return result(b_.emit(Op::f80_load, Type::F80, {address()}, 0, static_cast<uint32_t>(r_.random(6))));
      case 1:
      case 2:
        b_.emit(Op::f80_store, Type::Void, {address(), value()}, 0, static_cast<uint32_t>(r_.random(ir::kF80Formats)));
        return;
      case 3:
        return result(b_.emit(kMemory[r_.random(6)], Type::F80, {value(), address()}, 0, format));
      case 4:
        b_.emit(Op::f80_com_load, Type::Void, {value(), address()}, 0, format);
        return;
      case 5:
        return result(b_.emit(kUnary[r_.random(4)], Type::F80, {value()}));
      case 6:
        return result(b_.emit(Op::f80_const, Type::F80, {}, r_.random(7)));
      case 7:
        b_.emit(r_.random(2) != 0 ? Op::f80_com : Op::f80_ucom, Type::Void, {value(), value()});
        return;
      case 8:
        b_.emit(r_.random(2) != 0 ? Op::f80_tst : Op::f80_xam, Type::Void, {value()});
        return;
      case 9: {
        const Value a = value();
        b_.set(i32, b_.emit(r_.random(2) != 0 ? Op::f80_comi : Op::f80_ucomi, Type::I32, {a, value()}));
        return;
      }
      case 10:
        b_.emit(Op::f80_clear_c1, Type::Void, {});
        return;
      case 11:
        b_.set(i16, b_.emit(r_.random(3) != 0 ? Op::f80_status : Op::f80_control, Type::I16, {}));
        return;
      case 12:
        if (r_.random(3) == 0) b_.emit(Op::f80_set_control, Type::Void, {b_.konst(Type::I16, control())});
        return;
      case 13: {
        const Value a = b_.get(Type::F80, slot()), c = b_.get(Type::F80, slot());
        b_.set(slot(), a);
        b_.set(slot(), c);
        return;
      }
      case 14:
        if (r_.random(3) == 0)
          b_.call(r_.random(2) == 0 ? kNothing : kChangeSlot);
        else
          static_cast<void>(b_.load(Type::I32, address(), {}));
        return;
      case 15:
        if (r_.random(3) == 0) {
          const Value a = b_.get(Type::I32, i32);
          b_.emit(Op::guard, Type::Void, {a, r_.random(8) != 0 ? a : b_.i32(r_.random_int())},
                  reinterpret_cast<uint64_t>(static_cast<ir::GuardFailed>(&stop)));
        }
        return;
      default: {
        const Value a = value();
        return result(b_.emit(kBinary[r_.random(4)], Type::F80, {a, value()}));
      }
    }
  }

 public:
  [[nodiscard]] uint16_t control() {
    constexpr uint16_t kPrecisions[] = {0x300, 0x300, 0x200, 0};
    return static_cast<uint16_t>(0x7f | kPrecisions[r_.random(4)] | r_.random(2) * r_.random(4) << 10);
  }

 private:
  RandomIr r_;
  ir::Builder& b_;
  std::vector<Value> values_;
};

class F80Test : public ::testing::Test {
 protected:
  static std::unique_ptr<exec::Backend> make_x64() {
    auto b = x64::create_backend(size_t{64} << 20);
    PANDA_CHECK(b.has_value());
    return std::move(*b);
  }

  static void randomize(TestMachine& m, uint64_t seed) {
    m.randomize(seed);
    ir::Unit none;
    RandomF80 r(none, seed);
    RandomIr bits(none, seed * 31);
    m.set_slot<uint16_t>(kControl, r.control());
    m.set_slot<uint16_t>(kStatus, static_cast<uint16_t>(bits.random_int() & 0x477f));
    for (uint32_t i = 0; i < kSlots; i++) {
      const uint16_t exponents[] = {0x3fff, 0x4000, 0xbffe, 0x403e, 0, 0x7fff, 0x3c00, 1};
      const uint64_t significand = bits.random_int();
      m.set_slot<uint64_t>(slot_offset(Type::F80, i),
                           bits.random(8) != 0 ? significand | uint64_t{1} << 63 : significand);
      m.set_slot<uint16_t>(slot_offset(Type::F80, i) + 8,
                           bits.random(3) == 0 ? static_cast<uint16_t>(bits.random_int()) : exponents[bits.random(8)]);
    }
  }

  static uint16_t host_control() {
    uint16_t v;
    __asm__ volatile("fnstcw %0" : "=m"(v));
    return v;
  }
  // The tag word: all ones where the host's stack is empty.
  static uint16_t host_tags() {
    struct {
      uint32_t words[7];
    } environment;
    __asm__ volatile("fnstenv %0\n fldenv %0" : "+m"(environment));
    return static_cast<uint16_t>(environment.words[2]);
  }

  TestMachine jit_{make_x64()};
  TestMachine interp_{std::make_unique<interp::InterpBackend>()};
};

TEST_F(F80Test, BothBackEndsAgree) {
  for (uint64_t seed = 1; seed <= 4000; seed++) {
    ir::Unit unit;
    RandomF80 r(unit, seed);
    r.block(3 + static_cast<unsigned>(seed % 40));
    const auto verified = ir::verify(unit);
    ASSERT_TRUE(verified.has_value()) << verified.error().message << "\n" << ir::print(unit);
    exec::TranslationUnit ours, reference;
    for (exec::TranslationUnit* t : {&ours, &reference}) t->insns = unit.guest_insns;
    if (!jit_.backend().compile(unit, ours)) {
      jit_.backend().reset();
      ASSERT_TRUE(jit_.backend().compile(unit, ours));
    }
    ASSERT_TRUE(interp_.backend().compile(unit, reference));
    randomize(jit_, seed);
    randomize(interp_, seed);

    if (seed % 5 == 0)
      __asm__ volatile("fld1\n fldpi\n fdivrp\n fstp %%st(0)" ::: "st");  // a flag that is not the guest's
    const exec::ExitInfo a = jit_.backend().run(jit_.cpu(), ours);
    EXPECT_EQ(host_control(), 0x37f);
    EXPECT_EQ(host_tags(), 0xffff);
    const exec::ExitInfo b = interp_.backend().run(interp_.cpu(), reference);
    EXPECT_EQ(static_cast<int>(a.kind), static_cast<int>(b.kind));
    EXPECT_EQ(jit_.cpu().exit_request, interp_.cpu().exit_request);
    for (uint32_t i = 0; i < kStateBytes; i++) {
      if (jit_.state()[i] == interp_.state()[i]) continue;
      ADD_FAILURE() << "state byte " << i << ": " << int{jit_.state()[i]} << ", not " << int{interp_.state()[i]};
      break;
    }
    EXPECT_EQ(0, std::memcmp(jit_.ram().data(), interp_.ram().data(), jit_.ram().size())) << "RAM differs";
    interp_.backend().release(reference);
    ASSERT_FALSE(HasFailure()) << "seed " << seed << "\n" << ir::print(unit);
  }
}

}  // namespace
}  // namespace panda::test
