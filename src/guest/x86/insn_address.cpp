// InsnContext: effective addresses, segmentation, loads and stores.
#include "base/check.h"
#include "guest/x86/decoder.h"
#include "guest/x86/insn_context.h"
#include "guest/x86/integer_helpers.h"

namespace panda::x86 {

namespace {
constexpr uint32_t segment_base(unsigned seg) {
  return static_cast<uint32_t>(offsetof(State, segs) + seg * sizeof(SegmentCache) + offsetof(SegmentCache, base));
}
}  // namespace

// Arithmetic is done at the address size, which truncates for free.
Value InsnContext::effective_address(const ZydisDecodedOperand& op) {
  PANDA_CHECK(op.type == ZYDIS_OPERAND_TYPE_MEMORY);
  const Type type = address_type();
  const uint64_t mask = ir::mask_of(type);
  const auto& mem = op.mem;
  auto displacement = static_cast<uint64_t>(mem.disp.value);
  if (!mem.disp.has_displacement) displacement = 0;
  if (mem.base == ZYDIS_REGISTER_RIP || mem.base == ZYDIS_REGISTER_EIP) {
    return b.konst(type, (next_pc() + displacement) & mask);
  }
  Value sum;
  if (mem.base != ZYDIS_REGISTER_NONE) {
    const unsigned number = general_register(mem.base).number;
    sum = reg(number, type);
    if (number == R_ESP) displacement += stack_adjust;
  }
  if (mem.index != ZYDIS_REGISTER_NONE && mem.type != ZYDIS_MEMOP_TYPE_MIB) {
    Value index = reg(general_register(mem.index).number, type);
    if (mem.scale > 1) {
      const unsigned shift = mem.scale == 2 ? 1 : mem.scale == 4 ? 2 : 3;
      index = b.shift(ir::Op::shl, index, b.i8(shift));
    }
    sum = sum.valid() ? b.add(sum, index) : index;
  }
  displacement &= mask;
  if (!sum.valid()) return b.konst(type, displacement);
  return displacement == 0 ? sum : b.add(sum, b.konst(type, displacement));
}

Memory InsnContext::segment_address(unsigned seg, Value offset, unsigned access_bytes, bool write) {
  if (is64()) {
    Value linear = b.zext(Type::I64, offset);
    if (seg == R_FS || seg == R_GS) linear = b.add(linear, b.get(layout.word(), segment_base(seg)));
    return {linear};
  }
  // FS and GS change with every task: their limits are data, not a mode. CS is a data segment too rarely
  // to be one, and never writable in protected mode.
  const bool bounded = (seg == R_FS || seg == R_GS) && !mode(kModeOddFsGs);
  const bool code = seg == R_CS && mode(kModePe) && !mode(kModeVm);
  if (code || (!bounded && mode(kModeLimits | kModeOddFsGs))) {
    call(kHelperCheckSegment, {b.i32(seg), b.zext(Type::I64, offset), b.i32(access_bytes | (write ? 0x10000u : 0u))});
  }
  if (bounded) {
    const Value base = b.trunc(Type::I32, b.get(layout.word(), segment_base(seg)));
    const Value start = b.zext(Type::I64, offset);
    const Value bound = b.get(Type::I64, static_cast<uint32_t>(offsetof(State, segment_bounds_) + (seg - R_FS) * 8));
    const Value beyond = b.icmp(ir::Cond::Ugt, b.add(start, b.i64(access_bytes)), bound);
    return {b.select(beyond, b.i64(kBeyondLimit), b.zext(Type::I64, b.add(b.zext(Type::I32, offset), base)))};
  }
  const bool based = seg == R_FS || seg == R_GS || seg == R_CS || mode(kModeAddSeg);  // FS, GS: odd ones
  if (!based) return {b.zext(Type::I64, offset)};
  const Value base = b.trunc(Type::I32, b.get(layout.word(), segment_base(seg)));
  return {b.zext(Type::I64, b.add(b.zext(Type::I32, offset), base))};
}

Memory InsnContext::address(const ZydisDecodedOperand& op, unsigned access_bytes, bool write_access) {
  const ZydisRegister segment = op.mem.segment;
  const unsigned seg = segment == ZYDIS_REGISTER_NONE ? unsigned{R_DS} : segment_register(segment);
  return segment_address(seg, effective_address(op), access_bytes, write_access);
}

ir::MemInfo InsnContext::mem_info(Type type, bool for_write, unsigned align) const {
  const unsigned bytes = ir::size_bytes(type);
  const bool strict = align != 0;
  if (!strict && mode(kModeAc) && bytes > 1) align = bytes;
  return {.mode = mmu_mode(flags()), .for_write = for_write, .align = static_cast<uint8_t>(align), .strict = strict};
}

Value InsnContext::load(const Memory& m, Type type, bool for_write, unsigned align) {
  return b.load(type, m.linear, mem_info(type, for_write, align));
}

void InsnContext::store(const Memory& m, Value v, unsigned align) {
  b.store(m.linear, v, mem_info(v.type, false, align));
}

std::array<Value, 2> InsnContext::load(const Memory& low, Type low_type, const Memory& high, Type high_type,
                                       bool for_write, unsigned align) {
  return b.load_parts({low_type, high_type}, low.linear, high.linear, mem_info(low_type, for_write, align),
                      mem_info(high_type, for_write, 0));
}

void InsnContext::store(const Memory& low, Value low_data, const Memory& high, Value high_data, unsigned align) {
  b.store_parts(low.linear, low_data, high.linear, high_data, mem_info(low_data.type, false, align),
                mem_info(high_data.type, false, 0));
}

}  // namespace panda::x86
