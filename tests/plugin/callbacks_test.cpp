// What callbacks promise, with functions of this program registered by hand: each event once and in order, whatever
// cuts a block; what is called directly and what is not alike; registrations changed from inside; counters; and
// that nothing a callback computes reaches the guest.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cmath>

#include "plugin/plugin_host.h"
#include "random_program.h"
#include "toy_machine.h"
#include "toy_target.h"

namespace panda::plugin {
namespace {

using toy::Assembler;
using toy::Insn;

#define KEEP __attribute__((noipa))
#ifdef __SANITIZE_ADDRESS__
constexpr bool kDirect = false;  // the sanitizer's checks call out
#else
constexpr bool kDirect = true;
#endif

class CallbacksTest : public testing::TestWithParam<toy::BackendFactory> {
 public:
  void start(const std::vector<uint8_t>& program, std::vector<uint64_t> interrupts = {}) {
    host_.reset();
    machine_ = std::make_unique<toy::Machine>(GetParam(), program, std::move(interrupts));
    auto host = create_toy_host(*machine_);
    ASSERT_TRUE(host.has_value());
    host_ = std::move(*host);
    plugin_.name = "test";
    self_ = this;
    log_.clear();
  }
  void TearDown() override {
    registry().remove_all(&plugin_);
    host_.reset();
  }
  CallbackRegistry& registry() { return host_->registry(); }
  uint64_t count() { return machine_->engine->count().value; }

  template <typename F>
  void on(unsigned type, F* function) {
    registry().add(type, {.plugin = &plugin_, .function = reinterpret_cast<void*>(function)});
  }
  template <typename F>
  void on(unsigned type, F* function, void* context) {
    registry().add(
        type,
        {.plugin = &plugin_, .function = reinterpret_cast<void*>(function), .context = context, .with_context = true});
  }
  template <typename F>
  void enable(unsigned type, F* function, bool yes) {
    ASSERT_TRUE(registry().set_enabled(type, &plugin_, reinterpret_cast<void*>(function), nullptr, false, yes));
  }
  // Adds up n … 1 in r0: a block of four, n - 2 of three instructions, and the halt.
  static std::vector<uint8_t> loop(uint32_t n) {
    Assembler a;
    a.emit(Insn::li, 1, 0, n);
    const uint32_t top = a.here();
    a.emit(Insn::add, 0, 0, 1);
    a.emit(Insn::addi, 1, 1, 0xffff);
    a.branch(Insn::bne, 1, 2, top);
    a.emit(Insn::halt);
    return a.bytes();
  }

