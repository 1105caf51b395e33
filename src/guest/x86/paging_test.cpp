#include "guest/x86/system_test_fixture.h"

namespace panda::x86 {
namespace {

class Paging : public SystemTest {
 protected:
  bool translate(uint64_t address, Access access, MmuMode mode, bool probe = false) {
    return walk(cpu(), address, access, mode, probe, t_);
  }
  int fault_code() {
    const Fault f = take_fault();
    EXPECT_EQ(f.vector, kPF);
    return f.code;
  }
  Translation t_;
};

TEST_F(Paging, Legacy32BitPermissionsAndBits) {
  flat32();
  put<uint32_t>(0x100000, 0x101000 | 7);
  put<uint32_t>(0x101000 + 4 * 4, 0x5000 | 5);  // 0x4000: user, read-only
  put<uint32_t>(0x101000 + 5 * 4, 0x6000 | 3);  // 0x5000: supervisor, writable
  put<uint32_t>(0x100004, 0x00400000 | 0x83);   // 4 MiB at 0x400000
  ASSERT_TRUE(write_cr(cpu(), 4, kCr4Pse));
  ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
  put<uint32_t>(0x101000, 3);
  s().cr64[0] |= kCr0Pg;  // the page tables below do not map the test's GDT
  update_hflags(cpu());

  ASSERT_TRUE(translate(0x4123, Access::Read, kMmuUser));
  EXPECT_EQ(t_.phys, 0x5000u);
  EXPECT_TRUE(t_.readable);
  EXPECT_FALSE(t_.writable);
  EXPECT_EQ(peek(0x101000 + 16), 0x5000u | 5 | 0x20) << "accessed, not dirty";
  EXPECT_EQ(peek(0x100000) & 0x60, 0x20u);

  EXPECT_FALSE(translate(0x4abc, Access::Write, kMmuUser));
  EXPECT_EQ(s().cr2_pending_, 0x4abcu);
  EXPECT_EQ(fault_code(), 7);
  EXPECT_EQ(peek(0x101000 + 16) & 0x40, 0u) << "a refused write leaves D clear";
  ASSERT_TRUE(translate(0x4abc, Access::Write, kMmuKernelNoSmap)) << "WP is off";
  EXPECT_NE(peek(0x101000 + 16) & 0x40, 0u);
  s().cr64[0] |= kCr0Wp;
  EXPECT_FALSE(translate(0x4abc, Access::Write, kMmuKernelNoSmap));
  EXPECT_EQ(fault_code(), 3);

  ASSERT_TRUE(translate(0x5000, Access::Read, kMmuKernelNoSmap));
  EXPECT_FALSE(t_.writable) << "clean: the first write must set D";
  ASSERT_TRUE(translate(0x5000, Access::Write, kMmuKernelNoSmap));
  EXPECT_TRUE(t_.writable);
  EXPECT_FALSE(translate(0x5000, Access::Read, kMmuUser));
  EXPECT_EQ(fault_code(), 5);
  EXPECT_FALSE(translate(0x9000, Access::Read, kMmuUser));
  EXPECT_EQ(fault_code(), 4);

  ASSERT_TRUE(translate(0x412345, Access::Read, kMmuKernelNoSmap));
  EXPECT_EQ(t_.phys, 0x412000u);
  put<uint32_t>(0x100004, 0x00600000 | 0x83);  // bit 21 of a 4 MiB entry is reserved
  EXPECT_FALSE(translate(0x412345, Access::Read, kMmuKernelNoSmap));
  EXPECT_EQ(fault_code(), 9);
}

TEST_F(Paging, ProbeHasNoEffect) {
  long_mode_on();
  put<uint64_t>(0x102000 + 8, uint64_t{1} << 21 | 0x87);
  ASSERT_TRUE(translate(0x212345, Access::Write, kMmuKernelNoSmap, true));
  EXPECT_EQ(peek<uint64_t>(0x102008) & 0x60, 0u);
  EXPECT_FALSE(translate(0x80000000, Access::Read, kMmuKernelNoSmap, true));
  EXPECT_EQ(s().exception_index, -1);
  EXPECT_EQ(context_->exit_request, 0u);
}

TEST_F(Paging, LongModeNxSmepSmapReservedCanonical) {
  long_mode_on();
  put<uint64_t>(0x102000 + 8, uint64_t{1} << 63 | uint64_t{1} << 21 | 0x87);  // 0x200000: user, NX
  EXPECT_FALSE(translate(0x200000, Access::Fetch, kMmuUser));
  EXPECT_EQ(fault_code(), 0x15);
  ASSERT_TRUE(translate(0x200000, Access::Read, kMmuUser));

  put<uint64_t>(0x102000 + 8, uint64_t{1} << 21 | 0x87);
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) & ~uint64_t{kCr4Smep | kCr4Smap}));
  ASSERT_TRUE(translate(0x200000, Access::Fetch, kMmuKernel));
  s().cr64[4] |= kCr4Smep | kCr4Smap;
  EXPECT_FALSE(translate(0x200000, Access::Fetch, kMmuKernel));
  EXPECT_EQ(fault_code(), 0x11);
  EXPECT_FALSE(translate(0x200000, Access::Read, kMmuKernel));
  EXPECT_EQ(fault_code(), 1);
  ASSERT_TRUE(translate(0x200000, Access::Write, kMmuKernelNoSmap)) << "AC is set";

  put<uint64_t>(0x102000 + 16, uint64_t{2} << 21 | 0x2000 | 0x87);  // bit 13 of a 2 MiB entry
  EXPECT_FALSE(translate(0x400000, Access::Read, kMmuUser));
  EXPECT_EQ(fault_code(), 0xd);
  put<uint64_t>(0x102000 + 16, uint64_t{1} << 45 | 0x87);  // beyond MAXPHYADDR
  EXPECT_FALSE(translate(0x400000, Access::Read, kMmuUser));
  EXPECT_EQ(fault_code(), 0xd);
  put<uint64_t>(0x101000 + 8, uint64_t{1} << 30 | 0x87);  // 1 GiB
  ASSERT_TRUE(translate(0x7654'3210, Access::Read, kMmuUser));
  EXPECT_EQ(t_.phys, 0x7654'3000u);

  EXPECT_FALSE(translate(uint64_t{1} << 47, Access::Read, kMmuUser));
  const Fault f = take_fault();
  EXPECT_EQ(f.vector, kGP);
  EXPECT_EQ(f.code, 0);
}

TEST_F(Paging, PaeUsesPdptesAsLoadedWithCr3) {
  flat32();
  put<uint64_t>(0x100000, 0x101000 | 1);
  put<uint64_t>(0x101000, 0x83);  // 2 MiB at 0
  ASSERT_TRUE(write_cr(cpu(), 4, kCr4Pae));
  ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
  ASSERT_TRUE(write_cr(cpu(), 0, cpu().cr(0) | kCr0Pg));
  EXPECT_EQ(s().efer & kEferLma, 0u);
  ASSERT_TRUE(translate(0x123456, Access::Read, kMmuKernelNoSmap));
  put<uint64_t>(0x100000, 0);  // not seen until CR3 is loaded
  ASSERT_TRUE(translate(0x123456, Access::Read, kMmuKernelNoSmap));
  put<uint64_t>(0x100000, 0x101000 | 3);  // a reserved bit
  EXPECT_FALSE(write_cr(cpu(), 3, 0x100000));
  EXPECT_EQ(take_fault().vector, kGP);
}

TEST_F(Paging, A20MasksPhysicalAddresses) {
  s().a20_mask = ~(1 << 20);
  ASSERT_TRUE(translate(0x101234, Access::Read, kMmuKernelNoSmap));
  EXPECT_EQ(t_.phys, 0x1000u);
}

TEST_F(Paging, InvlpgDropsWholeLargePages) {
  long_mode_on();
  uint32_t v = 0;
  put<uint32_t>(0x201000, 0x11111111);
  put<uint32_t>(0x401000, 0x22222222);
  ASSERT_TRUE(read_linear(cpu(), 0x201000, kMmuKernelNoSmap, v));
  put<uint64_t>(0x102000 + 8, uint64_t{2} << 21 | 0x87);
  invalidate_page(cpu(), 0x3ff000);  // another 4 KiB of the same 2 MiB
  ASSERT_TRUE(read_linear(cpu(), 0x201000, kMmuKernelNoSmap, v));
  EXPECT_EQ(v, 0x22222222u);
}

// What CR3 loads, INVPCID and INVLPG drop and keep.
class Retention : public Paging {
 protected:
  static constexpr uint64_t kGlobal = 0x800000, kLocal = 0x801000, kTable = 0x103000, kOtherRoot = 0x110000;
  void SetUp() override {
    Paging::SetUp();
    long_mode_on();
    put<uint64_t>(0x102000 + 4 * 8, kTable | 7);
    map(0x201, 0x202);
    // The other address space maps the test's low memory alike and nothing at kGlobal and kLocal.
    put<uint64_t>(kOtherRoot, 0x111000 | 7);
    put<uint64_t>(0x111000, 0x112000 | 7);
    for (unsigned i = 0; i < 4; i++) put<uint64_t>(0x112000 + i * 8, uint64_t{i} << 21 | 0x87);
    put<uint32_t>(0x201000, 0x11111111);
    put<uint32_t>(0x202000, 0x22222222);
    put<uint32_t>(0x301000, 0x33333333);
    put<uint32_t>(0x302000, 0x44444444);
  }
  void map(uint64_t global_frame, uint64_t local_frame) {
    put<uint64_t>(kTable, global_frame << 12 | 0x107);
    put<uint64_t>(kTable + 8, local_frame << 12 | 7);
  }
  uint32_t read(uint64_t address) {
    uint32_t v = 0;
    EXPECT_TRUE(read_linear(cpu(), address, kMmuKernelNoSmap, v));
    return v;
  }
  void touch_then_move() {
    map(0x201, 0x202);
    ASSERT_TRUE(write_cr(cpu(), 3, cpu().cr(3)));
    flush_translations(cpu());
    EXPECT_EQ(read(kGlobal), 0x11111111u);
    EXPECT_EQ(read(kLocal), 0x22222222u);
    map(0x301, 0x302);
    EXPECT_EQ(read(kGlobal), 0x11111111u) << "stale until something is flushed";
    EXPECT_EQ(read(kLocal), 0x22222222u);
  }
};

TEST_F(Retention, LoadingCr3KeepsGlobalPages) {
  touch_then_move();
  ASSERT_TRUE(write_cr(cpu(), 3, kOtherRoot));
  EXPECT_EQ(read(kGlobal), 0x11111111u) << "though this address space does not map it";
  EXPECT_FALSE(translate(kLocal, Access::Read, kMmuKernelNoSmap));
  take_fault();
  ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
  EXPECT_EQ(read(kGlobal), 0x11111111u);
  EXPECT_EQ(read(kLocal), 0x44444444u);
}

TEST_F(Retention, WithoutPgeNothingIsGlobal) {
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) & ~uint64_t{kCr4Pge}));
  touch_then_move();
  ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
  EXPECT_EQ(read(kGlobal), 0x33333333u);
}

