#include "guest/x86/system_test_fixture.h"

namespace panda::x86 {
namespace {

using Segments = SystemTest;

TEST_F(Segments, RealModeKeepsLimit) {
  ASSERT_TRUE(load_segment(cpu(), R_DS, 0x1234));
  EXPECT_EQ(s().segs[R_DS].base, 0x12340u);
  EXPECT_EQ(s().segs[R_DS].limit, 0xffffu);
  s().segs[R_DS].limit = 0xffff'ffff;
  ASSERT_TRUE(load_segment(cpu(), R_DS, 0));
  EXPECT_EQ(s().segs[R_DS].limit, 0xffff'ffffu);
}

TEST_F(Segments, ProtectedModeChecks) {
  flat32();
  put_descriptor(kGdt, 9, 0x123456, 0xfffff, 0x00c0'9000);  // read-only data, ring 0
  put_descriptor(kGdt, 10, 0, 0xfffff, 0x00c0'1200);        // not present
  put_descriptor(kGdt, 11, 0, 0xfffff, 0x00c0'9800);        // execute-only code
  const auto refused = [this](unsigned seg, uint16_t selector, int vector) {
    EXPECT_FALSE(load_segment(cpu(), seg, selector));
    const Fault f = take_fault();
    EXPECT_EQ(f.vector, vector) << std::hex << selector;
    EXPECT_EQ(f.code, selector & 0xfffc);
  };
  ASSERT_TRUE(load_segment(cpu(), R_DS, 9 * 8));
  EXPECT_EQ(s().segs[R_DS].base, 0x123456u);
  EXPECT_EQ(s().segs[R_DS].limit, 0xffff'ffffu);
  EXPECT_NE(peek(kGdt + 9 * 8 + 4) & kDescAccessed, 0u);
  EXPECT_NE(s().segs[R_DS].flags & kDescAccessed, 0u);
  refused(R_SS, 9 * 8, kGP);
  refused(R_DS, 10 * 8, kNP);
  refused(R_SS, 10 * 8, kSS);
  refused(R_DS, 11 * 8, kGP);
  refused(R_SS, kData3, kGP);
  refused(R_DS, 0x80, kGP);  // beyond the GDT
  refused(R_DS, 0x0c, kGP);  // no LDT
  refused(R_SS, 0, kGP);
  ASSERT_TRUE(load_segment(cpu(), R_ES, 3));
  EXPECT_EQ(s().segs[R_ES].flags, 0u);
  to_ring3(0x1000, 0x6000, 2);
  refused(R_DS, kData0, kGP);
  ASSERT_TRUE(load_segment(cpu(), R_DS, kData3));
}

TEST_F(Segments, TaskRegisterBecomesBusy) {
  flat32();
  EXPECT_EQ(peek(kGdt + 0x2c) >> 8 & 15, unsigned{kTypeTss32Busy});
  EXPECT_FALSE(load_task_register(cpu(), kTssSel));
  EXPECT_EQ(take_fault().code, kTssSel);
}

TEST_F(Segments, ModeBits) {
  flat32();
  EXPECT_EQ(s().hflags & (kModePe | kModeCs32 | kModeSs32 | kModeAddSeg | kModeLimits | kModeCsLimit),
            uint64_t{kModePe} | kModeCs32 | kModeSs32);
  ASSERT_TRUE(load_segment(cpu(), R_ES, 0));
  update_hflags(cpu());
  EXPECT_NE(s().hflags & kModeLimits, 0u);
}

TEST_F(Segments, CallGateSwitchesStackAndCopiesParameters) {
  flat32();
  put(kGdt + 9 * 8, uint32_t{kHandler} | uint32_t{kCode0} << 16);
  put(kGdt + 9 * 8 + 4, uint32_t{0x0000'ec02});  // 32-bit call gate, DPL 3, two parameters
  to_ring3(0x1000, 0x6000, 0x202);
  put<uint32_t>(0x6000, 0xaaaa);
  put<uint32_t>(0x6004, 0xbbbb);
  ASSERT_TRUE(far_call(cpu(), 9 * 8 + 3, 0x9999, 4, 0x1007));
  EXPECT_EQ(s().eip, kHandler);
  EXPECT_EQ(cpu().cpl(), 0u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x8000u - 24);
  const uint32_t expected[] = {0x1007, kCode3, 0xaaaa, 0xbbbb, 0x6000, kData3};
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(peek(0x8000 - 24 + i * 4), expected[i]) << i;
  ASSERT_TRUE(far_return(cpu(), 4, 8));
  EXPECT_EQ(cpu().cpl(), 3u);
  EXPECT_EQ(s().eip, 0x1007u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x6008u) << "parameters are released on both stacks";
}

TEST_F(Segments, DirectFarTransferChecksPrivilege) {
  flat32();
  EXPECT_FALSE(far_jump(cpu(), kCode3, 0, 4, 0));
  EXPECT_EQ(take_fault().code, kCode3 & 0xfffc);
  EXPECT_FALSE(far_jump(cpu(), kData0, 0, 4, 0));
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_FALSE(far_jump(cpu(), 0, 0, 4, 0));
  EXPECT_EQ(take_fault().code, 0);
  // A return inwards is refused.
  to_ring3(0x1000, 0x6000, 2);
  put<uint32_t>(0x6000, 0x4000);
  put<uint32_t>(0x6004, kCode0);
  EXPECT_FALSE(far_return(cpu(), 4, 0));
  EXPECT_EQ(take_fault().code, kCode0);
}

TEST_F(Segments, TaskSwitchAndReturn) {
  flat32();
  constexpr uint64_t kNew = 0x3800;
  put_descriptor(kGdt, 9, kNew, 0x67, 0x0000'8900);
  put<uint32_t>(kNew + 0x20, 0x4444);  // EIP
  put<uint32_t>(kNew + 0x24, 0x202);   // EFLAGS
  put<uint32_t>(kNew + 0x28, 0xcafe);  // EAX
  put<uint32_t>(kNew + 0x38, 0x7800);  // ESP
  put<uint32_t>(kNew + 0x48, kData0);  // ES
  put<uint32_t>(kNew + 0x4c, kCode0);  // CS
  put<uint32_t>(kNew + 0x50, kData0);  // SS
  put<uint32_t>(kNew + 0x54, kData0);  // DS
  cpu().set_reg(R_EAX, 0x1111);
  EXPECT_FALSE(far_call(cpu(), 9 * 8, 0, 4, 0x4007));
  EXPECT_EQ(context_->exit_request, static_cast<uint32_t>(ExitRequest::Restart)) << "asks for an exact unit";
  context_->request(ExitRequest::None);
  context_->exact = 1;
  ASSERT_TRUE(far_call(cpu(), 9 * 8, 0, 4, 0x4007));
  EXPECT_EQ(s().eip, 0x4444u);
  EXPECT_EQ(cpu().reg(R_EAX), 0xcafeu);
  EXPECT_EQ(cpu().reg(R_ESP), 0x7800u);
  EXPECT_EQ(s().tr.selector, 9u * 8);
  EXPECT_NE(cpu().eflags() & kNT, 0u);
  EXPECT_NE(cpu().cr(0) & kCr0Ts, 0u);
  EXPECT_EQ(peek<uint16_t>(kNew), kTssSel);
  EXPECT_EQ(peek(kTss + 0x28), 0x1111u);
  EXPECT_EQ(peek(kTss + 0x20), 0x4007u);
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0x4445));
  EXPECT_EQ(s().tr.selector, kTssSel);
  EXPECT_EQ(s().eip, 0x4007u);
  EXPECT_EQ(cpu().reg(R_EAX), 0x1111u);
  EXPECT_EQ(cpu().eflags() & kNT, 0u);
  EXPECT_EQ(peek(kGdt + 9 * 8 + 4) & kDescTssBusy, 0u);
  EXPECT_EQ(peek(kNew + 0x20), 0x4445u);
}

TEST_F(Segments, TaskSwitchFaultBelongsToTheNewTask) {
  flat32();
  put_gate(kTS, kCode0, 0x6666, kTypeIntGate32, 0);
  constexpr uint64_t kNew = 0x3800;
  put_descriptor(kGdt, 9, kNew, 0x67, 0x0000'8900);
  put<uint32_t>(kNew + 0x20, 0x4444);
  put<uint32_t>(kNew + 0x38, 0x7800);
  put<uint32_t>(kNew + 0x4c, kCode0);
  put<uint32_t>(kNew + 0x50, kData0);
  put<uint32_t>(kNew + 0x54, 0x7f0);  // DS: no such descriptor
  context_->exact = 1;
  EXPECT_FALSE(far_jump(cpu(), 9 * 8, 0, 4, 0x4007));
  EXPECT_EQ(s().exception_index, kTS);
  s().eip = 0x4000;  // what the engine does on a fault
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x6666u);
  EXPECT_EQ(peek(0x7800 - 16), 0x7f0u);
  EXPECT_EQ(peek(0x7800 - 12), 0x4444u);
}

// A second task at kNew, selector kNewSel.
class Tasks : public Segments {
 protected:
  static constexpr uint64_t kNew = 0x3800;
  static constexpr uint16_t kNewSel = 9 * 8;
  void SetUp() override {
    Segments::SetUp();
    flat32();
    put_descriptor(kGdt, 9, kNew, 0x67, 0x0000'8900);
    put<uint32_t>(kNew + 0x20, 0x4444);
    put<uint32_t>(kNew + 0x24, 2);
    put<uint32_t>(kNew + 0x38, 0x7800);
    for (const unsigned seg : {0x48u, 0x50u, 0x54u}) put<uint32_t>(kNew + seg, kData0);
    put<uint32_t>(kNew + 0x4c, kCode0);
    context_->exact = 1;
  }
  bool busy(uint16_t selector) { return (peek(kGdt + (selector & ~7u) + 4) & kDescTssBusy) != 0; }
  void expect_fault(bool ok, int vector, int code) {
    EXPECT_FALSE(ok);
    const Fault f = take_fault();
    EXPECT_EQ(f.vector, vector);
    EXPECT_EQ(f.code, code);
    EXPECT_EQ(s().tr.selector, kTssSel) << "the old task goes on";
  }
};

TEST_F(Tasks, BusyBitsAndBackLinks) {
  put<uint16_t>(kNew, 0x9999);
  ASSERT_TRUE(far_jump(cpu(), kNewSel, 0, 4, 0x4007));
  EXPECT_FALSE(busy(kTssSel));
  EXPECT_TRUE(busy(kNewSel));
  EXPECT_EQ(cpu().eflags() & kNT, 0u);
  EXPECT_EQ(peek<uint16_t>(kNew), 0x9999u) << "JMP leaves the link alone";
  ASSERT_TRUE(far_call(cpu(), kTssSel, 0, 4, 0x4448));
  EXPECT_TRUE(busy(kTssSel));
  EXPECT_TRUE(busy(kNewSel));
  EXPECT_NE(cpu().eflags() & kNT, 0u);
  EXPECT_EQ(peek<uint16_t>(kTss), kNewSel);
  EXPECT_EQ(s().eip, 0x4007u);
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0x4009));
  EXPECT_FALSE(busy(kTssSel));
  EXPECT_TRUE(busy(kNewSel));
  EXPECT_EQ(s().eip, 0x4448u);
  EXPECT_EQ(peek(kTss + 0x24) & kNT, 0u) << "saved without NT";
  EXPECT_NE(cpu().cr(0) & kCr0Ts, 0u);
}

TEST_F(Tasks, RefusedSelectors) {
  put(kGdt + kNewSel + 4, peek(kGdt + kNewSel + 4) | kDescTssBusy);
  expect_fault(far_call(cpu(), kNewSel, 0, 4, 0x4007), kGP, kNewSel);
  put(kGdt + kNewSel + 4, peek(kGdt + kNewSel + 4) & ~(kDescTssBusy | kDescPresent));
  expect_fault(far_call(cpu(), kNewSel, 0, 4, 0x4007), kNP, kNewSel);
  put_descriptor(kGdt, 9, kNew, 0x66, 0x0000'8900);
  expect_fault(far_jump(cpu(), kNewSel, 0, 4, 0x4007), kTS, kNewSel);
  put_descriptor(kGdt, 9, kNew, 0x67, 0x0000'8900);
  // A nested task whose link leads to one that is not busy.
  put<uint16_t>(kTss, kNewSel);
  s().eflags |= kNT;
  expect_fault(interrupt_return(cpu(), 4, 0x4007), kTS, kNewSel);
  // DPL of the TSS below CPL.
  s().eflags &= ~uint64_t{kNT};
  to_ring3(0x1000, 0x6000, 2);
  expect_fault(far_call(cpu(), kNewSel | 3, 0, 4, 0x1007), kGP, kNewSel);
}

// Its handler runs on the new task's stack, with its data segments.
TEST_F(Tasks, EntryBeyondTheCodeSegment) {
  put_gate(kGP, kCode0, 0x6666, kTypeIntGate32, 0);
  put_descriptor(kGdt, 10, 0, 0x3fff, 0x0040'9b00);
  put<uint32_t>(kNew + 0x4c, 10 * 8);
  EXPECT_FALSE(far_jump(cpu(), kNewSel, 0, 4, 0x4007));  // to 0x4444
  EXPECT_EQ(s().exception_index, kGP);
  s().eip = 0x4000;  // what the engine does on a fault
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x6666u);
  EXPECT_EQ(s().tr.selector, kNewSel);
  EXPECT_EQ(s().segs[R_DS].selector, kData0);
  EXPECT_EQ(peek(0x7800 - 16), 0u);
  EXPECT_EQ(peek(0x7800 - 12), 0x4444u);
}

// The stack's and the data segments' faults name the selector, the code segment's that it is not there too.
TEST_F(Tasks, BadSegmentsOfTheNewTask) {
  constexpr unsigned kCs = 0x4c, kSs = 0x50, kDs = 0x54, kLdt = 0x60;
  struct Case {
    unsigned field;
    uint16_t selector;
    int vector, code;
  };
  for (const Case& c :
       {Case{kCs, 0, kTS, 0}, Case{kCs, kData0, kTS, kData0}, Case{kCs, kCode0 | 3, kTS, kCode0},
        Case{kCs, 10 * 8, kNP, 10 * 8}, Case{kCs, 0x7f8, kTS, 0x7f8}, Case{kSs, 0, kTS, 0},
        Case{kSs, kCode0, kTS, kCode0}, Case{kSs, 13 * 8, kTS, 13 * 8}, Case{kSs, kData0 | 1, kTS, kData0},
        Case{kSs, 11 * 8, kSS, 11 * 8}, Case{kDs, kTssSel, kTS, kTssSel}, Case{kDs, 12 * 8, kTS, 12 * 8},
        Case{kDs, kData0 | 1, kTS, kData0}, Case{kDs, 11 * 8, kNP, 11 * 8}, Case{kLdt, kData0, kTS, kData0},
        Case{kLdt, kData0 | 4, kTS, kData0 | 4}}) {
    Tasks::SetUp();
    put_descriptor(kGdt, 10, 0, 0xffff, 0x0040'1b00);  // code, not present
    put_descriptor(kGdt, 11, 0, 0xffff, 0x0040'1300);  // data, not present
    put_descriptor(kGdt, 12, 0, 0xffff, 0x0040'9900);  // code that cannot be read
    put_descriptor(kGdt, 13, 0, 0xffff, 0x0040'9100);  // data that cannot be written
    put<uint32_t>(kNew + c.field, c.selector);
    EXPECT_FALSE(far_jump(cpu(), kNewSel, 0, 4, 0x4007));
    const Fault f = take_fault();
    EXPECT_EQ(f.vector, c.vector) << c.field << " " << c.selector;
    EXPECT_EQ(f.code, c.code) << c.field << " " << c.selector;
    EXPECT_EQ(s().tr.selector, kNewSel);
  }
}

TEST_F(Tasks, TrapFlagOfTheTask) {
  put_gate(kDB, kCode0, 0x6666, kTypeIntGate32, 0);
  put<uint16_t>(kNew + 0x64, 1);
  EXPECT_FALSE(far_call(cpu(), kNewSel, 0, 4, 0x4007));
  EXPECT_EQ(s().exception_index, kDB);
  s().eip = 0x4000;  // what the engine does on a fault
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x6666u);
  EXPECT_EQ(s().tr.selector, kNewSel);
  EXPECT_EQ(cpu().dr(6), 0xffff'8ff0u) << "BT";
  EXPECT_EQ(peek(0x7800 - 12), 0x4444u) << "before the new task's first instruction";
  EXPECT_EQ(peek(0x7800 - 4) & kRF, 0u);
}

TEST_F(Tasks, LocalBreakpointsEndWithTheTask) {
  ASSERT_TRUE(write_dr(cpu(), 1, 0x5000));
  ASSERT_TRUE(write_dr(cpu(), 2, 0x5100));
  ASSERT_TRUE(write_dr(cpu(), 7, 0x0ff0'0024));  // L1 and G2: accesses
  EXPECT_EQ(context_->watch_count, 2u);
  ASSERT_TRUE(far_jump(cpu(), kNewSel, 0, 4, 0x4007));
  EXPECT_EQ(cpu().dr(7) & 0xff, 0x20u);
  EXPECT_EQ(context_->watch_count, 1u);
  EXPECT_FALSE(context_->watched(0x5000, 4));
  EXPECT_TRUE(context_->watched(0x5100, 4));
}

TEST_F(Tasks, ExceptionsThroughATaskGatePushTheirCode) {
  put_gate(kNP, kNewSel, 0, kTypeTaskGate, 0);
  raise(cpu(), kNP, uint16_t{0x1230});
  s().eip = 0x4000;
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().tr.selector, kNewSel);
  EXPECT_EQ(cpu().reg(R_ESP), 0x7800u - 4);
  EXPECT_EQ(peek(0x7800 - 4), 0x1230u);
  EXPECT_EQ(peek(kTss + 0x20), 0x4000u) << "the faulting instruction";
  EXPECT_NE(peek(kTss + 0x24) & kRF, 0u) << "to be run again";
  EXPECT_NE(cpu().eflags() & kNT, 0u);
}

TEST_F(Tasks, SixteenBitTss) {
  constexpr uint64_t kOld = 0x3a00;
  put_descriptor(kGdt, 10, kOld, 0x2b, 0x0000'8100);
  const uint16_t image[] = {0, 0, 0,      0, 0, 0, 0,      0x4444, 2,      1,      2,
                            3, 4, 0x7800, 6, 7, 8, kData0, kCode0, kData0, kData0, 0};
  memory_->write(GuestPhysAddr(kOld), image, sizeof image);
  cpu().set_reg(R_EDI, 0xabcd'1234);
  ASSERT_TRUE(far_call(cpu(), 10 * 8, 0, 4, 0x4007));
  EXPECT_EQ(s().eip, 0x4444u);
  EXPECT_EQ(cpu().reg(R_EAX) & 0xffff, 1u);
  EXPECT_EQ(cpu().reg(R_ESP) & 0xffff, 0x7800u);
  EXPECT_EQ(peek<uint16_t>(kOld), kTssSel);
  ASSERT_TRUE(interrupt_return(cpu(), 2, 0x4446));
  EXPECT_EQ(peek<uint16_t>(kOld + 0xe), 0x4446u);
  EXPECT_EQ(cpu().reg(R_EDI), 0xabcd'1234u);
  EXPECT_EQ(s().eip, 0x4007u);
}

TEST_F(Segments, Ports) {
  flat32();
  put<uint16_t>(kTss + 0x66, 0x68);
  s().tr.limit = 0x68 + 0x20;
  std::vector<uint8_t> map(0x21, 0xff);
  map[0x70 / 8] = 0xfc;  // ports 0x70 and 0x71
  memory_->write(GuestPhysAddr(kTss + 0x68), map.data(), map.size());
  ASSERT_TRUE(check_port(cpu(), 0x60, 1)) << "ring 0";
  to_ring3(0x1000, 0x6000, 2);
  EXPECT_TRUE(check_port(cpu(), 0x71, 1));
  EXPECT_TRUE(check_port(cpu(), 0x70, 2));
  EXPECT_FALSE(check_port(cpu(), 0x71, 2));
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_FALSE(check_port(cpu(), 0x3f8, 1)) << "beyond the TSS";
  take_fault();
}

}  // namespace
}  // namespace panda::x86
