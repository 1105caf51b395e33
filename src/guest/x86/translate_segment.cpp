// Segment registers, descriptor table registers and the instructions that ask about selectors.
#include "guest/x86/decoder.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/translate_system.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

// --- helpers
void load_segment_helper(void* state, uint32_t seg, uint32_t selector, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  if (!load_segment(cpu, seg, static_cast<uint16_t>(selector))) return;
  if (seg == R_SS) {
    cpu.s().inhibit_irq = kShadowOfMovSs;
    update_flow_hflags(cpu);
    cpu.s().eip = next_pc;
    cpu.context().request(ExitRequest::Dispatch);
    return;
  }
  refresh_mode(cpu, next_pc);
}

void pop_segment_helper(void* state, uint32_t seg, uint32_t selector, uint64_t new_sp, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  // The new stack pointer has the old stack's width.
  const uint64_t mask = Stack::current(cpu).mask;
  if (!load_segment(cpu, seg, static_cast<uint16_t>(selector))) return;
  cpu.set_reg(R_ESP, (cpu.reg(R_ESP) & ~mask) | (new_sp & mask));
  if (seg == R_SS) {
    cpu.s().inhibit_irq = kShadowOfMovSs;
    update_flow_hflags(cpu);
    cpu.s().eip = next_pc;
    cpu.context().request(ExitRequest::Dispatch);
    return;
  }
  refresh_mode(cpu, next_pc);
}

// LDS and kin: dest: register number | bytes << 8.
void load_pointer_helper(void* state, uint32_t seg_selector, uint32_t dest, uint64_t offset,
                         uint64_t next_pc) noexcept {
  Cpu cpu(state);
  const unsigned seg = seg_selector >> 16;
  if (!load_segment(cpu, seg, static_cast<uint16_t>(seg_selector))) return;
  const unsigned reg = dest & 0xff, bytes = dest >> 8;
  cpu.set_reg(reg, bytes == 2 ? (cpu.reg(reg) & ~uint64_t{0xffff}) | (offset & 0xffff) : offset);
  refresh_mode(cpu, next_pc);
}

void lldt_helper(void* state, uint32_t selector) noexcept { load_ldt(Cpu(state), static_cast<uint16_t>(selector)); }
void ltr_helper(void* state, uint32_t selector) noexcept {
  load_task_register(Cpu(state), static_cast<uint16_t>(selector));
}

void set_zf(Cpu cpu, bool zf) { cpu.set_eflags((cpu.eflags() & ~kZF) | (zf ? kZF : 0)); }

enum class Query : uint32_t { Lar, Lsl, Verr, Verw };

// Whether the selector's descriptor may be looked at by this query (SDM vol. 2, LAR, LSL, VERR).
bool answers(Cpu cpu, Query q, uint16_t selector, const Descriptor& d) {
  const bool visible = d.dpl() >= cpu.cpl() && d.dpl() >= (selector & 3u);
  if (!d.is_segment()) {
    const unsigned t = d.type();
    const bool lm = long_mode(cpu.s());
    const bool tss_or_ldt =
        t == kTypeLdt || t == kTypeTss32 || t == kTypeTss32Busy || (!lm && (t == kTypeTss16 || t == kTypeTss16Busy));
    const bool gate = t == kTypeCallGate32 || (!lm && (t == kTypeCallGate16 || t == kTypeTaskGate));
    if (q == Query::Lar) return visible && (tss_or_ldt || gate);
    return q == Query::Lsl && visible && tss_or_ldt;
  }
  const bool readable = d.is_data() || (d.hi & kDescReadable) != 0;
  if (q == Query::Verr && !readable) return false;
  if (q == Query::Verw && !d.is_writable_data()) return false;
  return (d.is_code() && d.is_conforming()) || visible;
}

// dest: register number | bytes << 8 (LAR, LSL).
void query_helper(void* state, uint32_t query, uint32_t selector_value, uint32_t dest) noexcept {
  Cpu cpu(state);
  const auto q = static_cast<Query>(query);
  const auto selector = static_cast<uint16_t>(selector_value);
  Descriptor d;
  bool ok = false;
  if (!is_null(selector)) {
    const Lookup r = read_descriptor(cpu, selector, d);
    if (r == Lookup::Fault) return;
    ok = r == Lookup::Ok && answers(cpu, q, selector, d);
  }
  if (ok && (q == Query::Lar || q == Query::Lsl)) {
    const uint32_t v = q == Query::Lar ? d.hi & 0x00ff'ff00 : d.limit();
    const unsigned reg = dest & 0xff, bytes = dest >> 8;
    cpu.set_reg(reg, bytes == 2 ? (cpu.reg(reg) & ~uint64_t{0xffff}) | (v & 0xffff) : v);
  }
  set_zf(cpu, ok);
}