TEST_F(Retention, ChangingPgeDropsGlobalPages) {
  touch_then_move();
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) & ~uint64_t{kCr4Pge}));
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) | kCr4Pge));
  EXPECT_EQ(read(kGlobal), 0x33333333u);
}

TEST_F(Retention, InvlpgDropsGlobalPages) {
  touch_then_move();
  invalidate_page(cpu(), kGlobal + 0x123);
  EXPECT_EQ(read(kGlobal), 0x33333333u);
}

TEST_F(Retention, InvpcidTypes) {
  touch_then_move();
  ASSERT_TRUE(invalidate_pcid(cpu(), 0, 0, kLocal));
  EXPECT_EQ(read(kLocal), 0x44444444u);
  EXPECT_EQ(read(kGlobal), 0x11111111u);
  touch_then_move();
  ASSERT_TRUE(invalidate_pcid(cpu(), 1, 0, 0));
  EXPECT_EQ(read(kLocal), 0x44444444u);
  EXPECT_EQ(read(kGlobal), 0x11111111u);
  touch_then_move();
  ASSERT_TRUE(invalidate_pcid(cpu(), 3, 0, 0));
  EXPECT_EQ(read(kLocal), 0x44444444u);
  EXPECT_EQ(read(kGlobal), 0x11111111u);
  ASSERT_TRUE(invalidate_pcid(cpu(), 2, 0, 0));
  EXPECT_EQ(read(kGlobal), 0x33333333u);
}

