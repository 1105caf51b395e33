// The C++ half of the slow path while values lie on the host's x87 stack, and of accesses whose data
// the x87 itself moves. FNSAVE has left the whole x87 in SaveArea::x87, and the host's as C++ wants it.
#include <bit>
#include <cstring>

#include "backend/x64/frame.h"
#include "exec/translation_unit.h"
#include "ir/helper.h"
#include "ir/opcode.h"
#include "memory/access.h"
#include "memory/guest_memory.h"

namespace panda::x64 {
namespace {

constexpr size_t kControlAt = 0, kStatusAt = 4, kRegistersAt = 28, kRegisterBytes = 10;

uint16_t word_at(const uint8_t* at) {
  uint16_t v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

// What the store of an F80 puts into memory: the host does it, as it will again once the access is known
// to be possible, when its flags count.
void convert(const uint8_t* value, uint16_t control, ir::F80Format format, uint8_t (&out)[16]) {
#define PANDA_STORE(insn)                                                                            \
  __asm__ volatile("fldt %[v]\n fldcw %[control]\n " insn " %[out]\n fninit\n"                       \
                   : [out] "+m"(out)                                                                 \
                   : [v] "m"(*reinterpret_cast<const uint8_t(*)[10]>(value)), [control] "m"(control) \
                   : "st", "memory")
  switch (format) {
    case ir::F80Format::F32:
      PANDA_STORE("fstps");
      break;
    case ir::F80Format::F64:
      PANDA_STORE("fstpl");
      break;
    case ir::F80Format::F80:
      PANDA_STORE("fstpt");
      break;
    case ir::F80Format::I16:
      PANDA_STORE("fistps");
      break;
    case ir::F80Format::I32:
      PANDA_STORE("fistpl");
      break;
    case ir::F80Format::I64:
      PANDA_STORE("fistpll");
      break;
    case ir::F80Format::I16Trunc:
      PANDA_STORE("fisttps");
      break;
    case ir::F80Format::I32Trunc:
      PANDA_STORE("fisttpl");
      break;
    case ir::F80Format::I64Trunc:
      PANDA_STORE("fisttpll");
      break;
  }
#undef PANDA_STORE
}

}  // namespace

extern "C" uint32_t panda_x64_slow_x87(void* state, const uint8_t* resume, SaveArea* save) noexcept {
  const X87Access x87 = save->x87_access;
  if (x87.taken != 0 || x87.replaced != 0) {
    uint8_t* at = static_cast<uint8_t*>(state) + x87.status;
    const auto status =
        static_cast<uint16_t>((word_at(at) & ~x87.replaced) | (word_at(save->x87 + kStatusAt) & x87.taken));
    std::memcpy(at, &status, sizeof status);
  }
  if (x87.kind == X87Access::Plain) return panda_x64_slow_access(state, resume, save);

  VcpuContext& cpu = VcpuContext::of(state);
  const SlowHeader h = write_dirty_slots(state, resume, *save);
  const uint64_t address = save->gpr[h.address & 15];
  const ir::MemInfo info = ir::MemInfo::unpack(h.mem_info);
  const uint64_t fills = cpu.memory->fills();
  uint8_t data[16] = {};
  if (x87.kind == X87Access::Guard) {
    reinterpret_cast<ir::GuardFailed>(h.constant)(state, h.unit->insns[h.insn].pc);
  } else if (x87.kind == X87Access::Load) {
    load_unreported(cpu, address, h.size, info, data);
  } else {
    convert(save->x87 + kRegistersAt + x87.st * kRegisterBytes, word_at(save->x87 + kControlAt),
            static_cast<ir::F80Format>(x87.format), data);
    store_unreported(cpu, address, h.size, info, data);
  }
  if (cpu.exit_request == 0) {
    if (cpu.memory->fills() != fills) {  // the pointers of access groups, as in panda_x64_slow_access
      for (unsigned m = h.pointers; m != 0; m &= m - 1) save->gpr[std::countr_zero(m)] = 0;
    }
    std::memcpy(cpu.scratch, data, sizeof data);
    save->gpr[h.data] = reinterpret_cast<uint64_t>(cpu.scratch);
    return 0;
  }
  save->exit_code = pack_exit(exec::Exit::Request, h.insn);
  save->exit_unit = reinterpret_cast<uint64_t>(h.unit);
  return 1;
}

}  // namespace panda::x64
