// The C++ half of the soft-TLB miss: reads the description that lies before the stub's call, brings
// the guest state up to date, makes the access, puts the result where the code expects it.
#include <array>
#include <bit>
#include <cstring>

#include "backend/x64/frame.h"
#include "backend/x64/report_stub.h"
#include "base/check.h"
#include "base/types.h"
#include "exec/translation_unit.h"
#include "ir/fold.h"
#include "ir/report_call.h"
#include "memory/access.h"
#include "memory/guest_memory.h"

namespace panda::x64 {
namespace {

constexpr size_t kCallBytes = 5;

const void* saved(const SaveArea& save, uint8_t reg) {
  if (reg >= kX87Reg) return save.x87 + 28 + 10 * (reg - kX87Reg);  // FNSAVE's layout: ST(0) first
  return reg < 16 ? static_cast<const void*>(&save.gpr[reg]) : save.xmm[reg - 16];
}

// What the expressions of the lazy slots come to; nothing may have been written yet.
void evaluate(const uint8_t* tokens, uint32_t count, uint8_t* state, const SaveArea& save, uint64_t* results) {
  using Helper = uint64_t (*)(void*, uint64_t, uint64_t, uint64_t, uint64_t);
  std::array<uint64_t, 64> stack{};
  unsigned depth = 0;
  for (uint32_t i = 0; i < count; i++) {
    LazyToken t;
    std::memcpy(&t, tokens + i * sizeof t, sizeof t);
    PANDA_CHECK(depth < stack.size() && depth >= t.nargs);
    depth -= t.nargs;
    uint64_t* a = stack.data() + depth;
    for (unsigned k = t.nargs; k < 4 && depth + k < stack.size(); k++) a[k] = 0;
    uint64_t value = t.imm;
    switch (t.kind) {
      case LazyToken::Register:
        value = save.gpr[t.op];
        break;
      case LazyToken::Constant:
        break;
      case LazyToken::Spill:
        std::memcpy(&value, reinterpret_cast<const uint8_t*>(&save) - kSaveArea + t.imm * 8, 8);
        break;
      case LazyToken::State:
        value = 0;
        std::memcpy(&value, state + t.imm, ir::size_bytes(t.type));
        break;
      case LazyToken::Compute:
        value = *ir::fold_int(static_cast<ir::Op>(t.op), t.type, t.from, a[0], a[1], a[2], t.imm);
        break;
      case LazyToken::Call:
        PANDA_CHECK(depth + 4 <= stack.size());
        value = reinterpret_cast<Helper>(t.imm)(state, a[0], a[1], a[2], a[3]);
        break;
    }
    stack[depth++] = value & ir::mask_of(t.type);
    if (t.last) *results++ = stack[--depth];
  }
}

void write_slots(uint8_t* state, const uint8_t* header, const SlowHeader& h, const SaveArea& save) {
  const uint8_t* slots = header - h.dirty * sizeof(DirtySlot);
  const uint8_t* constant = slots - h.constants * sizeof(uint64_t);
  std::array<uint64_t, kMaxLazySlots> lazy;
  const uint64_t* next_lazy = lazy.data();
  if (h.tokens != 0) evaluate(constant - h.tokens * sizeof(LazyToken), h.tokens, state, save, lazy.data());
  for (unsigned i = 0; i < h.dirty; i++) {
    DirtySlot slot;
    std::memcpy(&slot, slots + i * sizeof slot, sizeof slot);
    if (slot.reg == kConstantReg) {
      std::memcpy(state + slot.offset, constant, slot.size > 8 ? 8 : slot.size);
      if (slot.size == 16) std::memcpy(state + slot.offset + 8, constant, 8);
      constant += sizeof(uint64_t);
    } else if (slot.reg == kLazyReg) {
      std::memcpy(state + slot.offset, next_lazy++, slot.size);
    } else {
      std::memcpy(state + slot.offset, saved(save, slot.reg), slot.size);
    }
  }
}

// Host address of a group's range, if all of it is on one page that may be accessed directly; else 0.
uint64_t range_pointer(VcpuContext& cpu, const SlowHeader& h, uint64_t address) {
  const uint64_t begin = address - h.offset;
  const TlbEntry& e = cpu.tlb[ir::MemInfo::unpack(h.mem_info).mode].at(begin);
  const uint64_t tag = h.pointer_writes ? e.write_tag : e.read_tag;
  const bool on_one_page = ((begin + h.span - 1) & kPageMask) == (begin & kPageMask);
  return on_one_page && tag == (begin & kPageMask) ? e.addend + begin : 0;
}

}  // namespace

SlowHeader write_dirty_slots(void* state, const uint8_t* resume, const SaveArea& save) noexcept {
  const uint8_t* header = resume - kCallBytes - sizeof(SlowHeader);
  SlowHeader h;
  std::memcpy(&h, header, sizeof h);
  write_slots(static_cast<uint8_t*>(state), header, h, save);
  return h;
}

extern "C" uint32_t panda_x64_slow_access(void* state, const uint8_t* resume, SaveArea* save) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  const SlowHeader h = write_dirty_slots(state, resume, *save);
  const uint64_t address = h.address == kFrameAddress ? save->address : save->gpr[h.address];
  if (h.is_store == kCallsThen) {
    const auto& call = *reinterpret_cast<const ir::ReportCall*>(h.constant);
    call.then(state, call, h.unit->insns[h.insn].refund, address);
    for (unsigned m = h.pointers; m != 0; m &= m - 1) save->gpr[std::countr_zero(m)] = 0;
    return 0;
  }
  const uint64_t fills = cpu.memory->fills();
  if (h.is_store != 0) {
    uint64_t value = h.constant;
    if (h.data != kConstantReg) {
      const void* from = saved(*save, h.data);
      if (h.size == 16) {
        std::memcpy(cpu.scratch, from, 16);
      } else {
        value = 0;
        std::memcpy(&value, from, h.size);
      }
    } else if (h.size == 16) {
      cpu.scratch[0] = cpu.scratch[1] = h.constant;
    }
    panda_slow_store(state, address, value, h.size, h.mem_info);
  } else {
    const uint64_t value = panda_slow_load(state, address, h.size, h.mem_info);
    if (cpu.exit_request == 0) {
      if (h.data < 16) {
        save->gpr[h.data] = value;
      } else if (h.size == 16) {
        std::memcpy(save->xmm[h.data - 16], cpu.scratch, 16);
      } else {
        std::memset(save->xmm[h.data - 16], 0, 16);
        std::memcpy(save->xmm[h.data - 16], &value, 8);
      }
    }
  }
  if (cpu.exit_request == 0) {
    if (cpu.memory->fills() != fills) {
      for (unsigned m = h.pointers; m != 0; m &= m - 1) save->gpr[std::countr_zero(m)] = 0;
    }
    if (h.pointer != kNoPointer) save->gpr[h.pointer] = range_pointer(cpu, h, address);
    return 0;
  }
  save->exit_code = pack_exit(exec::Exit::Request, h.insn);
  save->exit_unit = reinterpret_cast<uint64_t>(h.unit);
  return 1;
}

}  // namespace panda::x64
