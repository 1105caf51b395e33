// A CPU with its context and a few MiB of RAM, for tests of the system architecture without an engine.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "base/virtual_clock.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/state_io.h"
#include "guest/x86/system.h"
#include "memory/guest_memory.h"

namespace panda::x86 {

class TestMmu final : public Mmu {
 public:
  bool translate(VcpuContext& c, uint64_t address, Access access, unsigned mode, bool probe,
                 Translation& out) noexcept override {
    return walk(Cpu(c), address, access, static_cast<MmuMode>(mode), probe, out);
  }
  void misaligned(VcpuContext& c, uint64_t, Access) noexcept override { raise(Cpu(c), kAC, uint16_t{0}); }
};

class SystemTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kRam = 8 << 20;
  static constexpr uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kHandler = 0x5000;
  // Selectors of the GDT that flat32() makes.
  static constexpr uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kTssSel = 0x28;

  void SetUp() override { boot(true); }
  void boot(bool is64) {
    memory_ = std::move(*GuestMemory::create(kRam, {{0, kRam, 0}}));
    memory_->set_mmu(&mmu_);
    storage_.reset(std::aligned_alloc(64, (sizeof(VcpuContext) + sizeof(State) + 63) / 64 * 64));
    context_ = new (storage_.get()) VcpuContext;
    state_ = new (context_->state()) State{};
    context_->clock = &clock_;
    memory_->attach(*context_);
    state_->is_64bit_target = is64 ? 1 : 0;
    state_->env_ptr = state_;
    apply_cpu(*state_, *parse_cpu(is64 ? "max" : "qemu32", is64));
    reset(cpu());
  }
  Cpu cpu() { return Cpu(*state_); }
  State& s() { return *state_; }

  template <typename T>
  void put(uint64_t at, T v) {
    memory_->write(GuestPhysAddr(at), &v, sizeof v);
  }
  template <typename T = uint32_t>
  T peek(uint64_t at) {
    T v{};
    memory_->read(GuestPhysAddr(at), &v, sizeof v);
    return v;
  }
  // The pending fault, taken back.
  struct Fault {
    int vector;
    int code;
  };
  Fault take_fault() {
    const Fault f{s().exception_index, s().error_code};
    s().exception_index = -1;
    context_->request(ExitRequest::None);
    return f;
  }

  void put_descriptor(uint64_t table, unsigned index, uint32_t base, uint32_t limit, uint32_t flags) {
    put(table + index * 8, (limit & 0xffff) | base << 16);
    put(table + index * 8 + 4, (base & 0xff00'0000) | (base >> 16 & 0xff) | (limit & 0xf0000) | flags);
  }
  void put_gate(unsigned vector, uint16_t selector, uint32_t offset, unsigned type, unsigned dpl) {
    put(kIdt + vector * 8, (offset & 0xffff) | uint32_t{selector} << 16);
    put(kIdt + vector * 8 + 4, (offset & 0xffff'0000) | 0x8000 | dpl << 13 | type << 8);
  }
  void put_gate64(unsigned vector, uint16_t selector, uint64_t offset, unsigned type, unsigned dpl, unsigned ist) {
    put(kIdt + vector * 16, static_cast<uint32_t>((offset & 0xffff) | uint64_t{selector} << 16));
    put(kIdt + vector * 16 + 4, static_cast<uint32_t>((offset & 0xffff'0000) | 0x8000 | dpl << 13 | type << 8 | ist));
    put(kIdt + vector * 16 + 8, offset >> 32);
  }

  // 32-bit protected mode, flat segments of rings 0 and 3, a TSS with SS0:ESP0 = kData0:0x8000.
  void flat32() {
    put_descriptor(kGdt, 1, 0, 0xfffff, 0x00c0'9a00);
    put_descriptor(kGdt, 2, 0, 0xfffff, 0x00c0'9200);
    put_descriptor(kGdt, 3, 0, 0xfffff, 0x00c0'fa00);
    put_descriptor(kGdt, 4, 0, 0xfffff, 0x00c0'f200);
    put_descriptor(kGdt, 5, kTss, 0x67, 0x0000'8900);
    s().gdt.base = kGdt;
    s().gdt.limit = 0x7f;
    s().idt.base = kIdt;
    s().idt.limit = 0x7ff;
    put<uint32_t>(kTss + 4, 0x8000);
    put<uint32_t>(kTss + 8, kData0);
    ASSERT_TRUE(write_cr(cpu(), 0, kCr0Pe | kCr0Et));
    ASSERT_TRUE(far_jump(cpu(), kCode0, 0x4000, 4, 0));
    for (const unsigned seg : {unsigned{R_SS}, unsigned{R_DS}, unsigned{R_ES}}) {
      ASSERT_TRUE(load_segment(cpu(), seg, kData0));
    }
    ASSERT_TRUE(load_task_register(cpu(), kTssSel));
    update_hflags(cpu());
    cpu().set_reg(R_ESP, 0x7000);
  }
  // Ring 3 by IRET.
  void to_ring3(uint32_t eip, uint32_t esp, uint32_t eflags) {
    const uint32_t frame[] = {eip, kCode3, eflags, esp, kData3};
    cpu().set_reg(R_ESP, 0x7000);
    memory_->write(GuestPhysAddr(0x7000), frame, sizeof frame);
    ASSERT_TRUE(interrupt_return(cpu(), 4, 0));
    ASSERT_EQ(cpu().cpl(), 3u);
  }
  // 64-bit mode: 2 MiB identity mapping at CR3 = 0x100000; kCode0 64-bit, user segments as Linux has them.
  void long_mode_on() {
    flat32();
    put_descriptor(kGdt, 6, 0, 0xfffff, 0x00a0'9a00);  // 0x30: 64-bit ring 0
    put_descriptor(kGdt, 7, 0, 0xfffff, 0x00a0'fa00);  // 0x3b: 64-bit ring 3
    put<uint64_t>(0x100000, 0x101000 | 7);
    put<uint64_t>(0x101000, 0x102000 | 7);
    for (unsigned i = 0; i < 4; i++) put<uint64_t>(0x102000 + i * 8, uint64_t{i} << 21 | 0x87);
    ASSERT_TRUE(write_cr(cpu(), 4, kCr4Pae | kCr4Pge));
    ASSERT_TRUE(write_efer(cpu(), kEferLme | kEferNxe | kEferSce));
    ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
    ASSERT_TRUE(write_cr(cpu(), 0, cpu().cr(0) | kCr0Pg | kCr0Wp));
    ASSERT_NE(s().efer & kEferLma, 0u);
    ASSERT_TRUE(far_jump(cpu(), 0x30, 0x4000, 4, 0));
    ASSERT_NE(s().hflags & kModeCs64, 0u);
    put_descriptor(kGdt, 8, kTss, 0x67, 0x0000'8900);  // 0x40: 64-bit TSS
    put<uint64_t>(kGdt + 0x48, 0);
    ASSERT_TRUE(load_task_register(cpu(), 0x40));
    put<uint64_t>(kTss + 4, 0x9008);     // RSP0
    put<uint64_t>(kTss + 0x24, 0xa008);  // IST1
    s().idt.limit = 0xfff;
  }

  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  TestMmu mmu_;
  VirtualClock clock_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<void, Free> storage_;
  VcpuContext* context_ = nullptr;
  State* state_ = nullptr;
};

}  // namespace panda::x86
