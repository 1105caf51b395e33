// The ways in and out of a unit: links, the jump cache, budget, requests, exact counts.
#include "backend/interp/interp_backend.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "backend/interp/step.h"
#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "ir/verifier.h"
#include "memory/vcpu_context.h"

namespace panda::interp {
namespace {

using exec::Exit;
using ir::Type;

constexpr uint32_t kPc = 64;

struct Storage {
  VcpuContext context;
  uint8_t state[256] = {};
};

class InterpTest : public testing::Test {
 protected:
  InterpTest() : jump_cache_(empty_jumps()) {
    cpu().jump_cache = jump_cache_.data();
    cpu().budget = 1000;
    cpu().count_limit = 5000;
  }

  VcpuContext& cpu() { return storage_->context; }
  uint64_t slot(size_t offset) const {
    uint64_t v = 0;
    std::memcpy(&v, storage_->state + offset, 8);
    return v;
  }

  // Two instructions that add `step` to slot 0 each, then `end`.
  std::unique_ptr<exec::TranslationUnit> adder(uint64_t pc, uint64_t step,
                                               const std::function<void(ir::Builder&)>& end) {
    ir::Unit unit;
    unit.pc_offset = kPc;
    ir::Builder b(unit);
    b.begin_block();
    b.count(2);
    for (uint64_t i = 0; i < 2; i++) {
      b.insn(pc + 4 * i, 4);
      b.set(0, b.add(b.get(Type::I64, 0), b.i64(step)));
    }
    end(b);
    unit.guest_insns[0].refund = 2;
    unit.guest_insns[1].refund = 1;
    return compile(unit);
  }

  std::unique_ptr<exec::TranslationUnit> compile(const ir::Unit& unit) {
    const Status status = ir::verify(unit);
    EXPECT_TRUE(status.has_value()) << status.error().message;
    auto compiled = std::make_unique<exec::TranslationUnit>();
    EXPECT_TRUE(backend_.compile(unit, *compiled));
    return compiled;
  }

