// The allocator's checker has nothing to say of the allocator, and notices when what it is told is
// changed: a wrong register, a move or a store left out, a spill slot mixed up.
#include "backend/x64/alloc_checker.h"

#include <gtest/gtest.h>

#include <map>
#include <variant>

#include "backend/x64/lower.h"
#include "backend/x64/random_ir.h"
#include "ir/printer.h"

namespace panda::x64 {
namespace {

uint64_t sum(void*, uint64_t a, uint64_t b) noexcept { return a + b; }
void look(void*) noexcept {}

const ir::HelperDesc kPure{.name = "sum",
                           .function = reinterpret_cast<const void*>(&sum),
                           .result = ir::Type::I64,
                           .params = {ir::Type::I64, ir::Type::I64},
                           .reads = ir::kNoState,
                           .writes = ir::kNoState,
                           .may_exit = false,
                           .pure = true};
const ir::HelperDesc kLooks{.name = "look", .function = reinterpret_cast<const void*>(&look)};

class Recording final : public AllocListener {
 public:
  using Told = std::variant<AllocEvent, std::vector<SlowBinding>>;
  void begin_unit(const ir::Unit& unit) override { unit_ = &unit; }
  void event(const AllocEvent& e) override { told.emplace_back(e); }
  void slow_path(std::span<const SlowBinding> b) override { told.emplace_back(std::vector(b.begin(), b.end())); }
  // What the checker makes of it, the event at `without` left out.
  [[nodiscard]] std::string problem(size_t without = ~size_t{0}) const {
    AllocChecker checker;
    checker.begin_unit(*unit_);
    for (size_t i = 0; i < told.size(); i++) {
      if (i == without) continue;
      if (const auto* e = std::get_if<AllocEvent>(&told[i])) {
        checker.event(*e);
      } else {
        checker.slow_path(std::get<std::vector<SlowBinding>>(told[i]));
      }
    }
    checker.finish();
    return checker.problem();
  }
  std::vector<Told> told;

 private:
  const ir::Unit* unit_ = nullptr;
};

class AllocCheckerTest : public testing::Test {
 protected:
  AllocCheckerTest() : code_(size_t{1} << 20), asm_(code_.size(), code_.data(), Features{}), lowering_(asm_, thunks_) {}

  // A random unit's allocation.
  Recording record(uint64_t seed) {
    unit_.clear();
    test::RandomIr random(unit_, seed);
    unit_.pc_offset = test::kPcOffset;
    random.unit(1 + static_cast<unsigned>(random.random(3)), 30 + static_cast<unsigned>(random.random(60)),
                {&kPure, &kLooks});
    return lower();
  }
  // A region's: one block that goes back to itself, with slots that it carries in registers.
  Recording record_loop(uint64_t seed) {
    using ir::Type;
    unit_.clear();
    test::RandomIr r(unit_, seed);
    unit_.pc_offset = test::kPcOffset;
    unit_.pc_type = Type::I64;
    ir::Builder& b = r.builder();
    static_cast<void>(b.new_block());
    b.begin_block(0);
    b.count(2);
    const auto slot = [&](Type t) { return test::slot_offset(t, static_cast<uint32_t>(r.random(test::kSlots))); };
    for (uint16_t k = 0; k < 2; k++) {
      b.insn(0x1000 + 4u * k, 4);
      unit_.guest_insns.back().refund = static_cast<uint16_t>(2 - k);
      for (uint64_t n = 4 + r.random(20); n > 0; n--) {
        const Type word = r.random(2) == 0 ? Type::I32 : Type::I64;
        const uint64_t what = r.random(6);
        if (what == 0) {
          b.set(slot(word), b.konst(word, r.random_int() & ir::mask_of(word)));
        } else if (what < 3) {
          b.set(slot(word), b.get(word, slot(word)));  // slots change places
        } else if (what == 3) {
          b.exit_if(b.icmp(ir::Cond::Ult, b.get(word, slot(word)), r.operand(word)), 0x2000, r.random(2) == 0);
        } else {
          const ir::Value v = r.emit(what == 4 ? ir::Op::add : ir::Op::xor_);
          b.set(slot(v.type), v);
        }
      }
    }
    b.exit_direct(0x1000);
    return lower();
  }
  Recording lower() {
    Recording recording;
    asm_.setSize(0);
    lowering_.set_listener(&recording);
    exec::TranslationUnit handle;
    lowering_.run(unit_, handle);
    lowering_.set_listener(nullptr);
    return recording;
  }

