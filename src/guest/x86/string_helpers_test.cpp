// Repeated strings: the results and the instruction count do not depend on how the budget splits
// the work, and agree with a byte-by-byte model; faults leave exactly the iterations done.
#include "guest/x86/string_helpers.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <random>

#include "memory/guest_memory.h"

namespace panda::x86 {
namespace {

constexpr uint64_t kRam = 0x10000;
constexpr uint64_t kPc = 0x1234;

class IdentityMmu : public Mmu {
 public:
  bool translate(VcpuContext& cpu, uint64_t address, Access, unsigned, bool probe, Translation& out) noexcept override {
    if (address >= kRam) {
      if (!probe) cpu.request(ExitRequest::Fault);
      return false;
    }
    out = {.phys = address & kPageMask, .readable = true, .writable = true};
    return true;
  }
  void misaligned(VcpuContext&, uint64_t, Access) noexcept override {}
};

struct Regs {
  uint64_t rcx, rsi, rdi, rax, flags;
  friend bool operator==(const Regs&, const Regs&) = default;
};

class Strings : public testing::Test {
 protected:
  Strings() : raw_(std::aligned_alloc(64, (sizeof(VcpuContext) + sizeof(State) + 63) & ~size_t{63})) {
    context_ = new (raw_.get()) VcpuContext;
    state_ = new (context_->state()) State{};
    state_->is_64bit_target = 1;
    state_->hflags = kModePe | kModeLma | kModeCs64;
    memory_ = std::move(*GuestMemory::create(kRam, {{.phys = 0, .size = kRam, .offset = 0}}));
    memory_->set_mmu(&mmu_);
    context_->memory = memory_.get();
    memory_->attach(*context_);
  }

  struct Outcome {
    Regs regs;
    std::vector<uint8_t> ram;
    int64_t cost = 0;
    bool fault = false;
  };

  // Runs to the end in pieces of at most `slice` instructions, paying as the engine does.
  Outcome run(StringOp op, Regs start, int df, int64_t slice) {
    std::mt19937 random(7);
    for (uint8_t& byte : memory_->ram()) byte = static_cast<uint8_t>(random() % 3);
    Cpu cpu(*state_);
    cpu.set_reg(R_ECX, start.rcx);
    cpu.set_reg(R_ESI, start.rsi);
    cpu.set_reg(R_EDI, start.rdi);
    cpu.set_reg(R_EAX, start.rax);
    cpu.set_eflags(static_cast<uint32_t>(start.flags));
    state_->df = df;
    using Function = void (*)(void*, uint32_t, uint64_t) noexcept;
    const auto helper = reinterpret_cast<Function>(const_cast<void*>(kHelperString.function));
    Outcome out;
    for (int turns = 0; turns < 100'000; ++turns) {
      context_->exit_request = 0;
      context_->budget = slice - 1;  // the unit's count
      state_->eip = 0;
      helper(context_->state(), op.pack(), kPc);
      const auto request = static_cast<ExitRequest>(context_->exit_request);
      out.fault = request == ExitRequest::Fault;
      if (out.fault) context_->budget += 1;  // the engine's refund
      EXPECT_GE(context_->budget, 0);
      out.cost += slice - context_->budget;
      if (request != ExitRequest::Dispatch) break;
      EXPECT_EQ(state_->eip, kPc);
    }
    out.regs = {cpu.reg(R_ECX), cpu.reg(R_ESI), cpu.reg(R_EDI), cpu.reg(R_EAX), cpu.eflags()};
    out.ram.assign(memory_->ram().begin(), memory_->ram().end());
    return out;
  }

  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> raw_;
  VcpuContext* context_ = nullptr;
  State* state_ = nullptr;
  IdentityMmu mmu_;
  std::unique_ptr<GuestMemory> memory_;
};

TEST_F(Strings, AnySplitGivesTheSame) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 400; ++i) {
    StringOp op;
    op.kind = static_cast<StringKind>(random() % 5);
    const bool compares = op.kind == StringKind::Scas || op.kind == StringKind::Cmps;
    op.repeat = compares ? (random() % 2 != 0 ? Repeat::WhileEqual : Repeat::WhileNotEqual) : Repeat::Always;
    op.size_log2 = static_cast<uint8_t>(random() % 4);
    op.address_log2 = static_cast<uint8_t>(2 + random() % 2);
    const int df = random() % 3 == 0 ? -1 : 1;
    Regs start{random() % 700, 0x4000 + random() % 0x3000, 0, random(), 2 | kCF | kZF};
    // Close together often: overlaps, in both directions.
    start.rdi = random() % 2 != 0 ? start.rsi + random() % 64 - 32 : 0x4000 + random() % 0x3000;
    const Outcome whole = run(op, start, df, 1'000'000);
    EXPECT_EQ(whole.cost, start.rcx == 0 ? 1 : static_cast<int64_t>(start.rcx - whole.regs.rcx));
    for (const int64_t slice : {1, 2, 7, 100}) {
      const Outcome split = run(op, start, df, slice);
      ASSERT_EQ(split.regs, whole.regs) << "kind " << static_cast<int>(op.kind) << " slice " << slice;
      ASSERT_EQ(split.ram, whole.ram) << "kind " << static_cast<int>(op.kind) << " slice " << slice;
      ASSERT_EQ(split.cost, whole.cost);
    }
  }
}

TEST_F(Strings, OverlappingCopyRepeatsThePattern) {
  StringOp op{.kind = StringKind::Movs, .address_log2 = 3};
  const Outcome out = run(op, {1000, 0x5000, 0x5003, 0, 2}, 1, 1'000'000);
  for (uint64_t i = 3; i < 1003; ++i) ASSERT_EQ(out.ram[0x5000 + i], out.ram[0x5000 + i % 3]);
}

TEST_F(Strings, FaultKeepsWhatIsDone) {
  StringOp op{.kind = StringKind::Stos, .size_log2 = 2, .address_log2 = 3};
  const Outcome out = run(op, {100, 0, kRam - 42, 0x11223344, 2}, 1, 1'000'000);
  EXPECT_TRUE(out.fault);
  EXPECT_EQ(out.regs.rcx, 90u);  // ten fit; the eleventh straddles the end
  EXPECT_EQ(out.regs.rdi, kRam - 2);
  EXPECT_EQ(out.cost, 10);
}

TEST_F(Strings, SixteenBitAddressesWrapAndKeepTheUpperHalf) {
  state_->hflags = kModePe;
  StringOp op{.kind = StringKind::Stos, .address_log2 = 1};
  const Outcome out = run(op, {0x9999'0010, 0, 0x7777'fff8, 0xab, 2}, 1, 1'000'000);
  EXPECT_EQ(out.regs.rcx, 0x9999'0000u);
  EXPECT_EQ(out.regs.rdi, 0x7777'0008u);
  EXPECT_EQ(out.ram[0xffff], 0xab);
  EXPECT_EQ(out.ram[7], 0xab);
  EXPECT_NE(out.ram[8], 0xab);
}

TEST_F(Strings, ExactUnitsDoOneIteration) {
  StringOp op{.kind = StringKind::Movs, .address_log2 = 3, .one_only = true};
  const Outcome out = run(op, {5, 0x5000, 0x6000, 0, 2}, 1, 1);
  EXPECT_EQ(out.cost, 5);
  EXPECT_EQ(out.regs.rcx, 0u);
}

}  // namespace
}  // namespace panda::x86