const ir::HelperDesc kLoadSegment = system_helper("x86_load_segment", load_segment_helper);
const ir::HelperDesc kPopSegment = system_helper("x86_pop_segment", pop_segment_helper);
const ir::HelperDesc kLoadPointer = system_helper("x86_load_far_pointer", load_pointer_helper);
const ir::HelperDesc kLldt = system_helper("x86_lldt", lldt_helper);
const ir::HelperDesc kLtr = system_helper("x86_ltr", ltr_helper);
const ir::HelperDesc kQuery = system_helper("x86_query_selector", query_helper);

// --- segment registers
constexpr uint32_t selector_offset(unsigned seg) {
  return static_cast<uint32_t>(offsetof(State, segs) + seg * sizeof(SegmentCache) + offsetof(SegmentCache, selector));
}
constexpr uint32_t base_offset(unsigned seg) {
  return static_cast<uint32_t>(offsetof(State, segs) + seg * sizeof(SegmentCache) + offsetof(SegmentCache, base));
}

bool is_segment_register(const ZydisDecodedOperand& op) {
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

// A selector to a register (zero-extended to its size) or 16 bits of memory.
void write_selector(InsnContext& x, const ZydisDecodedOperand& op, Value selector32) {
  if (is_memory_operand(op))
    x.store(x.address(op, 2, true), x.b.trunc(Type::I16, selector32));
  else
    x.write(op, selector32.type == x.type_of(op) ? selector32
                : x.type_of(op) == Type::I64     ? x.b.zext(Type::I64, selector32)
                                                 : x.b.trunc(x.type_of(op), selector32));
}

Value read_selector(InsnContext& x, const ZydisDecodedOperand& op) {
  if (is_memory_operand(op)) return x.b.zext(Type::I32, x.load(x.address(op, 2, false), Type::I16));
  const Value v = x.read(op);
  return x.b.and_(v.type == Type::I64 ? x.b.trunc(Type::I32, v) : x.b.zext(Type::I32, v), x.b.i32(0xffff));
}

}  // namespace

InsnEnd mov_segment(InsnContext& x) {
  if (is_segment_register(x.ops[1])) {
    write_selector(x, x.ops[0], x.b.get(Type::I32, selector_offset(segment_register(x.ops[1].reg.value))));
    return InsnEnd::Next;
  }
  const unsigned seg = segment_register(x.ops[0].reg.value);
  if (seg == R_CS) return fault(x, kUD);
  const Value selector = read_selector(x, x.ops[1]);
  x.call(kLoadSegment, {x.b.i32(seg), selector, next_pc_value(x)});
  return seg == R_SS ? leave(x) : done(x);
}

