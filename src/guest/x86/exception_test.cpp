#include "guest/x86/system_test_fixture.h"

namespace panda::x86 {
namespace {

using Exceptions = SystemTest;

TEST_F(Exceptions, RealModeInterruptAndReturn) {
  put<uint16_t>(0x21 * 4, 0x1234);
  put<uint16_t>(0x21 * 4 + 2, 0x0500);
  ASSERT_TRUE(far_jump(cpu(), 0x0700, 0x10, 2, 0));
  cpu().set_reg(R_ESP, 0xabcd'1000);
  cpu().set_eflags(cpu().eflags() | kIF | kCF);
  raise_software(cpu(), 0x21, 0x12);
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().segs[R_CS].base, 0x5000u);
  EXPECT_EQ(s().eip, 0x1234u);
  EXPECT_EQ(cpu().reg(R_ESP), 0xabcd'0ffau);
  EXPECT_EQ(peek<uint16_t>(0xffa), 0x12);
  EXPECT_EQ(peek<uint16_t>(0xffc), 0x700);
  EXPECT_EQ(peek<uint16_t>(0xffe) & 0x203, 0x203);
  EXPECT_EQ(cpu().eflags() & kIF, 0u);
  ASSERT_TRUE(interrupt_return(cpu(), 2, 0));
  EXPECT_EQ(s().eip, 0x12u);
  EXPECT_EQ(s().segs[R_CS].selector, 0x700u);
  EXPECT_EQ(cpu().eflags() & (kIF | kCF), kIF | kCF);
}

TEST_F(Exceptions, Ring3FaultSwitchesStackAndIretGoesBack) {
  flat32();
  put_gate(kGP, kCode0, kHandler, kTypeIntGate32, 0);
  to_ring3(0x1234, 0x6000, 0x202);
  ASSERT_TRUE(load_segment(cpu(), R_DS, kData3));
  raise(cpu(), kGP, uint16_t{0x50});
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(cpu().cpl(), 0u);
  EXPECT_EQ(s().eip, kHandler);
  EXPECT_EQ(cpu().reg(R_ESP), 0x8000u - 24);
  const uint32_t expected[] = {0x50, 0x1234, kCode3, 0x202 | kRF, 0x6000, kData3};
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(peek(0x8000 - 24 + i * 4), expected[i]) << i;
  EXPECT_EQ(cpu().eflags() & kIF, 0u);
  EXPECT_EQ(s().exception_index, -1);
  ASSERT_TRUE(load_segment(cpu(), R_DS, kData0));
  cpu().set_reg(R_ESP, cpu().reg(R_ESP) + 4);
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0));
  EXPECT_EQ(cpu().cpl(), 3u);
  EXPECT_EQ(s().eip, 0x1234u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x6000u);
  EXPECT_EQ(s().segs[R_DS].selector, 0u) << "ring 0's DS must not be usable by ring 3";
  EXPECT_EQ(cpu().eflags() & (kIF | kRF), kIF);
}

TEST_F(Exceptions, SoftwareInterruptChecksGateDpl) {
  flat32();
  put_gate(0x80, kCode0, kHandler, kTypeTrapGate32, 3);
  put_gate(0x81, kCode0, kHandler, kTypeTrapGate32, 0);
  put_gate(kGP, kCode0, 0x6666, kTypeIntGate32, 0);
  to_ring3(0x1000, 0x6000, 0x202);
  s().eip = 0x1000;
  raise_software(cpu(), 0x80, 0x1002);
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, kHandler);
  EXPECT_EQ(peek(0x8000 - 20), 0x1002u);
  EXPECT_NE(cpu().eflags() & kIF, 0u) << "a trap gate leaves IF";
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0));
  s().eip = 0x1000;
  raise_software(cpu(), 0x81, 0x1002);
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x6666u);
  EXPECT_EQ(peek(0x8000 - 24), 0x81u * 8 + 2) << "error code without EXT";
  EXPECT_EQ(peek(0x8000 - 20), 0x1000u) << "the INT itself faults";
}

TEST_F(Exceptions, DoubleAndTripleFault) {
  flat32();
  put_gate(kDF, kCode0, 0x7777, kTypeIntGate32, 0);
  raise(cpu(), kGP, uint16_t{0});  // no #GP gate: #NP or #GP while delivering, contributory
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x7777u);
  EXPECT_EQ(peek(cpu().reg(R_ESP)), 0u);
  put<uint32_t>(kIdt + kDF * 8 + 4, 0);
  raise(cpu(), kGP, uint16_t{0});
  EXPECT_FALSE(deliver_pending(cpu()));
}

TEST_F(Exceptions, BenignThenContributoryIsDeliveredAlone) {
  flat32();
  put_gate(kGP, kCode0, 0x6666, kTypeIntGate32, 0);
  raise(cpu(), kUD);
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().eip, 0x6666u);
  EXPECT_EQ(peek(cpu().reg(R_ESP)), kUD * 8u + 3) << "IDT and EXT bits";
}