  struct Found {
    unsigned made = 0, found = 0;
    [[nodiscard]] double rate() const { return made == 0 ? 0 : static_cast<double>(found) / made; }
  };
  // Changes one event of `kind` in each of many units by `change`; leaves it out where there is none.
  Found corrupt(AllocEvent::Kind kind, void (*change)(AllocEvent&), bool loops = false) {
    Found result;
    for (uint64_t seed = 0; seed < 400; seed++) {
      Recording r = loops ? record_loop(seed) : record(seed);
      std::vector<size_t> places;
      for (size_t i = 0; i < r.told.size(); i++) {
        const auto* e = std::get_if<AllocEvent>(&r.told[i]);
        if (e != nullptr && e->kind == kind) places.push_back(i);
      }
      if (places.empty()) continue;
      const size_t at = places[seed * 7919 % places.size()];
      result.made++;
      if (change != nullptr) change(std::get<AllocEvent>(r.told[at]));
      result.found += r.problem(change == nullptr ? at : ~size_t{0}).empty() ? 0 : 1;
    }
    return result;
  }

  std::vector<uint8_t> code_;
  Assembler asm_;
  Thunks thunks_;
  Lowering lowering_;
  ir::Unit unit_;
};

TEST_F(AllocCheckerTest, HasNothingToSayOfTheAllocator) {
  size_t events = 0, spills = 0, slow = 0;
  for (uint64_t seed = 0; seed < 3000; seed++) {
    const Recording r = record(seed);
    ASSERT_EQ(r.problem(), "") << "seed " << seed << "\n" << ir::print(unit_);
    events += r.told.size();
    for (const auto& t : r.told) {
      const auto* e = std::get_if<AllocEvent>(&t);
      spills += e != nullptr && e->kind == AllocEvent::LoadSpill ? 1 : 0;
      slow += e == nullptr ? 1 : 0;
    }
  }
  EXPECT_GT(events, 100'000u);
  EXPECT_GT(spills, 100u) << "the units must be large enough to spill";
  EXPECT_GT(slow, 1000u);
}

TEST_F(AllocCheckerTest, HasNothingToSayOfLoops) {
  std::map<AllocEvent::Kind, unsigned> seen;
  for (uint64_t seed = 0; seed < 3000; seed++) {
    const Recording r = record_loop(seed);
    ASSERT_EQ(r.problem(), "") << "seed " << seed << "\n" << ir::print(unit_);
    for (const auto& t : r.told) {
      if (const auto* e = std::get_if<AllocEvent>(&t)) seen[e->kind]++;
    }
  }
  EXPECT_EQ(seen[AllocEvent::LoopHead], 3000u);
  EXPECT_EQ(seen[AllocEvent::LoopBack], 3000u);
  for (const auto kind : {AllocEvent::Carry, AllocEvent::Copy, AllocEvent::Exchange, AllocEvent::LoadCarried}) {
    EXPECT_GT(seen[kind], 20u) << unsigned{kind};
  }
}

TEST_F(AllocCheckerTest, FindsWhatIsWrongInLoops) {
  EXPECT_GT(corrupt(AllocEvent::Use, [](AllocEvent& e) { e.reg ^= 1; }, true).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::Carry, [](AllocEvent& e) { e.reg ^= 1; }, true).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::Exchange, nullptr, true).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::LoadCarried, nullptr, true).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::StoreSlot, nullptr, true).rate(), 0.8);
}

// A change may not matter: another register can hold the same value, or nobody looks again.
TEST_F(AllocCheckerTest, FindsAWrongRegister) {
  EXPECT_GT(corrupt(AllocEvent::Use, [](AllocEvent& e) { e.reg ^= 1; }).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::Take, [](AllocEvent& e) { e.reg ^= 2; }).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::StoreSlot, [](AllocEvent& e) { e.reg = e.reg < 0 ? int8_t{3} : e.reg ^ 1; }).rate(),
            0.9);
}

TEST_F(AllocCheckerTest, FindsAWrongPlace) {
  EXPECT_GT(corrupt(AllocEvent::LoadSpill, [](AllocEvent& e) { e.place ^= 1; }).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::LoadSlot, [](AllocEvent& e) { e.place += 16; }).rate(), 0.9);
  EXPECT_GT(corrupt(AllocEvent::StoreSlot, [](AllocEvent& e) { e.place += 16; }).rate(), 0.9);
}

TEST_F(AllocCheckerTest, FindsWhatWasLeftOut) {
  EXPECT_GT(corrupt(AllocEvent::StoreSlot, nullptr).rate(), 0.8);
  EXPECT_GT(corrupt(AllocEvent::Define, nullptr).rate(), 0.7);
  EXPECT_GT(corrupt(AllocEvent::Spill, nullptr).rate(), 0.5);
}

TEST_F(AllocCheckerTest, FindsAStoreThatTheSlowPathIsNotTold) {
  unsigned made = 0, found = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    Recording r = record(seed);
    for (auto& t : r.told) {
      auto* bindings = std::get_if<std::vector<SlowBinding>>(&t);
      if (bindings == nullptr || bindings->empty()) continue;
      bindings->pop_back();
      made++;
      found += r.problem().empty() ? 0 : 1;
      break;
    }
  }
  EXPECT_GT(made, 50u);
  // A slot may be told though it holds the value already.
  EXPECT_GT(found, made * 95 / 100);
}

}  // namespace
}  // namespace panda::x64
