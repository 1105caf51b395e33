// Guest loads and stores: the inline soft-TLB hit, and the description that the slow path reads.
#include <cstring>

#include "backend/x64/lower.h"
#include "base/check.h"
#include "base/types.h"

namespace panda::x64 {

using ir::Type;

void tlb_index(Assembler& c, int to, int address) {
  constexpr unsigned kShift = 12 - kTlbEntryBits;
  if (c.features.bmi2) {
    c.rorx(reg64(to), reg64(address), kShift);  // what is rotated in at the top is masked away
  } else {
    c.mov(reg64(to), reg64(address));
    c.shr(reg64(to), static_cast<int>(kShift));
  }
  c.and_(reg32(to), static_cast<uint32_t>(kTlbIndexMask));
}

// The addend of the TLB entry at `entry` (of tlb_index()) to `to`. Where a loop waits for this access, the addend that
// it had the last time is taken instead, and compared with the entry's on the side: the access does not wait for the
// look-up then. Neighbours in RAM have one addend, so that it is seldom another; where it is another too often, the
// comparison becomes the load.
void Lowering::load_addend(int to, int entry, uint8_t mode) {
  const Xbyak::Address addend = c_.qword[c_.rbp + reg64(entry) + tlb_field(mode, offsetof(TlbEntry, addend))];
  if (!chains_.holds(index_)) {
    c_.mov(reg64(to), addend);
    return;
  }
  constexpr int32_t kMisses = 1 << 16;
  const Assembler::Offset cell = thunks_.last_addends + next_addend_ * static_cast<uint32_t>(sizeof(LastAddend));
  next_addend_ = (next_addend_ + 1) % thunks_.addend_count;
  const LastAddend fresh{0, kMisses, 0};
  std::memcpy(c_.at(cell), &fresh, sizeof fresh);
  c_.mov(reg64(to), c_.qword[rip_relative(cell, 7)]);
  const Assembler::Offset compare = c_.here();
  c_.cmp(reg64(to), addend);
  const Assembler::Offset other = c_.jcc_forward(Cc::Ne);
  other_addends_.push_back({other, compare, cell, to, entry, mode});
}

// [where], for an instruction of `size` bytes that ends in its displacement.
Xbyak::RegRip Lowering::rip_relative(Assembler::Offset where, int size) const {
  return c_.rip + (static_cast<int>(where) - static_cast<int>(c_.here()) - size);
}

void Lowering::emit_other_addends() {
  constexpr uint8_t kMovLoad = 0x8b;
  for (const OtherAddend& o : other_addends_) {
    c_.patch(o.jump, c_.here());
    c_.mov(reg64(o.to), c_.qword[c_.rbp + reg64(o.entry) + tlb_field(o.mode, offsetof(TlbEntry, addend))]);
    c_.mov(c_.qword[rip_relative(o.cell, 7)], reg64(o.to));
    c_.dec(c_.dword[rip_relative(o.cell + static_cast<uint32_t>(offsetof(LastAddend, misses_left)), 6)]);
    c_.jcc_back(Cc::Ns, o.jump);
    c_.mov(c_.byte[rip_relative(o.compare + 1, 7)], kMovLoad);  // behind the prefix
    c_.jmp_back(o.jump);
  }
}

// Leaves the entry's addend in t1 and has jumped to the slow stub where the tag does not match.
void Lowering::tlb_lookup(const ir::MemInfo& info, unsigned size, bool write, ir::ValueId address_value, int address,
                          int t1, int t2) {
  SlowStub& stub = slow_stubs_.back();
  const size_t tag_field = write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag);
  if (info.align > 1) {
    c_.test(reg8(address), info.align - 1u);
    stub.jumps[1] = c_.jcc_forward(Cc::Ne);
  }
  if (uint64_t k; ra_.is_const(address_value, &k) && k % kPageSize + size <= kPageSize) {
    const auto entry = static_cast<int>(TlbTable::offset_of(k));
    const uint64_t page = k & kPageMask;
    const Xbyak::Address tag = c_.qword[c_.rbp + (tlb_field(info.mode, tag_field) + entry)];
    if (static_cast<int64_t>(page) == static_cast<int32_t>(page)) {
      c_.cmp(tag, static_cast<uint32_t>(page));
    } else {
      c_.mov(reg64(t2), page);
      c_.cmp(reg64(t2), tag);
    }
    stub.jumps[0] = c_.jcc_forward(Cc::Ne);
    c_.mov(reg64(t1), c_.qword[c_.rbp + (tlb_field(info.mode, offsetof(TlbEntry, addend)) + entry)]);
    return;
  }
  tlb_index(c_, t2, address);
  if (size == 1) {
    c_.mov(reg64(t1), reg64(address));
  } else {
    c_.lea(reg64(t1), c_.ptr[reg64(address) + static_cast<int>(size - 1)]);
  }
  c_.and_(reg64(t1), 0xfffff000);
  c_.cmp(reg64(t1), c_.qword[c_.rbp + reg64(t2) + tlb_field(info.mode, tag_field)]);
  stub.jumps[0] = c_.jcc_forward(Cc::Ne);
  load_addend(t1, t2, info.mode);
}

