// The C++ half of the soft-TLB miss: reads the description that lies before the stub's call, brings
// the guest state up to date, makes the access, puts the result where the code expects it.
#include <cstring>

#include "backend/x64/frame.h"
#include "memory/access.h"

namespace panda::x64 {
namespace {

constexpr size_t kCallBytes = 5;

const void* saved(const SaveArea& save, uint8_t reg) {
  return reg < 16 ? static_cast<const void*>(&save.gpr[reg]) : save.xmm[reg - 16];
}

void write_dirty_slots(uint8_t* state, const uint8_t* header, const SlowHeader& h, const SaveArea& save) {
  const uint8_t* slots = header - h.dirty * sizeof(DirtySlot);
  const uint8_t* constant = slots - h.constants * sizeof(uint64_t);
  for (unsigned i = 0; i < h.dirty; i++) {
    DirtySlot slot;
    std::memcpy(&slot, slots + i * sizeof slot, sizeof slot);
    if (slot.reg == kConstantReg) {
      std::memcpy(state + slot.offset, constant, slot.size > 8 ? 8 : slot.size);
      if (slot.size == 16) std::memcpy(state + slot.offset + 8, constant, 8);
      constant += sizeof(uint64_t);
    } else {
      std::memcpy(state + slot.offset, saved(save, slot.reg), slot.size);
    }
  }
}

}  // namespace

extern "C" uint32_t panda_x64_slow_access(void* state, const uint8_t* resume, SaveArea* save) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  const uint8_t* header = resume - kCallBytes - sizeof(SlowHeader);
  SlowHeader h;
  std::memcpy(&h, header, sizeof h);
  write_dirty_slots(static_cast<uint8_t*>(state), header, h, *save);
  const uint64_t address = save->gpr[h.address];
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
  if (cpu.exit_request == 0) return 0;
  save->exit_code = pack_exit(exec::Exit::Request, h.insn);
  save->exit_unit = reinterpret_cast<uint64_t>(h.unit);
  return 1;
}

}  // namespace panda::x64