TEST_F(Exceptions, Vm86ThereAndBack) {
  flat32();
  put_gate(kGP, kCode0, kHandler, kTypeIntGate32, 0);
  const uint32_t frame[] = {0x100, 0x2000, 0x20202, 0xff0, 0x3000, 0x1111, 0x2222, 0x3333, 0x4444};
  memory_->write(GuestPhysAddr(0x7000), frame, sizeof frame);
  cpu().set_reg(R_ESP, 0x7000);
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0));
  EXPECT_NE(s().hflags & kModeVm, 0u);
  EXPECT_EQ(cpu().cpl(), 3u);
  EXPECT_EQ(s().segs[R_CS].base, 0x20000u);
  EXPECT_EQ(s().segs[R_DS].selector, 0x2222u);
  EXPECT_EQ(s().segs[R_GS].base, 0x44440u);
  EXPECT_FALSE(interrupt_return(cpu(), 2, 0)) << "IOPL 0";
  EXPECT_EQ(take_fault().vector, kGP);
  raise_software(cpu(), 0x21, 0x102);
  EXPECT_EQ(take_fault().vector, kGP) << "INT n too";
  raise(cpu(), kGP, uint16_t{0});
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(s().hflags & kModeVm, 0u);
  EXPECT_EQ(cpu().cpl(), 0u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x8000u - 40);
  EXPECT_EQ(peek(0x8000 - 4), 0x4444u);
  EXPECT_EQ(peek(0x8000 - 16), 0x1111u);
  EXPECT_EQ(peek(0x8000 - 28) & kVM, kVM);
  EXPECT_EQ(s().segs[R_GS].selector, 0u);
  cpu().set_reg(R_ESP, cpu().reg(R_ESP) + 4);
  ASSERT_TRUE(interrupt_return(cpu(), 4, 0));
  EXPECT_NE(s().hflags & kModeVm, 0u);
  EXPECT_EQ(s().segs[R_ES].selector, 0x1111u);
}

TEST_F(Exceptions, LongModeAlignsStackAndUsesIst) {
  long_mode_on();
  put_gate64(kPF, 0x30, 0xffff'ffff'8000'1000, kTypeIntGate32, 0, 0);
  put_gate64(kGP, 0x30, 0x5000, kTypeIntGate32, 0, 1);
  const uint64_t frame[] = {0x4444, 0x3b, 0x202, 0x6004, kData3};
  memory_->write(GuestPhysAddr(0x7000), frame, sizeof frame);
  cpu().set_reg(R_ESP, 0x7000);
  ASSERT_TRUE(interrupt_return(cpu(), 8, 0));
  ASSERT_EQ(cpu().cpl(), 3u);
  ASSERT_NE(s().hflags & kModeCs64, 0u);
  s().cr2_pending_ = 0xdead'beef'000;
  raise(cpu(), kPF, uint16_t{6});
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(cpu().cr(2), 0xdead'beef'000u);
  EXPECT_EQ(s().eip, 0xffff'ffff'8000'1000u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x9000u - 48);
  const uint64_t expected[] = {6, 0x4444, 0x3b, 0x202 | kRF, 0x6004, kData3};
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(peek<uint64_t>(0x9000 - 48 + i * 8), expected[i]) << i;
  EXPECT_EQ(s().segs[R_SS].selector, 0u);
  EXPECT_EQ(cpu().cpl(), 0u);
  // Same privilege, but with an IST: the stack is switched and SS stays.
  raise(cpu(), kGP, uint16_t{0});
  ASSERT_TRUE(deliver_pending(cpu()));
  EXPECT_EQ(cpu().reg(R_ESP), 0xa000u - 48);
  cpu().set_reg(R_ESP, cpu().reg(R_ESP) + 8);
  ASSERT_TRUE(interrupt_return(cpu(), 8, 0)) << "a null SS is fine for ring 0";
  EXPECT_EQ(cpu().reg(R_ESP), 0x9000u - 48);
  cpu().set_reg(R_ESP, cpu().reg(R_ESP) + 8);
  ASSERT_TRUE(interrupt_return(cpu(), 8, 0));
  EXPECT_EQ(cpu().cpl(), 3u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x6004u);
}

TEST_F(Exceptions, DeliveryKeepsTheInstructionCount) {
  flat32();
  put_gate(0x40, kCode0, kHandler, kTypeIntGate32, 0);
  context_->count_limit = 1000;
  context_->budget = 10;
  ASSERT_TRUE(deliver_external(cpu(), 0x40));
  EXPECT_EQ(context_->budget, 10);
  EXPECT_EQ(context_->exact, 0u);
  EXPECT_EQ(context_->completed(), 990u);
}

TEST_F(Exceptions, FaultWhilePushingLeavesTheStateAlone) {
  flat32();
  put_gate(kUD, kCode0, kHandler, kTypeIntGate32, 0);
  put_gate(kDF, kCode0, 0x7777, kTypeIntGate32, 0);
  put_gate(kSS, kCode0, 0x5555, kTypeIntGate32, 0);
  put_descriptor(kGdt, 9, 0, 0xfff, 0x0040'9200);  // 4 KiB stack segment
  ASSERT_TRUE(load_segment(cpu(), R_SS, 9 * 8));
  cpu().set_reg(R_ESP, 0x7000);
  raise(cpu(), kUD);
  EXPECT_FALSE(deliver_pending(cpu())) << "no stack for #UD, #SS or #DF: shut down";
  EXPECT_EQ(cpu().reg(R_ESP), 0x7000u);
  EXPECT_EQ(s().eip, 0x4000u);
}

}  // namespace
}  // namespace panda::x86