  static CallbacksTest* self_;
  std::unique_ptr<toy::Machine> machine_;
  std::unique_ptr<PluginHost> host_;
  Plugin plugin_;
  std::string log_;
};
CallbacksTest* CallbacksTest::self_ = nullptr;

// ---- order

struct Order {
  static void say(const std::string& what) { CallbacksTest::self_->log_ += what + " "; }
  static void translate(void*, uint64_t) { say("t"); }
  static void translated(void*, TranslationBlock* tb) { say("T" + std::to_string(tb->icount)); }
  static void codegen(void*, TranslationBlock*) { say("c"); }
  static bool invalidate(void*, TranslationBlock*) { return say("v"), false; }
  static void before(void*, TranslationBlock*) { say("b"); }
  static void start_block(void*, TranslationBlock*) { say("s"); }
  static void after(void*, TranslationBlock*, uint8_t how) { say("a" + std::to_string(how)); }
  static void end_block(void*, TranslationBlock*) { say("e"); }
  static bool ask(void*, uint64_t) { return say("?"), true; }
  static bool ask_after(void*, uint64_t) { return say("!"), true; }
  static int insn(void*, uint64_t pc) { return say("i" + std::to_string(pc)), 0; }
  static int insn_after(void*, uint64_t pc) { return say("d" + std::to_string(pc)), 0; }
};

TEST_P(CallbacksTest, ComeInTheDocumentedOrder) {
  start(loop(2));
  on(PANDA_CB_BEFORE_BLOCK_TRANSLATE, &Order::translate);
  on(PANDA_CB_AFTER_BLOCK_TRANSLATE, &Order::translated);
  on(PANDA_CB_BEFORE_TCG_CODEGEN, &Order::codegen);
  on(PANDA_CB_AFTER_BLOCK_EXEC, &Order::after);
  on(PANDA_CB_END_BLOCK_EXEC, &Order::end_block);
  on(PANDA_CB_START_BLOCK_EXEC, &Order::start_block);
  on(PANDA_CB_BEFORE_BLOCK_EXEC, &Order::before);
  on(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, &Order::invalidate);
  on(PANDA_CB_INSN_TRANSLATE, &Order::ask);
  on(PANDA_CB_INSN_EXEC, &Order::insn);
  on(PANDA_CB_AFTER_INSN_TRANSLATE, &Order::ask_after);
  on(PANDA_CB_AFTER_INSN_EXEC, &Order::insn_after);
  machine_->run(1000);
  EXPECT_EQ(log_,
            "t ? ! ? ! ? ! ? ! c T4 v b s i0 d0 i4 d4 i8 d8 i12 d12 e a0 "
            "t ? ! ? ! ? ! c T3 v b s i4 d4 i8 d8 i12 d12 e a0 "
            "t ? ! c T1 v b s i16 d16 e a0 ");
}

// ---- called directly, and not

struct Direct {
  static inline uint64_t blocks, icount, pc_sum, count_sum, register_sum;
  static inline uint64_t ends, how_sum;
  KEEP static void before(const toy::State* s, TranslationBlock* tb) {
    blocks++;
    icount += tb->icount;
    pc_sum += tb->pc + s->plugin_view.pc + s->pc;
    count_sum += s->plugin_view.count;
    register_sum += s->regs[0] + s->regs[1] * 3;
  }
  KEEP static void after(const toy::State* s, TranslationBlock* tb, uint8_t how) {
    ends++;
    how_sum += how;
    pc_sum += tb->pc + s->plugin_view.pc;
    count_sum += s->plugin_view.count;
    register_sum += s->regs[0] + s->regs[1] * 3;
  }
  KEEP static int insn(const toy::State* s, uint64_t pc) {
    pc_sum += pc * 5 + s->plugin_view.pc + s->pc;
    count_sum += s->plugin_view.count * 7;
    register_sum += s->regs[0] * 11 + s->regs[1] * 3;
    return 0;
  }
  KEEP static void with_context(uint64_t* context, const toy::State* s, TranslationBlock* tb) {
    context[0]++;
    context[1] += tb->pc + s->plugin_view.count;
  }
  KEEP static void nothing(void*, TranslationBlock*) {}
  KEEP static bool yes(void*, uint64_t) { return true; }
  static std::array<uint64_t, 7> take() {
    const std::array<uint64_t, 7> all{blocks, icount, pc_sum, count_sum, register_sum, ends, how_sum};
    blocks = icount = pc_sum = count_sum = register_sum = ends = how_sum = 0;
    return all;
  }
};

TEST_P(CallbacksTest, ADirectCallSeesWhatACarefulOneSees) {
  std::array<uint64_t, 7> results[2];
  uint64_t context[2][2] = {};
  for (const bool direct : {true, false}) {
    start(loop(100));
    on(PANDA_CB_BEFORE_BLOCK_EXEC, &Direct::before);
    on(PANDA_CB_BEFORE_BLOCK_EXEC, &Direct::with_context, context[direct]);
    on(PANDA_CB_AFTER_BLOCK_EXEC, &Direct::after);
    on(PANDA_CB_INSN_TRANSLATE, &Direct::yes);
    on(PANDA_CB_INSN_EXEC, &Direct::insn);
    on(PANDA_CB_AFTER_INSN_TRANSLATE, &Direct::yes);
    on(PANDA_CB_AFTER_INSN_EXEC, &Direct::insn);
    for (const unsigned type : {PANDA_CB_BEFORE_BLOCK_EXEC, PANDA_CB_AFTER_BLOCK_EXEC, PANDA_CB_INSN_EXEC}) {
      for (Callback* c : registry().emitted(type)) {
        EXPECT_EQ(c->direct, kDirect);
        c->direct = direct && kDirect;
      }
    }
    for (Callback* c : registry().emitted(PANDA_CB_AFTER_INSN_EXEC)) c->direct = direct && kDirect;
    EXPECT_EQ(machine_->run(100'000), exec::StopReason::IdleForever);
    EXPECT_EQ(machine_->state().regs[0], 5050u);
    results[direct] = Direct::take();
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[1][0], 101u);
  EXPECT_EQ(results[1][1], count());
  EXPECT_EQ(context[0][0], 101u);
  EXPECT_EQ(context[0][0], context[1][0]);
  EXPECT_EQ(context[0][1], context[1][1]);
}

// ---- whatever happens to blocks

struct Pairs {
  static inline uint64_t before, after, insns, insns_done, wrong, interrupts;
  static inline const TranslationBlock* open;
  static inline uint64_t insn_pc, insn_count;
  static void reset() {
    before = after = insns = insns_done = wrong = interrupts = 0;
    open = nullptr;
  }
  static void on_before(const toy::State* s, TranslationBlock* tb) {
    before++;
    wrong += open != nullptr || s->plugin_view.pc != tb->pc || s->pc != tb->pc || tb->icount == 0 ? 1u : 0u;
    open = tb;
    if (before > 1'000'000'000) std::puts("");  // so that it is not called directly
  }
  static void on_after(const toy::State*, TranslationBlock* tb, uint8_t) {
    after++;
    wrong += open != tb ? 1u : 0u;
    open = nullptr;
  }
  static int on_insn(const toy::State* s, uint64_t pc) {
    insns++;
    wrong += open == nullptr || s->plugin_view.pc != pc || s->pc != pc ? 1u : 0u;
    insn_pc = pc;
    insn_count = s->plugin_view.count;
    return 0;
  }
  static int on_insn_done(const toy::State* s, uint64_t pc) {
    insns_done++;
    wrong += pc != insn_pc || s->plugin_view.count != insn_count + 1 ? 1u : 0u;
    return 0;
  }
  static int32_t on_interrupt(void*, int32_t vector) {
    interrupts++;
    wrong += open != nullptr ? 1u : 0u;
    return vector;
  }
};

TEST_P(CallbacksTest, RandomProgramsFireEverythingOnceAndRunAsTheyDoAlone) {
  constexpr uint64_t kEnd = 3000;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    toy::Generator g(seed);
    const auto program = g.program();
    start(program, g.interrupts(kEnd));
    Pairs::reset();
    Direct::take();
    on(PANDA_CB_BEFORE_BLOCK_EXEC, &Pairs::on_before);
    on(PANDA_CB_BEFORE_BLOCK_EXEC, &Direct::nothing);
    on(PANDA_CB_AFTER_BLOCK_EXEC, &Pairs::on_after);
    on(PANDA_CB_AFTER_BLOCK_EXEC, &Direct::after);
    on(PANDA_CB_INSN_TRANSLATE, &Direct::yes);
    on(PANDA_CB_AFTER_INSN_TRANSLATE, &Direct::yes);
    on(PANDA_CB_INSN_EXEC, &Pairs::on_insn);
    on(PANDA_CB_AFTER_INSN_EXEC, &Pairs::on_insn_done);
    on(PANDA_CB_AFTER_INSN_EXEC, &Direct::nothing);
    on(PANDA_CB_BEFORE_HANDLE_INTERRUPT, &Pairs::on_interrupt);
    const uint64_t* blocks = host_->instrumentation().add_counter(plugin_, Instrumentation::Counts::Blocks);
    const uint64_t* insns = host_->instrumentation().add_counter(plugin_, Instrumentation::Counts::Insns);
    for (uint64_t at = 0; at < kEnd;) {
      at += 1 + g.pick(g.pick(4) == 0 ? 3 : 400);
      ASSERT_TRUE(machine_->simulator.run_until(at));
      ASSERT_EQ(machine_->run(at), exec::StopReason::CountReached);
      ASSERT_TRUE(machine_->state() == machine_->simulator.state) << "seed " << seed << ", count " << at;
      ASSERT_TRUE(machine_->outside.crossings == machine_->simulator.crossings) << "seed " << seed;
    }
    EXPECT_EQ(Pairs::wrong, 0u) << "seed " << seed;
    EXPECT_EQ(Pairs::before, Pairs::after + (Pairs::open != nullptr ? 1 : 0)) << "seed " << seed;
    EXPECT_EQ(Pairs::before, *blocks) << "seed " << seed;
    EXPECT_EQ(Pairs::insns_done, *insns) << "seed " << seed;
    EXPECT_EQ(Pairs::after, Direct::take()[5]);
    EXPECT_EQ(Pairs::interrupts, machine_->engine->stats().interrupts);
    // Of an exception the first is no instruction; one that comes at once again is counted as one.
    EXPECT_LE(Pairs::insns_done, count());
    EXPECT_LE(Pairs::insns - Pairs::insns_done, machine_->engine->stats().exceptions);
    host_->instrumentation().remove_counters(plugin_);
    registry().remove_all(&plugin_);
  }
}

// ---- interrupts

struct Interrupts {
  static inline int seen;
  static int32_t drop_odd(void*, int32_t vector) { return seen++ % 2 == 0 ? vector : -1; }
  static int32_t change(void*, int32_t vector) { return vector + 5; }
};

TEST_P(CallbacksTest, AnInterruptIsDroppedOrChanged) {
  Assembler a;
  a.emit(Insn::sti);
  const uint32_t top = a.here();
  a.emit(Insn::addi, 0, 0, 1);
  a.branch(Insn::jmp, 0, 0, top);
  a.pad_to(toy::kInterruptVector);
  a.emit(Insn::addi, 7, 7, 1);
  a.emit(Insn::iret);
  start(a.bytes(), {100, 200, 300, 400});
  Interrupts::seen = 0;
  on(PANDA_CB_BEFORE_HANDLE_INTERRUPT, &Interrupts::drop_odd);
  machine_->run(250);
  EXPECT_EQ(machine_->state().regs[7], 1u);
  EXPECT_EQ(Interrupts::seen, 2);
  const uint32_t cause = machine_->state().cause;
  registry().remove_all(&plugin_);
  on(PANDA_CB_BEFORE_HANDLE_INTERRUPT, &Interrupts::change);
  machine_->run(350);
  EXPECT_EQ(machine_->state().regs[7], 2u);
  EXPECT_EQ(machine_->state().cause, cause + 2 + 5);  // the vectors count up: one was dropped
}

// ---- from inside

struct Inside {
  static inline CallbackRegistry* registry;
  static inline Plugin* plugin;
  static inline uint64_t calls, others;
  static void off() {
    registry->set_enabled(PANDA_CB_BEFORE_BLOCK_EXEC, plugin, reinterpret_cast<void*>(&once), nullptr, false, false);
  }
  static void once(void*, TranslationBlock*) {
    calls++;
    off();
  }
  static void again(void*, TranslationBlock*, uint8_t) {
    others++;
    registry->set_enabled(PANDA_CB_BEFORE_BLOCK_EXEC, plugin, reinterpret_cast<void*>(&once), nullptr, false, true);
  }
  static void adds_itself(void*, TranslationBlock*) {
    calls++;
    registry->add(PANDA_CB_BEFORE_BLOCK_EXEC,
                  {.plugin = plugin, .function = reinterpret_cast<void*>(&added), .context = nullptr});
  }
  static void added(void*, TranslationBlock*) {
    others++;
    registry->remove_all(plugin);
  }
};

TEST_P(CallbacksTest, SwitchThemselvesOffAndOnWithoutNewTranslations) {
  start(loop(1000));
  Inside::registry = &registry();
  Inside::plugin = &plugin_;
  Inside::calls = Inside::others = 0;
  on(PANDA_CB_BEFORE_BLOCK_EXEC, &Inside::once);
  on(PANDA_CB_AFTER_BLOCK_EXEC, &Inside::again);
  machine_->run(100'000);
  EXPECT_EQ(machine_->state().regs[0], 500'500u);
  EXPECT_EQ(Inside::calls, 1001u);  // after each it is on again
  EXPECT_EQ(Inside::others, 1001u);
  EXPECT_LT(machine_->engine->stats().flushes, 20u);
}

TEST_P(CallbacksTest, RegisterAndRemoveFromInside) {
  start(loop(100));
  Inside::registry = &registry();
  Inside::plugin = &plugin_;
  Inside::calls = Inside::others = 0;
  on(PANDA_CB_BEFORE_BLOCK_EXEC, &Inside::adds_itself);
  machine_->run(100'000);
  EXPECT_EQ(machine_->state().regs[0], 5050u);
  EXPECT_EQ(Inside::calls, 2u);  // the one it added is called from the next block on, and removes both
  EXPECT_EQ(Inside::others, 1u);
  EXPECT_FALSE(registry().active(PANDA_CB_BEFORE_BLOCK_EXEC));
}

// ---- thousands at one instruction

struct Many {
  uint64_t calls = 0;
  bool once = false;
  static inline CallbackRegistry* registry;
  static inline Plugin* plugin;
  KEEP static void block(Many* m, void*, TranslationBlock*) { m->call(PANDA_CB_BEFORE_BLOCK_EXEC, &block); }
  KEEP static void block_end(Many* m, void*, TranslationBlock*, uint8_t how) {
    if (how == TB_EXIT_IDX0) m->call(PANDA_CB_AFTER_BLOCK_EXEC, &block_end);
  }
  KEEP static int insn(Many* m, void*, uint64_t) { return m->call(PANDA_CB_INSN_EXEC, &insn), 0; }
  KEEP static int insn_done(Many* m, void*, uint64_t) { return m->call(PANDA_CB_AFTER_INSN_EXEC, &insn_done), 0; }
  template <typename F>
  void call(unsigned type, F* function) {
    calls++;
    if (once) registry->remove(type, plugin, reinterpret_cast<void*>(function), this, true);
  }
};

class ManyCallbacksTest : public CallbacksTest {};

TEST_P(ManyCallbacksTest, AreAllCalledOnceEach) {
  constexpr size_t kMany = 2000;
  constexpr uint32_t kRounds = 20;
  start(loop(kRounds));
  Many::registry = &registry();
  Many::plugin = &plugin_;
  std::array<std::vector<Many>, 4> all;
  on(PANDA_CB_INSN_TRANSLATE, &Direct::yes);
  on(PANDA_CB_AFTER_INSN_TRANSLATE, &Direct::yes);
  std::vector<const uint64_t*> counters;
  for (std::vector<Many>& some : all) {
    some.resize(kMany);
    for (size_t i = 0; i < kMany; i += 7) some[i].once = true;
  }
  for (size_t i = 0; i < kMany; i++) {
    on(PANDA_CB_BEFORE_BLOCK_EXEC, &Many::block, &all[0][i]);
    on(PANDA_CB_AFTER_BLOCK_EXEC, &Many::block_end, &all[1][i]);
    on(PANDA_CB_INSN_EXEC, &Many::insn, &all[2][i]);
    on(PANDA_CB_AFTER_INSN_EXEC, &Many::insn_done, &all[3][i]);
    counters.push_back(host_->instrumentation().add_counter(
        plugin_, i % 2 == 0 ? Instrumentation::Counts::Blocks : Instrumentation::Counts::Insns));
  }
  EXPECT_EQ(machine_->run(100'000), exec::StopReason::IdleForever);
  EXPECT_EQ(machine_->state().regs[0], kRounds * (kRounds + 1) / 2);
  const uint64_t blocks = kRounds + 1;
  for (size_t kind = 0; kind < all.size(); kind++) {
    for (size_t i = 0; i < kMany; i++) {
      ASSERT_EQ(all[kind][i].calls, i % 7 == 0 ? 1 : kind < 2 ? blocks : count()) << kind << ", " << i;
    }
  }
  for (size_t i = 0; i < kMany; i++) ASSERT_EQ(*counters[i], i % 2 == 0 ? blocks : count()) << i;
  host_->instrumentation().remove_counters(plugin_);
}

INSTANTIATE_TEST_SUITE_P(Backends, ManyCallbacksTest, testing::ValuesIn(toy::backends()),
                         [](const auto& backend) { return backend.param.name; });

// ---- the guest's floating point

struct Floating {
  static inline volatile double x = 1;
  static inline volatile long double y = 1;
  static inline unsigned rounding;
  static void computes(void*, TranslationBlock*) {
    rounding = _MM_GET_ROUNDING_MODE();
    x = x / 3;
    y = std::sqrt(y) / 3;
    _MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
  }
};

TEST_P(CallbacksTest, WhatACallbackComputesDoesNotReachTheGuest) {
  start(loop(100));
  machine_->engine->cpu().guest_mxcsr = 0x1f80 | _MM_ROUND_DOWN;
  on(PANDA_CB_BEFORE_BLOCK_EXEC, &Floating::computes);
  for (const Callback* c : registry().emitted(PANDA_CB_BEFORE_BLOCK_EXEC)) EXPECT_FALSE(c->direct);
  machine_->run(100'000);
  EXPECT_EQ(machine_->engine->cpu().guest_mxcsr, 0x1f80u | _MM_ROUND_DOWN);
  EXPECT_EQ(Floating::rounding, unsigned{_MM_ROUND_NEAREST});
  EXPECT_EQ(_MM_GET_ROUNDING_MODE(), unsigned{_MM_ROUND_NEAREST});
}

// Without those whose code area has no room for an instruction with so many calls.
std::vector<toy::BackendFactory> roomy() {
  std::vector<toy::BackendFactory> all = toy::backends();
  std::erase_if(all, [](const toy::BackendFactory& b) { return b.name.ends_with("_small"); });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Backends, CallbacksTest, testing::ValuesIn(roomy()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace panda::plugin
