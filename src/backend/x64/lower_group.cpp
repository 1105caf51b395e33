// Accesses that share one TLB check (access_groups.h): the check, and out of line each access by itself.
#include <bit>

#include "backend/x64/lower.h"

namespace panda::x64 {

// Is there a pointer, or does it pay to make one?
bool Lowering::shares_check(const AccessGroup& group) const {
  return ra_.has_pointer(groups_.number_of(index_)) || group.members > 1;
}

void Lowering::add_displacement(int to, int from, int64_t displacement, bool narrow) {
  const auto d = static_cast<int>(displacement);
  if (narrow) {
    d == 0 ? c_.mov(reg32(to), reg32(from)) : c_.lea(reg32(to), c_.ptr[reg64(from) + d]);
  } else {
    d == 0 ? c_.mov(reg64(to), reg64(from)) : c_.lea(reg64(to), c_.ptr[reg64(from) + d]);
  }
}

// Makes sure of the pointer and returns where the access goes; `data` is the register that it loads or
// stores. The code that follows is the access, and then end_shared().
Xbyak::RegExp Lowering::begin_shared(const Inst& in, AccessGroup& group, int data, uint64_t constant) {
  const uint16_t number = groups_.number_of(index_);
  const ir::MemInfo info = ir::MemInfo::unpack(in.imm);
  const bool into_gpr = in.op == ir::Op::load && ir::is_int(in.type);
  const auto offset = static_cast<int>(groups_.displacement(index_) - group.first);
  ColdAccess cold{};
  cold.op = index_;
  cold.data = data;
  cold.constant = constant;
  cold.displacement = groups_.displacement(index_);
  cold.narrow = group.narrow;
  // Registers that the out-of-line access must leave alone, and that nobody needs there.
  uint32_t taken = 0, spare = 0;
  if (data < 16) (into_gpr ? spare : taken) |= 1u << data;
  int p = ra_.pointer(number);
  if (p >= 0) {
    ra_.touch(group.root);
    cold.root = ra_.location(group.root);
    if (cold.root.reg >= 0) taken |= 1u << cold.root.reg;
    slow_stub(in, ir::size_bytes(in.type), kFrameAddress, data, constant);
    c_.test(reg64(p), reg64(p));
    cold.jump = c_.jcc_forward(Cc::E);
  } else {
    const int root = ra_.use(group.root);
    p = ra_.new_pointer(number);
    cold.first = true;
    const int entry = ra_.scratch();
    const int last = into_gpr ? data : ra_.scratch();
    spare |= 1u << entry | 1u << last;
    cold.displacement = offset;
    slow_stub(in, ir::size_bytes(in.type), kFrameAddress, data, constant);
    const size_t tag = group.write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag);
    add_displacement(p, root, group.first, group.narrow);
    tlb_index(c_, entry, p);
    c_.lea(reg64(last), c_.ptr[reg64(p) + static_cast<int>(group.span - 1)]);
    c_.and_(reg64(last), 0xfffff000);
    c_.cmp(reg64(last), c_.qword[c_.rbp + reg64(entry) + tlb_field(info.mode, tag)]);
    cold.jump = c_.jcc_forward(Cc::Ne);
    if (chains_.holds(index_)) {
      load_addend(last, entry, info.mode);
      c_.add(reg64(p), reg64(last));
    } else {
      c_.add(reg64(p), c_.qword[c_.rbp + reg64(entry) + tlb_field(info.mode, offsetof(TlbEntry, addend))]);
    }
  }
  taken |= 1u << p;
  cold.address = ra_.cold_scratch(taken, spare & ~taken, &cold.saves_address);
  cold.pointer = p;
  cold.slow_stub = static_cast<uint32_t>(slow_stubs_.size() - 1);
  SlowHeader& header = slow_stubs_.back().header;
  header.pointer = static_cast<uint8_t>(p);
  header.pointer_writes = group.write;
  header.offset = static_cast<uint16_t>(offset);
  header.span = static_cast<uint16_t>(group.span);
  cold_accesses_.push_back(cold);
  return reg64(p) + offset;
}

void Lowering::end_shared(AccessGroup& group) {
  slow_stubs_[cold_accesses_.back().slow_stub].resume = c_.here();
  group.members--;
  if (group.last == index_) ra_.drop_pointer(cold_accesses_.back().pointer);
}

// The access without the pointer: by a lookup thunk, and behind that the slow stub, for which all
// registers are as in the hot code and the address is in the frame.
void Lowering::emit_cold_accesses() {
  const Xbyak::Address borrowed = c_.qword[c_.rsp + (kSaveArea + static_cast<int>(offsetof(SaveArea, borrowed)))];
  for (const ColdAccess& cold : cold_accesses_) {
    SlowStub& stub = slow_stubs_[cold.slow_stub];
    const Inst& in = unit_->insts[cold.op];
    const ir::MemInfo info = ir::MemInfo::unpack(in.imm);
    const bool is_load = in.op == ir::Op::load;
    const int address = cold.address;
    c_.patch(cold.jump, c_.here());
    if (cold.saves_address) c_.mov(borrowed, reg64(address));
    if (cold.first) {  // the pointer is the range's guest address as yet
      add_displacement(address, cold.pointer, cold.displacement, cold.narrow);
      c_.xor_(reg32(cold.pointer), reg32(cold.pointer));
    } else if (cold.root.reg >= 0) {
      add_displacement(address, cold.root.reg, cold.displacement, cold.narrow);
    } else {
      const Xbyak::RegExp at = (cold.root.in_frame ? c_.rsp : c_.rbp) + cold.root.offset;
      cold.narrow ? c_.mov(reg32(address), c_.dword[at]) : c_.mov(reg64(address), c_.qword[at]);
      if (cold.displacement != 0) add_displacement(address, address, cold.displacement, cold.narrow);
    }
    const auto size = static_cast<unsigned>(std::countr_zero(ir::size_bytes(in.type)));
    c_.call_offset(thunks_.lookup[info.mode][!is_load || info.for_write][size][address]);
    stub.jumps[0] = c_.jcc_forward(Cc::Ne);
    if (is_load) {
      emit_load(in.type, cold.data, reg64(address));
    } else {
      emit_store(in.type, cold.data, cold.constant, reg64(address));
    }
    if (cold.saves_address) c_.mov(reg64(address), borrowed);
    c_.patch(c_.jmp_forward(), stub.resume);
  }
}

}  // namespace panda::x64