void Lowering::slow_stub(const Inst& in, unsigned size, int address, int data, uint64_t constant) {
  SlowStub stub{};
  stub.header.unit = handle_;
  stub.header.insn = current_insn_;
  stub.header.mem_info = static_cast<uint32_t>(in.imm);
  stub.header.size = static_cast<uint8_t>(size);
  stub.header.is_store = in.op == ir::Op::store;
  stub.header.address = static_cast<uint8_t>(address);
  stub.header.data = static_cast<uint8_t>(data);
  stub.header.constant = constant;
  stub.header.pointers = static_cast<uint16_t>(ra_.pointers());
  stub.header.pointer = kNoPointer;
  stub.first_dirty = static_cast<uint32_t>(dirty_.size());
  stub.first_constant = static_cast<uint32_t>(dirty_constants_.size());
  stub.first_token = static_cast<uint32_t>(tokens_.size());
  unsigned lazy = 0;
  ra_.tell_slow_path();
  for (size_t i = 0; i < ra_.dirty_count(); i++) {
    const RegAlloc::Binding b = ra_.dirty(i);
    if (b.reg < 0) {
      dirty_constants_.push_back(b.constant);
      stub.header.constants++;
    }
    add_dirty(stub, {b.offset, static_cast<uint8_t>(ir::size_bytes(b.type)),
                     b.reg < 0 ? kConstantReg : static_cast<uint8_t>(b.reg)});
    if (b.reg == kLazyReg) {
      ra_.append_tokens(b.value, tokens_);
      tokens_.back().last = true;
      PANDA_CHECK(++lazy <= kMaxLazySlots);
    }
  }
  stub.header.tokens = static_cast<uint32_t>(tokens_.size()) - stub.first_token;
  stub.xmm = ra_.any_xmm_live();
  if (x87_.active() || x87_.status_pending()) x87_slow_stub(stub);
  slow_stubs_.push_back(stub);
}

void Lowering::add_dirty(SlowStub& stub, const DirtySlot& slot) {
  dirty_.push_back(slot);
  stub.header.dirty++;
}

// --- the access itself

unsigned Lowering::emit_load(Type t, int d, const Xbyak::RegExp& at) {
  const bool avx = c_.features.avx;
  switch (t) {
    case Type::I1:
    case Type::I8:
      c_.movzx(reg32(d), c_.byte[at]);
      return 8;
    case Type::I16:
      c_.movzx(reg32(d), c_.word[at]);
      return 16;
    case Type::I32:
      c_.mov(reg32(d), c_.dword[at]);
      return 32;
    case Type::I64:
      c_.mov(reg64(d), c_.qword[at]);
      break;
    case Type::F32:
      avx ? c_.vmovss(xmm(d), c_.dword[at]) : c_.movss(xmm(d), c_.dword[at]);
      break;
    case Type::F64:
      avx ? c_.vmovsd(xmm(d), c_.qword[at]) : c_.movsd(xmm(d), c_.qword[at]);
      break;
    default:
      avx ? c_.vmovups(xmm(d), c_.ptr[at]) : c_.movups(xmm(d), c_.ptr[at]);
      break;
  }
  return 64;
}

// `data` is kConstantReg where `constant` is stored.
void Lowering::emit_store(Type t, int data, uint64_t constant, const Xbyak::RegExp& at) {
  const bool avx = c_.features.avx;
  const auto k = static_cast<uint32_t>(constant);
  if (data != kConstantReg) {
    if (ir::is_int(t)) {
      c_.mov(c_.ptr[at], reg(data, t));
    } else if (t == Type::F32) {
      avx ? c_.vmovss(c_.dword[at], xmm(data)) : c_.movss(c_.dword[at], xmm(data));
    } else if (t == Type::F64) {
      avx ? c_.vmovsd(c_.qword[at], xmm(data)) : c_.movsd(c_.qword[at], xmm(data));
    } else {
      avx ? c_.vmovups(c_.ptr[at], xmm(data)) : c_.movups(c_.ptr[at], xmm(data));
    }
    return;
  }
  switch (ir::size_bytes(t)) {
    case 1:
      c_.mov(c_.byte[at], k & 0xff);
      break;
    case 2:
      c_.mov(c_.word[at], k & 0xffff);
      break;
    case 4:
      c_.mov(c_.dword[at], k);
      break;
    default:
      c_.mov(c_.qword[at], constant);
      break;
  }
}