TEST_F(Retention, InvpcidFaults) {
  const auto refused = [this](uint64_t type, uint64_t pcid, uint64_t address) {
    EXPECT_FALSE(invalidate_pcid(cpu(), type, pcid, address)) << type;
    const Fault f = take_fault();
    return f.vector == kGP && f.code == 0;
  };
  EXPECT_TRUE(refused(4, 0, 0));
  EXPECT_TRUE(refused(1, 0x1000, 0));
  EXPECT_TRUE(refused(0, 0, uint64_t{1} << 47));
  EXPECT_TRUE(refused(1, 5, 0)) << "PCIDs are off";
  EXPECT_TRUE(invalidate_pcid(cpu(), 2, 5, 0));
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) | kCr4Pcide));
  EXPECT_TRUE(invalidate_pcid(cpu(), 1, 5, 0));
}

TEST_F(Retention, Pcids) {
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) | kCr4Pcide));
  touch_then_move();
  ASSERT_TRUE(write_cr(cpu(), 3, uint64_t{1} << 63 | kOtherRoot | 5)) << "a PCID, and keep its translations";
  EXPECT_EQ(cpu().cr(3), kOtherRoot | 5) << "bit 63 is not kept";
  EXPECT_FALSE(translate(kLocal, Access::Read, kMmuKernelNoSmap)) << "PCID 0's translations are not used";
  take_fault();
  EXPECT_EQ(read(kGlobal), 0x11111111u);
  EXPECT_FALSE(write_cr(cpu(), 0, cpu().cr(0) & ~uint64_t{kCr0Pg})) << "paging stays on";
  EXPECT_EQ(take_fault().vector, kGP);
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) & ~uint64_t{kCr4Pcide}));
  EXPECT_FALSE(write_cr(cpu(), 4, cpu().cr(4) | kCr4Pcide)) << "CR3 names a PCID other than 0";
  EXPECT_EQ(take_fault().vector, kGP);
  EXPECT_FALSE(write_cr(cpu(), 3, uint64_t{1} << 63 | kOtherRoot)) << "bit 63 is reserved";
  EXPECT_EQ(take_fault().vector, kGP);
}

TEST_F(Paging, PcidsNeedLongMode) {
  flat32();
  EXPECT_FALSE(write_cr(cpu(), 4, kCr4Pcide));
  EXPECT_EQ(take_fault().vector, kGP);
}

}  // namespace
}  // namespace panda::x86
