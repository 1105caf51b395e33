#include "guest/x86/fast_syscall.h"
#include "guest/x86/msr.h"
#include "guest/x86/system_test_fixture.h"
#include "memory/cpu_observer.h"

namespace panda::x86 {
namespace {

using Modes = SystemTest;

TEST_F(Modes, ResetState) {
  EXPECT_EQ(s().eip, 0xfff0u);
  EXPECT_EQ(s().segs[R_CS].base, 0xffff'0000u);
  EXPECT_EQ(cpu().cr(0), 0x6000'0010u);
  EXPECT_EQ(s().hflags & (kModePe | kModeCs32 | kModeCplMask), 0u);
  EXPECT_EQ(s().exception_index, -1);
}

TEST_F(Modes, ControlRegisterFaults) {
  const auto refused = [this](unsigned n, uint64_t v) {
    EXPECT_FALSE(write_cr(cpu(), n, v)) << n << " " << std::hex << v;
    EXPECT_EQ(take_fault().vector, kGP);
  };
  refused(0, kCr0Pg);
  refused(0, kCr0Nw);
  refused(0, uint64_t{1} << 32);
  refused(4, 1u << 13);  // VMXE
  refused(4, 1u << 17);  // PCIDE
  refused(8, 16);
  long_mode_on();
  refused(4, 0);                                // PAE in long mode
  refused(0, cpu().cr(0) & ~uint64_t{kCr0Pg});  // from 64-bit code
  refused(3, uint64_t{1} << 50);
  EXPECT_FALSE(write_efer(cpu(), kEferNxe));  // LME with paging on
  take_fault();
  EXPECT_FALSE(write_efer(cpu(), s().efer | 1 << 14));
  take_fault();
}

TEST_F(Modes, LongModeNeedsPae) {
  flat32();
  ASSERT_TRUE(write_efer(cpu(), kEferLme));
  EXPECT_FALSE(write_cr(cpu(), 0, cpu().cr(0) | kCr0Pg));
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_EQ(s().efer, kEferLme);
}

TEST_F(Modes, SyscallAndSysret) {
  long_mode_on();
  s().star = uint64_t{0x2b} << 48 | uint64_t{0x30} << 32;
  s().lstar = 0xffff'ffff'8000'0000;
  s().fmask = kIF | kTF | kDF_;
  cpu().set_eflags(cpu().eflags() | kIF | kCF);
  ASSERT_TRUE(syscall_insn(cpu(), 0x4002));
  EXPECT_EQ(s().eip, 0xffff'ffff'8000'0000u);
  EXPECT_EQ(cpu().reg(R_ECX), 0x4002u);
  EXPECT_EQ(cpu().reg(R_R11), uint64_t{kIF} | kCF | 2);
  EXPECT_EQ(cpu().eflags() & (kIF | kCF), kCF);
  EXPECT_EQ(s().segs[R_SS].selector, 0x38u);
  ASSERT_TRUE(sysret(cpu(), true));
  EXPECT_EQ(cpu().cpl(), 3u);
  EXPECT_EQ(s().segs[R_CS].selector, 0x3bu);
  EXPECT_EQ(s().segs[R_SS].selector, 0x33u);
  EXPECT_EQ(s().eip, 0x4002u);
  EXPECT_EQ(cpu().eflags() & (kIF | kCF), uint32_t{kIF} | kCF);
  EXPECT_FALSE(sysret(cpu(), true)) << "ring 3";
  EXPECT_EQ(take_fault().vector, kGP);
  ASSERT_TRUE(syscall_insn(cpu(), 0x4002));
  cpu().set_reg(R_ECX, uint64_t{1} << 47);
  EXPECT_FALSE(sysret(cpu(), true)) << "non-canonical: faults in ring 0";
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_EQ(cpu().cpl(), 0u);
  cpu().set_reg(R_ECX, 0x1'0000'4002);
  ASSERT_TRUE(sysret(cpu(), false));
  EXPECT_EQ(s().eip, 0x4002u);
  EXPECT_EQ(s().hflags & (kModeCs64 | kModeCs32), uint64_t{kModeCs32});
}

TEST_F(Modes, SysenterAndSysexit) {
  flat32();
  s().sysenter_cs = 0x60;
  s().sysenter_esp = 0x7777;
  s().sysenter_eip = 0x5555;
  to_ring3(0x1000, 0x6000, 0x202);
  ASSERT_TRUE(sysenter(cpu()));
  EXPECT_EQ(cpu().cpl(), 0u);
  EXPECT_EQ(s().segs[R_CS].selector, 0x60u);
  EXPECT_EQ(s().segs[R_SS].selector, 0x68u);
  EXPECT_EQ(s().eip, 0x5555u);
  EXPECT_EQ(cpu().reg(R_ESP), 0x7777u);
  EXPECT_EQ(cpu().eflags() & kIF, 0u);
  cpu().set_reg(R_EDX, 0x1234);
  cpu().set_reg(R_ECX, 0x6000);
  ASSERT_TRUE(sysexit(cpu(), false));
  EXPECT_EQ(s().segs[R_CS].selector, 0x73u);
  EXPECT_EQ(s().segs[R_SS].selector, 0x7bu);
  EXPECT_EQ(s().eip, 0x1234u);
  EXPECT_EQ(cpu().cpl(), 3u);
  s().sysenter_cs = 0;
  EXPECT_FALSE(sysenter(cpu()));
  EXPECT_EQ(take_fault().vector, kGP);
}

class KeepAsid final : public CpuObserver {
 public:
  bool asid_changes(VcpuContext&, uint64_t old_value, uint64_t new_value) noexcept override {
    seen_old = old_value;
    seen_new = new_value;
    return keep;
  }
  uint64_t seen_old = 0, seen_new = 0;
  bool keep = false;
};

TEST_F(Modes, Cr3AsksTheObserver) {
  KeepAsid observer;
  context_->observer = &observer;
  ASSERT_TRUE(write_cr(cpu(), 3, 0x1000));
  EXPECT_EQ(cpu().cr(3), 0x1000u);
  observer.keep = true;
  ASSERT_TRUE(write_cr(cpu(), 3, 0x2000));
  EXPECT_EQ(cpu().cr(3), 0x1000u);
  EXPECT_EQ(observer.seen_new, 0x2000u);
}

TEST_F(Modes, Msrs) {
  uint64_t v = 0;
  ASSERT_TRUE(write_msr(cpu(), 0xc000'0100, 0, 0xffff'8000'0000'0000));
  EXPECT_EQ(s().segs[R_FS].base, 0xffff'8000'0000'0000u);
  EXPECT_FALSE(write_msr(cpu(), 0xc000'0100, 0, uint64_t{1} << 47));
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_FALSE(read_msr(cpu(), 0x4b564d00, 0, v));
  EXPECT_EQ(take_fault().vector, kGP);
  ASSERT_TRUE(write_msr(cpu(), 0x10, 5000, 100));
  ASSERT_TRUE(read_msr(cpu(), 0x10, 5050, v));
  EXPECT_EQ(v, 150u);
  ASSERT_TRUE(write_msr(cpu(), 0x269, 0, 0x0606'0606'0606'0606));
  EXPECT_EQ(s().mtrr_fixed[4], 0x0606'0606'0606'0606u);
  EXPECT_FALSE(write_msr(cpu(), 0x277, 0, 2));  // no such memory type
  take_fault();
  EXPECT_FALSE(read_msr(cpu(), 0x1b, 0, v)) << "no outside here";
  take_fault();
}

// Every feature that a model announces has its instructions or control bits, and no other does.
TEST_F(Modes, ControlBitsFollowTheFeatures) {
  struct Case {
    const char* cpu;
    uint64_t cr4;
    bool there;
  };
  const Case kCases[] = {{"max", kCr4Pcide, true},
                         {"max,-pcid", kCr4Pcide, false},
                         {"max", kCr4Umip, true},
                         {"max,-umip", kCr4Umip, false},
                         {"max", kCr4Fsgsbase, true},
                         {"x86-64-v2", kCr4Fsgsbase, false},
                         {"x86-64-v2,+umip", kCr4Umip, true},
                         {"x86-64-v2", kCr4Pcide, false}};
  for (const Case& c : kCases) {
    boot(true);
    long_mode_on();
    apply_cpu(s(), *parse_cpu(c.cpu, true));
    const bool ok = write_cr(cpu(), 4, cpu().cr(4) | c.cr4);
    EXPECT_EQ(ok, c.there) << c.cpu << " " << c.cr4;
    if (!ok) take_fault();
  }
}

TEST(CpuModels, ParseAndErrors) {
  EXPECT_TRUE(parse_cpu("", true));
  EXPECT_TRUE(parse_cpu("qemu64", true));
  const auto c = parse_cpu("x86-64-v2,-sse4.2,+erms", true);
  ASSERT_TRUE(c);
  State s{};
  s.is_64bit_target = 1;
  apply_cpu(s, *c);
  EXPECT_FALSE(has_feature(s, Feature::Sse42));
  EXPECT_TRUE(has_feature(s, Feature::Sse41));
  EXPECT_TRUE(has_cpuid_bit(s, kLeaf7Ebx, 9));
  EXPECT_NE(parse_cpu("z80", true).error().message.find("z80"), std::string::npos);
  EXPECT_FALSE(parse_cpu("x86-64-v2", false));
  EXPECT_FALSE(parse_cpu("max,+avx512f", true));
  EXPECT_NE(parse_cpu("x86-64-v2,+avx2", true).error().message.find("needs 'avx'"), std::string::npos);
  EXPECT_TRUE(parse_cpu("x86-64-v2,+avx2,+avx", true));
  EXPECT_FALSE(parse_cpu("max,sse2", true));
  EXPECT_FALSE(parse_cpu("max,", true));
  EXPECT_FALSE(parse_cpu("qemu32,+lm", false));
  EXPECT_FALSE(parse_cpu("qemu32,+pcid", false));
  const auto more =
      parse_cpu("x86-64-v2,+aes,+pclmulqdq,+sha-ni,+rdrand,+rdseed,+rdpid,+invpcid,+clwb,+clflushopt", true);
  ASSERT_TRUE(more);
  State u{};
  u.is_64bit_target = 1;
  apply_cpu(u, *more);
  EXPECT_EQ(cpuid(u, 1, 0).ecx & (1u << 1 | 1u << 25 | 1u << 30), 1u << 1 | 1u << 25 | 1u << 30);
  EXPECT_EQ(cpuid(u, 7, 0).ebx & (1u << 10 | 1u << 18 | 1u << 23 | 1u << 24 | 1u << 29),
            1u << 10 | 1u << 18 | 1u << 23 | 1u << 24 | 1u << 29);
  EXPECT_EQ(cpuid(u, 7, 0).ecx, 1u << 22);
  const auto m = parse_cpu("max", false);
  ASSERT_TRUE(m);
  State t{};
  apply_cpu(t, *m);
  EXPECT_FALSE(has_feature(t, Feature::LongMode));
}

// A kernel that finds no machine check architecture complains of it at every boot.
TEST_F(Modes, MachineChecksAreAnnounced) {
  EXPECT_EQ(cpuid(s(), 1, 0).edx & (1u << 7 | 1u << 14), 1u << 7 | 1u << 14);
  ASSERT_TRUE(write_cr(cpu(), 4, kCr4Mce));
  EXPECT_EQ(cpu().cr(4), uint64_t{kCr4Mce});
}

TEST_F(Modes, CpuidLeaves) {
  EXPECT_EQ(cpuid(s(), 0, 0).ebx, 0x756e'6547u);
  EXPECT_EQ(cpuid(s(), 1, 0).eax, 0x106cau) << "a model that guests know not to speculate";
  EXPECT_EQ(cpuid(s(), 1, 0).ecx & 1u << 27, 0u);
  ASSERT_TRUE(write_cr(cpu(), 4, kCr4Osxsave));
  EXPECT_NE(cpuid(s(), 1, 0).ecx & 1u << 27, 0u);
  EXPECT_EQ(cpuid(s(), 0x8000'0001, 0).edx & 1u << 11, 0u) << "SYSCALL is announced in 64-bit mode";
  long_mode_on();
  EXPECT_NE(cpuid(s(), 0x8000'0001, 0).edx & 1u << 11, 0u);
  EXPECT_EQ(cpuid(s(), 0x15, 0).ecx, kTscHz);
  EXPECT_EQ(cpuid(s(), 0x4000'0000, 0).ebx, 0u);
}

TEST_F(Modes, CpuidOfTheExtendedState) {
  EXPECT_EQ(cpuid(s(), 0xd, 0).eax, 7u);
  EXPECT_EQ(cpuid(s(), 0xd, 0).ebx, 576u);
  EXPECT_EQ(cpuid(s(), 0xd, 0).ecx, 832u);
  EXPECT_EQ(cpuid(s(), 0xd, 2).eax, 256u);
  EXPECT_EQ(cpuid(s(), 0xd, 2).ebx, 576u);
  EXPECT_EQ(cpuid(s(), 0xd, 3).eax, 0u);
  s().xcr0 = 7;
  EXPECT_EQ(cpuid(s(), 0xd, 0).ebx, 832u);
  EXPECT_EQ(cpuid(s(), 0xd, 1).ebx, 832u);
  apply_cpu(s(), *parse_cpu("max,-avx", true));
  s().xcr0 = 3;
  EXPECT_EQ(cpuid(s(), 0xd, 0).eax, 3u);
  EXPECT_EQ(cpuid(s(), 0xd, 0).ecx, 576u);
  EXPECT_EQ(cpuid(s(), 0xd, 2).eax, 0u);
  for (const Feature f : {Feature::Avx, Feature::Avx2, Feature::Fma, Feature::F16c}) EXPECT_FALSE(has_feature(s(), f));
}

TEST_F(Modes, SavedStateIsCanonicalAndChecked) {
  long_mode_on();
  s().cc_op = kCcSub + 3;
  s().cc_dst = 0;
  s().cc_src = 5;
  const std::string lazy = save_state(s());
  cpu().set_eflags(cpu().eflags());
  s().cc_dst = 12345;  // unused now
  EXPECT_EQ(save_state(s()), lazy);
  cpu().set_reg(R_R15, 77);
  s().xmm_regs[15]._q_ZMMReg[1] = 99;
  const std::string without_upper_halves = save_state(s());
  s().xmm_regs[15]._q_ZMMReg[3] = 99;
  EXPECT_NE(save_state(s()), without_upper_halves);
  const std::string saved = save_state(s());
  EXPECT_NE(saved, lazy);
  const uint64_t hflags = s().hflags;
  reset(cpu());
  ASSERT_TRUE(load_state(s(), saved));
  EXPECT_EQ(save_state(s()), saved);
  EXPECT_EQ(s().hflags, hflags);
  EXPECT_EQ(s().env_ptr, state_);
  const std::string before = save_state(s());
  for (size_t size = 0; size < saved.size(); size += 7) EXPECT_FALSE(load_state(s(), saved.substr(0, size)));
  EXPECT_FALSE(load_state(s(), saved + "x"));
  std::string bad = saved;
  bad[0] = 'Q';
  EXPECT_FALSE(load_state(s(), bad));
  EXPECT_EQ(save_state(s()), before);
  boot(false);
  EXPECT_FALSE(load_state(s(), saved)) << "of the other target";
}

TEST_F(Modes, DescribeRegisters) {
  long_mode_on();
  cpu().set_reg(R_EAX, 0x1234);
  const std::string text = describe_registers(s());
  EXPECT_NE(text.find("RAX=0000000000001234"), std::string::npos) << text;
  EXPECT_NE(text.find("CS64"), std::string::npos);
  EXPECT_NE(text.find("CPL=0"), std::string::npos);
}

}  // namespace
}  // namespace panda::x86
