// The lockstep checker: it finds nothing in the product, changes nothing that a guest sees, and finds
// every kind of mistake that a back end can make, at the unit where it happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "backend/check/check_backend.h"
#include "guest_machine.h"
#include "memory/access.h"

namespace panda::x86test {
namespace {

using check::CheckBackend;
using testing::HasSubstr;

// The JIT with one mistake: in the IR it is given, or in what it leaves behind.
struct Mistake {
  std::string name;
  std::string expect;  // in the report
  std::function<void(ir::Unit&)> in_ir;
  std::function<bool(VcpuContext&, exec::ExitInfo&)> in_run;  // true: made, once is enough
};

class WrongBackend final : public exec::Backend {
 public:
  explicit WrongBackend(const Mistake& mistake) : inner_(make_backend(BackendKind::Jit)), mistake_(mistake) {}
  [[nodiscard]] std::string_view name() const override { return "wrong"; }
  bool compile(const ir::Unit& ir, exec::TranslationUnit& unit) override {
    if (!mistake_.in_ir) return inner_->compile(ir, unit);
    ir::Unit changed = ir;
    mistake_.in_ir(changed);  // in every unit: where it comes first may not matter
    return inner_->compile(changed, unit);
  }
  exec::ExitInfo run(VcpuContext& cpu, exec::TranslationUnit& unit) override {
    exec::ExitInfo exit = inner_->run(cpu, unit);
    if (mistake_.in_run && !made_ && ++runs_ > 60) made_ = mistake_.in_run(cpu, exit);
    return exit;
  }
  void link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) override {
    inner_->link(from, index, to, counted);
  }
  void unlink(exec::TranslationUnit& from, uint32_t index) override { inner_->unlink(from, index); }
  void release(exec::TranslationUnit& unit) override { inner_->release(unit); }
  [[nodiscard]] exec::TranslationUnit* in_the_way() const override { return inner_->in_the_way(); }
  [[nodiscard]] exec::CodeSpace code_space() const override { return inner_->code_space(); }
  void reset() override { inner_->reset(); }