// --- the ops

// The address of an access that is made by itself. A group's member has only its root.
int Lowering::lone_address(const Inst& in, AccessGroup* group) {
  if (group == nullptr) return ra_.use(in.args[0]);
  const int root = ra_.use(group->root);
  const int address = ra_.scratch();
  add_displacement(address, root, groups_.displacement(index_), group->narrow);
  group->members--;
  return address;
}

void Lowering::lower_load(const Inst& in) {
  const ir::MemInfo info = ir::MemInfo::unpack(in.imm);
  const unsigned size = ir::size_bytes(in.type);
  AccessGroup* group = groups_.of(index_);
  if (group != nullptr && shares_check(*group)) {
    const int d = ra_.result(index_);
    const Xbyak::RegExp at = begin_shared(in, *group, d, 0);
    const unsigned zero_from = emit_load(in.type, d, at);
    end_shared(*group);
    ra_.define(index_, d, zero_from);
    return;
  }
  const int address = lone_address(in, group);
  const int t2 = ra_.scratch();
  const int d = ra_.result(index_);
  const int t1 = ir::is_int(in.type) ? d : ra_.scratch();
  slow_stub(in, size, address, d, 0);
  tlb_lookup(info, size, info.for_write, in.args[0], address, t1, t2);
  const unsigned zero_from = emit_load(in.type, d, reg64(t1) + reg64(address));
  slow_stubs_.back().resume = c_.here();
  ra_.define(index_, d, zero_from);
}

void Lowering::lower_store(const Inst& in) {
  const ir::MemInfo info = ir::MemInfo::unpack(in.imm);
  const unsigned size = ir::size_bytes(in.type);
  AccessGroup* group = groups_.of(index_);
  const bool shared = group != nullptr && shares_check(*group);
  const int address = shared ? -1 : lone_address(in, group);
  int32_t imm = 0;
  uint64_t constant = 0;
  const bool is_imm = ra_.is_imm32(in.args[1], &imm) && ra_.reg_of(in.args[1]) < 0;
  if (is_imm) constant = static_cast<uint64_t>(int64_t{imm}) & ir::mask_of(in.type);
  const int data = is_imm ? kConstantReg : ra_.use(in.args[1]);
  if (shared) {
    const Xbyak::RegExp at = begin_shared(in, *group, data, constant);
    emit_store(in.type, data, constant, at);
    end_shared(*group);
    return;
  }
  const int t1 = ra_.scratch(), t2 = ra_.scratch();
  slow_stub(in, size, address, data, constant);
  tlb_lookup(info, size, true, in.args[0], address, t1, t2);
  emit_store(in.type, data, constant, reg64(t1) + reg64(address));
  slow_stubs_.back().resume = c_.here();
}

// Lazy tokens, constants, dirty slots, header, call, jump back.
void Lowering::emit_slow_stubs() {
  const auto put = [this](const void* bytes, size_t size) {
    if (size == 0) return;
    std::memcpy(c_.at(c_.here()), bytes, size);
    c_.setSize(c_.getSize() + size);
  };
  for (const SlowStub& stub : slow_stubs_) {
    Assembler::Offset begin = 0, over = 0;
    if (stub.x87) {  // says what it is about, and goes on behind the data
      uint32_t words[2];
      std::memcpy(words, &stub.x87_access, sizeof words);
      constexpr int kAt = kSaveArea + static_cast<int>(offsetof(SaveArea, x87_access));
      begin = c_.here();
      c_.mov(c_.dword[c_.rsp + kAt], words[0]);
      c_.mov(c_.dword[c_.rsp + (kAt + 4)], words[1]);
      over = c_.jmp_forward();
    }
    put(tokens_.data() + stub.first_token, stub.header.tokens * sizeof(LazyToken));
    put(dirty_constants_.data() + stub.first_constant, stub.header.constants * sizeof(uint64_t));
    put(dirty_.data() + stub.first_dirty, stub.header.dirty * sizeof(DirtySlot));
    put(&stub.header, sizeof stub.header);
    if (stub.x87) c_.patch(over, c_.here());
    for (const Assembler::Offset jump : stub.jumps) {
      if (jump != 0) c_.patch(jump, stub.x87 ? begin : c_.here());
    }
    c_.call_offset(stub.x87 ? thunks_.slow_x87 : stub.xmm ? thunks_.slow_xmm : thunks_.slow);
    c_.patch(c_.jmp_forward(), stub.resume);
  }
}

}  // namespace panda::x64