  InterpBackend backend_;
  std::unique_ptr<Storage> storage_ = std::make_unique<Storage>();
  std::vector<JumpCacheEntry> jump_cache_;
};

TEST_F(InterpTest, DirectExitsLeaveUntilLinked) {
  auto one = adder(0x1000, 1, [](ir::Builder& b) { b.exit_direct(0x2000); });
  auto two = adder(0x2000, 10, [](ir::Builder& b) { b.exit_direct(0x3000); });
  exec::ExitInfo exit = backend_.run(cpu(), *one);
  EXPECT_EQ(exit.kind, Exit::Direct);
  EXPECT_EQ(exit.unit, one.get());
  EXPECT_EQ(slot(kPc), 0x2000u);
  EXPECT_EQ(slot(0), 2u);
  EXPECT_EQ(cpu().budget, 998);

  backend_.link(*one, 0, *two, false);
  exit = backend_.run(cpu(), *one);
  EXPECT_EQ(exit.unit, two.get());
  EXPECT_EQ(slot(kPc), 0x3000u);
  EXPECT_EQ(slot(0), 24u);

  backend_.unlink(*one, 0);
  EXPECT_EQ(backend_.run(cpu(), *one).unit, one.get());
}

TEST_F(InterpTest, IndirectExitsNeedThePcInTheJumpCache) {
  auto one = adder(0x1000, 1, [](ir::Builder& b) { b.exit_indirect(b.i64(0x2000)); });
  auto two = adder(0x2000, 10, [](ir::Builder& b) { b.exit_dispatch(); });
  EXPECT_EQ(backend_.run(cpu(), *one).kind, Exit::Indirect);
  EXPECT_EQ(slot(kPc), 0x2000u);
  JumpCacheEntry& entry = jump_cache_[jump_cache_index(0x2000)];
  entry = {0x2001, two->code};
  EXPECT_EQ(backend_.run(cpu(), *one).kind, Exit::Indirect);
  entry.pc = 0x2000;
  EXPECT_EQ(backend_.run(cpu(), *one).kind, Exit::Dispatch);
  EXPECT_EQ(slot(0), 26u);
}

TEST_F(InterpTest, BudgetThatDoesNotSufficeIsLeftAlone) {
  auto one = adder(0x1000, 1, [](ir::Builder& b) { b.exit_direct(0x1000); });
  backend_.link(*one, 0, *one, false);
  cpu().budget = 7;
  const exec::ExitInfo exit = backend_.run(cpu(), *one);
  EXPECT_EQ(exit.kind, Exit::Budget);
  EXPECT_EQ(exit.index, 0u);
  EXPECT_EQ(cpu().budget, 1);
  EXPECT_EQ(slot(0), 6u);
}

void leaves(void* state) noexcept { VcpuContext::of(state).request(ExitRequest::Fault); }
const ir::HelperDesc kLeaves{.name = "leaves", .function = reinterpret_cast<const void*>(&leaves)};

TEST_F(InterpTest, RequestNamesTheInstructionAndKeepsItsSets) {
  auto one = adder(0x1000, 1, [](ir::Builder& b) {
    b.set(8, b.i64(77));
    b.call(kLeaves);
    b.set(8, b.i64(88));
    b.exit_dispatch();
  });
  const exec::ExitInfo exit = backend_.run(cpu(), *one);
  EXPECT_EQ(exit.kind, Exit::Request);
  EXPECT_EQ(exit.index, 1u);
  EXPECT_EQ(slot(8), 77u);
  EXPECT_EQ(cpu().budget, 998);  // refunded by the engine
}

TEST_F(InterpTest, InsnCountIsThatOfTheCurrentInstruction) {
  auto one = adder(0x1000, 1, [](ir::Builder& b) {
    b.set(8, b.emit(ir::Op::insn_count, Type::I64, {}));
    b.exit_dispatch();
  });
  cpu().budget = 10;
  cpu().count_limit = 110;  // 100 are complete
  backend_.run(cpu(), *one);
  EXPECT_EQ(slot(8), 101u);
}

TEST_F(InterpTest, FloatsRunUnderTheGuestsRoundingAndLeaveItsFlags) {
  ir::Unit unit;
  unit.pc_offset = kPc;
  ir::Builder b(unit);
  b.begin_block();
  b.set(8, b.binary(ir::Op::fdiv, b.konst(Type::F64, 0x3ff0000000000000), b.konst(Type::F64, 0x4008000000000000)));
  b.exit_dispatch();
  auto one = compile(unit);
  const uint32_t host = _mm_getcsr();
  cpu().host_mxcsr = host;
  cpu().guest_mxcsr = 0x1f80;
  backend_.run(cpu(), *one);
  const uint64_t nearest = slot(8);
  EXPECT_EQ(cpu().guest_mxcsr, 0x1fa0u);  // inexact
  cpu().guest_mxcsr = 0x5f80;             // upwards
  backend_.run(cpu(), *one);
  EXPECT_EQ(slot(8), nearest + 1);
  EXPECT_EQ(cpu().guest_mxcsr, 0x5fa0u);
  EXPECT_EQ(_mm_getcsr(), host);
}

TEST_F(InterpTest, SaysWhenItIsFull) {
  InterpBackend small(12 * sizeof(Step));
  ir::Unit unit;
  ir::Builder b(unit);
  b.begin_block();
  for (uint32_t i = 0; i < 6; i++) b.set(8 * i + 8, b.get(Type::I64, 0));
  b.exit_dispatch();
  exec::TranslationUnit one;
  EXPECT_FALSE(small.compile(unit, one));
  EXPECT_EQ(small.in_the_way(), nullptr) << "it will never fit";
  InterpBackend enough(13 * sizeof(Step));
  exec::TranslationUnit two;
  EXPECT_TRUE(enough.compile(unit, one));
  EXPECT_FALSE(enough.compile(unit, two));
  EXPECT_EQ(enough.in_the_way(), &one);
  enough.release(one);
  EXPECT_TRUE(enough.compile(unit, two));
}

}  // namespace
}  // namespace panda::interp