 private:
  std::unique_ptr<exec::Backend> inner_;
  const Mistake& mistake_;
  bool made_ = false;
  unsigned runs_ = 0;
};

GuestMachine::MakeBackend checked(std::function<std::unique_ptr<exec::Backend>()> subject) {
  return [subject](exec::Frontend& frontend, GuestMemory& memory) {
    return std::make_unique<CheckBackend>(make_backend(BackendKind::Interpreter), subject(), frontend, memory);
  };
}
std::unique_ptr<exec::Backend> jit() { return make_backend(BackendKind::Jit); }

class CheckTest : public testing::TestWithParam<const char*> {};

TEST_P(CheckTest, FindsNothingAndChangesNothing) {
  for (const uint64_t step : {0, 1, 7}) {
    GuestMachine plain(GetParam(), BackendKind::Jit), m(GetParam(), checked(jit));
    auto& checker = static_cast<CheckBackend&>(m.backend());
    checker.on_difference([](const std::string& report) { ADD_FAILURE() << report; });
    plain.run(step);
    m.run(step);
    EXPECT_TRUE(m.ended());
    EXPECT_FALSE(checker.failed());
    EXPECT_GT(checker.stats().units, 30u);
    EXPECT_GT(checker.stats().crossings, 0u);
    EXPECT_EQ(checker.stats().insns, m.count());
    EXPECT_EQ(plain.count(), m.count());
    EXPECT_EQ(plain.cpu_state(), m.cpu_state());
    EXPECT_EQ(plain.log(), m.log());
    EXPECT_TRUE(plain.ram() == m.ram());
  }
}

INSTANTIATE_TEST_SUITE_P(X86, CheckTest,
                         testing::Values("avx", "debug", "faults", "fpu", "long", "random", "rings", "segments", "smc",
                                         "strings", "tasks", "traps", "virtual"),
                         [](const auto& program) { return std::string(program.param); });

void replace_op(ir::Unit& ir, ir::Op from, ir::Op to) {
  for (ir::Inst& in : ir.insts) {
    if (in.op == from && in.type == ir::Type::I64) in.op = to;
  }
}

const std::vector<Mistake>& mistakes() {
  using exec::ExitInfo;
  static const std::vector<Mistake> kAll = {
      {"AddSubtracts", "| ", [](ir::Unit& ir) { replace_op(ir, ir::Op::add, ir::Op::sub); }, {}},
      {"WrongValueStored",
       "memory at physical",
       [](ir::Unit& ir) {
         for (ir::Inst& in : ir.insts) {
           if (in.op != ir::Op::store || in.type != ir::Type::I64 || in.args[0] == in.args[1]) continue;
           in.args[1] = in.args[0];
         }
       },
       {}},
      {"StoreLeftOut",
       "memory at physical",
       [](ir::Unit& ir) {
         for (ir::Inst& in : ir.insts) {
           if (in.op != ir::Op::store || in.type != ir::Type::I64) continue;
           in = ir::Inst{.op = ir::Op::konst, .type = ir::Type::I64};
         }
       },
       {}},
      {"StoresElsewhere",
       "by the second alone",
       {},
       [](VcpuContext& cpu, ExitInfo&) {
         return store_guest(cpu, 0x3'0000, ir::MemInfo{.mode = 0}, uint32_t{0x12345678});
       }},
      {"CountsWrong", "budget", {}, [](VcpuContext& cpu, ExitInfo&) { return cpu.budget-- != 0; }},
      {"LeavesOtherwise",
       "left by: ",
       {},
       [](VcpuContext&, ExitInfo& exit) {
         if (exit.kind != exec::Exit::Direct) return false;
         exit.kind = exec::Exit::Indirect;
         return true;
       }},
      {"LeavesByAnotherExit",
       "left by: direct ",
       {},
       [](VcpuContext&, ExitInfo& exit) { return exit.kind == exec::Exit::Direct && (exit.index ^= 1) < 2; }},
      {"AsksADevice",
       "asked for: port read at 0x70",
       {},
       [](VcpuContext& cpu, ExitInfo&) {
         cpu.outside->port_read(0x70, 1);
         return true;
       }},
      {"RaisesAnFpFlag",
       "MXCSR",
       {},
       [](VcpuContext& cpu, ExitInfo&) {
         cpu.guest_mxcsr ^= 1;
         return true;
       }},
      {"ChangesARegister",
       "r15",
       {},
       [](VcpuContext& cpu, ExitInfo&) {
         static_cast<uint64_t*>(cpu.state())[15] ^= 1;
         return true;
       }},
      {"ForgetsARequest",
       "exit request",
       {},
       [](VcpuContext& cpu, ExitInfo& exit) {
         if (exit.kind != exec::Exit::Request) return false;
         cpu.exit_request = 0;
         return true;
       }},
  };
  return kAll;
}

class MistakeTest : public testing::TestWithParam<size_t> {};

TEST_P(MistakeTest, IsFoundAndTheGuestGoesOnAsItShould) {
  const Mistake& mistake = mistakes()[GetParam()];
  GuestMachine plain("long", BackendKind::Interpreter);
  plain.run();
  GuestMachine m("long", checked([&] { return std::make_unique<WrongBackend>(mistake); }));
  auto& checker = static_cast<CheckBackend&>(m.backend());
  std::vector<std::string> reports;
  checker.on_difference([&](const std::string& report) { reports.push_back(report); });
  m.run();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_TRUE(checker.failed());
  EXPECT_THAT(reports[0], HasSubstr(mistake.expect));
  EXPECT_THAT(reports[0], HasSubstr("interp and wrong differ after a unit that began at count "));
  EXPECT_THAT(reports[0], HasSubstr("guest instructions:\n  0x"));
  EXPECT_THAT(reports[0], HasSubstr("block 0:\n"));
  EXPECT_EQ(plain.count(), m.count());
  EXPECT_EQ(plain.cpu_state(), m.cpu_state());
  EXPECT_EQ(plain.log(), m.log());
  EXPECT_TRUE(plain.ram() == m.ram());
}

INSTANTIATE_TEST_SUITE_P(X86, MistakeTest, testing::Range(size_t{0}, mistakes().size()),
                         [](const auto& mistake) { return mistakes()[mistake.param].name; });

TEST(CheckInterval, OnlyComparesInside) {
  const Mistake flips{"", "", {}, [](VcpuContext& cpu, exec::ExitInfo&) {
                        cpu.guest_mxcsr ^= 1;  // nothing in this program looks at it
                        return true;
                      }};
  for (const bool inside : {true, false}) {
    GuestMachine m("strings", checked([&] { return std::make_unique<WrongBackend>(flips); }));
    auto& checker = static_cast<CheckBackend&>(m.backend());
    checker.set_interval(InsnCount(0), InsnCount(inside ? ~uint64_t{0} : 200));
    bool found = false;
    checker.on_difference([&](const std::string&) { found = true; });
    m.run();
    EXPECT_EQ(found, inside);
    EXPECT_GT(checker.stats().units, 0u);
  }
}

TEST(CheckInterval, ChangesNothingInBetween) {
  for (const char* program : {"long", "rings", "smc", "strings", "tasks", "traps"}) {
    GuestMachine plain(program, BackendKind::Jit), m(program, checked(jit));
    auto& checker = static_cast<CheckBackend&>(m.backend());
    checker.set_interval(InsnCount(0), InsnCount(20), 60);
    checker.on_difference([](const std::string& report) { ADD_FAILURE() << report; });
    plain.run();
    m.run();
    EXPECT_EQ(plain.count(), m.count()) << program;
    EXPECT_EQ(plain.cpu_state(), m.cpu_state()) << program;
    EXPECT_TRUE(plain.ram() == m.ram()) << program;
  }
}

}  // namespace
}  // namespace panda::x86test