namespace {

InsnEnd push_segment(InsnContext& x) {
  const Value selector = x.b.get(Type::I32, selector_offset(segment_register(x.ops[0].reg.value)));
  const Type type = x.operand_type();
  x.push(type == Type::I16 ? x.b.trunc(type, selector) : x.b.zext(type, selector));
  return InsnEnd::Next;
}

InsnEnd pop_segment(InsnContext& x) {
  const unsigned seg = segment_register(x.ops[0].reg.value);
  const Value sp = x.stack_pointer();
  const Value v = x.load_stack(sp, x.operand_type());
  const Value selector =
      v.type == Type::I16 ? x.b.zext(Type::I32, v) : x.b.and_(x.b.trunc(Type::I32, v), x.b.i32(0xffff));
  const Value new_sp = x.b.add(sp, x.b.konst(sp.type, x.insn.operand_width / 8u));
  x.call(kPopSegment, {x.b.i32(seg), selector, x.b.zext(Type::I64, new_sp), next_pc_value(x)});
  return seg == R_SS ? leave(x) : done(x);
}

template <unsigned Seg>
InsnEnd load_far_pointer(InsnContext& x) {
  if (!is_memory_operand(x.ops[1])) return fault(x, kUD);
  const unsigned bytes = x.insn.operand_width / 8u;
  const Memory m = x.address(x.ops[1], bytes + 2, false);
  const Value offset = x.load(m, x.operand_type());
  const Value selector = x.load({x.b.add(m.linear, x.b.i64(bytes))}, Type::I16);
  const GeneralRegister dest = general_register(x.ops[0].reg.value);
  x.call(kLoadPointer, {x.b.or_(x.b.zext(Type::I32, selector), x.b.i32(Seg << 16)), x.b.i32(dest.number | bytes << 8),
                        x.b.zext(Type::I64, offset), next_pc_value(x)});
  if constexpr (Seg == R_SS) return x.end_dispatch();
  return done(x);
}

// --- LDTR, TR, GDTR, IDTR
template <bool Task>
InsnEnd store_system_selector(InsnContext& x) {
  if (!in_protected_mode(x)) return fault(x, kUD);
  if (x.mode(kModeUmip)) return fault(x, kGP);
  const auto offset =
      static_cast<uint32_t>((Task ? offsetof(State, tr) : offsetof(State, ldt)) + offsetof(SegmentCache, selector));
  write_selector(x, x.ops[0], x.b.get(Type::I32, offset));
  return InsnEnd::Next;
}

template <bool Task>
InsnEnd load_system_selector(InsnContext& x) {
  if (!in_protected_mode(x)) return fault(x, kUD);
  if (x.cpl() != 0) return fault(x, kGP);
  const Value selector = read_selector(x, x.ops[0]);
  x.call(Task ? kLtr : kLldt, {selector});
  return done(x);
}

template <bool Idt>
InsnEnd store_table(InsnContext& x) {
  if (x.mode(kModeUmip)) return fault(x, kGP);
  const auto at = static_cast<uint32_t>(Idt ? offsetof(State, idt) : offsetof(State, gdt));
  const Type type = x.is64() ? Type::I64 : Type::I32;
  const Memory m = x.address(x.ops[0], 2 + ir::size_bytes(type), true);
  const Value limit = x.b.trunc(Type::I16, x.b.get(Type::I32, at + offsetof(SegmentCache, limit)));
  const Value base = x.word(at + offsetof(SegmentCache, base));
  x.store(m, limit);
  x.store({x.b.add(m.linear, x.b.i64(2))}, x.b.trunc(type, base));
  return InsnEnd::Next;
}

template <bool Idt>
InsnEnd load_table(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  const auto at = static_cast<uint32_t>(Idt ? offsetof(State, idt) : offsetof(State, gdt));
  const Type type = x.is64() ? Type::I64 : Type::I32;
  const Memory m = x.address(x.ops[0], 2 + ir::size_bytes(type), false);
  const Value limit = x.b.zext(Type::I32, x.load(m, Type::I16));
  Value base = x.load({x.b.add(m.linear, x.b.i64(2))}, type);
  if (x.insn.operand_width == 16 && !x.is64()) base = x.b.and_(base, x.b.i32(0xff'ffff));
  if (x.is64()) {
    const Value sign = x.b.shift(ir::Op::sar, x.b.shift(ir::Op::shl, base, x.b.i8(16)), x.b.i8(16));
    x.raise_if(x.b.icmp(ir::Cond::Ne, sign, base), kGP, uint16_t{0});
  }
  x.b.set(at + offsetof(SegmentCache, limit), limit);
  const Type word = x.layout.word();
  x.b.set(at + offsetof(SegmentCache, base), word == type ? base : x.b.zext(word, base));
  return done(x);
}

// --- queries
template <Query Q>
InsnEnd load_about_selector(InsnContext& x) {
  if (!in_protected_mode(x)) return fault(x, kUD);
  const GeneralRegister dest = general_register(x.ops[0].reg.value);
  const Value selector = read_selector(x, x.ops[1]);
  x.call(kQuery, {x.b.i32(static_cast<uint32_t>(Q)), selector, x.b.i32(dest.number | dest.bytes << 8)});
  return done(x);
}

template <Query Q>
InsnEnd verify_selector(InsnContext& x) {
  if (!in_protected_mode(x)) return fault(x, kUD);
  const Value selector = read_selector(x, x.ops[0]);
  x.call(kQuery, {x.b.i32(static_cast<uint32_t>(Q)), selector, x.b.i32(0)});
  return done(x);
}

InsnEnd arpl(InsnContext& x) {
  if (!in_protected_mode(x)) return fault(x, kUD);
  ir::Builder& b = x.b;
  const bool memory = is_memory_operand(x.ops[0]);
  Memory m{};
  if (memory) m = x.address(x.ops[0], 2, true);
  const Value dest = memory ? x.load(m, Type::I16, true) : x.read(x.ops[0]);
  const Value source = x.read(x.ops[1]);
  const Value three = b.konst(Type::I16, 3);
  const Value rpl = b.and_(source, three);
  const Value lower = b.icmp(ir::Cond::Ult, b.and_(dest, three), rpl);
  const Value adjusted = b.select(lower, b.or_(b.and_(dest, b.konst(Type::I16, 0xfffc)), rpl), dest);
  const Value flags = b.and_(x.get_eflags_arith(), b.i32(kArithmeticFlags & ~kZF));
  if (memory)
    x.store(m, adjusted);
  else
    x.write(x.ops[0], adjusted);
  x.set_cc_flags(b.or_(flags, b.select(lower, b.i32(kZF), b.i32(0))));
  return InsnEnd::Next;
}

// --- 64-bit segment bases
InsnEnd swapgs(InsnContext& x) {
  if (!x.is64()) return fault(x, kUD);
  if (x.cpl() != 0) return fault(x, kGP);
  const Value base = x.b.get(Type::I64, base_offset(R_GS));
  const Value kernel = x.b.get(Type::I64, offsetof(State, kernelgsbase));
  x.b.set(base_offset(R_GS), kernel);
  x.b.set(offsetof(State, kernelgsbase), base);
  return InsnEnd::Next;
}

template <unsigned Seg, bool Write>
InsnEnd segment_base(InsnContext& x) {
  if (!x.is64()) return fault(x, kUD);
  ir::Builder& b = x.b;
  const Value allowed = b.and_(b.get(x.layout.word(), x.layout.cr(4)), b.i64(kCr4Fsgsbase));
  x.raise_if(b.icmp(ir::Cond::Eq, allowed, b.i64(0)), kUD);
  const Type type = x.operand_type();
  if constexpr (Write) {
    const Value v = b.zext(Type::I64, x.read(x.ops[0]));
    if (type == Type::I64) {
      const Value sign = b.shift(ir::Op::sar, b.shift(ir::Op::shl, v, b.i8(16)), b.i8(16));
      x.raise_if(b.icmp(ir::Cond::Ne, sign, v), kGP, uint16_t{0});
    }
    b.set(base_offset(Seg), v);
  } else {
    x.write(x.ops[0], b.trunc(type, b.get(Type::I64, base_offset(Seg))));
  }
  return InsnEnd::Next;
}

const Row kRows[] = {
    {ZYDIS_MNEMONIC_PUSH, push_segment},
    {ZYDIS_MNEMONIC_POP, pop_segment},
    {ZYDIS_MNEMONIC_LDS, load_far_pointer<R_DS>},
    {ZYDIS_MNEMONIC_LES, load_far_pointer<R_ES>},
    {ZYDIS_MNEMONIC_LSS, load_far_pointer<R_SS>},
    {ZYDIS_MNEMONIC_LFS, load_far_pointer<R_FS>},
    {ZYDIS_MNEMONIC_LGS, load_far_pointer<R_GS>},
    {ZYDIS_MNEMONIC_SLDT, store_system_selector<false>},
    {ZYDIS_MNEMONIC_STR, store_system_selector<true>},
    {ZYDIS_MNEMONIC_LLDT, load_system_selector<false>},
    {ZYDIS_MNEMONIC_LTR, load_system_selector<true>},
    {ZYDIS_MNEMONIC_SGDT, store_table<false>},
    {ZYDIS_MNEMONIC_SIDT, store_table<true>},
    {ZYDIS_MNEMONIC_LGDT, load_table<false>},
    {ZYDIS_MNEMONIC_LIDT, load_table<true>},
    {ZYDIS_MNEMONIC_LAR, load_about_selector<Query::Lar>},
    {ZYDIS_MNEMONIC_LSL, load_about_selector<Query::Lsl>},
    {ZYDIS_MNEMONIC_VERR, verify_selector<Query::Verr>},
    {ZYDIS_MNEMONIC_VERW, verify_selector<Query::Verw>},
    {ZYDIS_MNEMONIC_ARPL, arpl},
    {ZYDIS_MNEMONIC_SWAPGS, swapgs, Feature::LongMode},
    {ZYDIS_MNEMONIC_RDFSBASE, segment_base<R_FS, false>, Feature::Fsgsbase},
    {ZYDIS_MNEMONIC_RDGSBASE, segment_base<R_GS, false>, Feature::Fsgsbase},
    {ZYDIS_MNEMONIC_WRFSBASE, segment_base<R_FS, true>, Feature::Fsgsbase},
    {ZYDIS_MNEMONIC_WRGSBASE, segment_base<R_GS, true>, Feature::Fsgsbase},
};

}  // namespace

std::span<const Row> segment_system_rows() { return kRows; }

}  // namespace panda::x86
