// Runs for every guest instruction translated: nothing here allocates but the unit's vectors.
// A value's id is the index of its instruction in Unit::insts.
#include "ir/builder.h"

#include <cstdio>

#include "base/check.h"
#include "ir/fold.h"
#include "ir/type_check.h"

namespace panda::ir {
namespace {

// Integer ops that can be computed or simplified; everything else skips the attempt.
constexpr bool is_foldable(Op op) {
  return (op >= Op::add && op <= Op::bswap && op != Op::mulhu && op != Op::mulhs) ||
         (op >= Op::zext && op <= Op::select);
}

constexpr size_t constant_slot(Type type, uint64_t value, size_t slots) {
  const uint64_t h = (value ^ static_cast<uint64_t>(type) << 58) * 0x9e3779b97f4a7c15;
  return static_cast<size_t>(h >> 32) % slots;
}

[[noreturn]] void wrong(const Inst& inst, std::string_view what) {
  const auto name = info(inst.op).name;
  std::fprintf(stderr, "panda: IR builder: %.*s: %.*s\n", static_cast<int>(name.size()), name.data(),
               static_cast<int>(what.size()), what.data());
  check_failed("IR is well typed", __FILE__, __LINE__);
}

}  // namespace

// --- blocks

uint32_t Builder::new_block() {
  unit_.blocks.emplace_back();
  return static_cast<uint32_t>(unit_.blocks.size() - 1);
}

uint32_t Builder::begin_block() {
  const uint32_t index = new_block();
  begin_block(index);
  return index;
}

void Builder::begin_block(uint32_t index) {
  PANDA_CHECK(!open_);
  PANDA_CHECK(index < unit_.blocks.size() && unit_.blocks[index].count == 0);
  unit_.blocks[index].first = next_index();
  current_ = index;
  open_ = true;
}

void Builder::close() {
  Block& block = unit_.blocks[current_];
  block.count = next_index() - block.first;
  open_ = false;
}

Builder::Mark Builder::mark() const {
  return {unit_.insts.size(), unit_.blocks.size(), unit_.guest_insns.size(), unit_.exit_count, current_, open_};
}

void Builder::rollback(const Mark& mark) {
  unit_.insts.resize(mark.insts);
  unit_.blocks.resize(mark.blocks);
  unit_.guest_insns.resize(mark.guest_insns);
  unit_.exit_count = mark.exit_count;
  current_ = mark.current;
  open_ = mark.open;
  // Blocks begun since the mark but reserved before it are merely reserved again.
  for (uint32_t i = 0; i < unit_.blocks.size(); i++) {
    Block& block = unit_.blocks[i];
    if (open_ && i == current_) {
      block.count = 0;
    } else if (block.first >= mark.insts) {
      block = {};
    }
  }
}

// --- constants and state

Value Builder::konst(Type type, uint64_t value) {
  PANDA_CHECK(open_ && type != Type::Void);
  if (type != Type::V128) value &= mask_of(type);
  // A cache entry is proved by what it points at, so it survives rollbacks and new blocks.
  ValueId& cached = constants_[constant_slot(type, value, constants_.size())];
  if (cached >= unit_.blocks[current_].first && cached < unit_.insts.size()) {
    const Inst& inst = unit_.insts[cached];
    if (inst.op == Op::konst && inst.type == type && inst.imm == value) return {cached, type};
  }
  cached = next_index();
  Inst inst{};
  inst.op = Op::konst;
  inst.type = type;
  inst.imm = value;
  unit_.insts.push_back(inst);
  return {cached, type};
}

bool Builder::is_const(Value v, uint64_t* out) const {
  if (!v.valid()) return false;
  const Inst& inst = unit_.insts[v.id];
  if (inst.op != Op::konst) return false;
  if (out != nullptr) *out = inst.imm;
  return true;
}

Value Builder::get(Type type, uint32_t offset) { return emit(Op::get, type, {}, offset); }
void Builder::set(uint32_t offset, Value v) { emit(Op::set, v.type, {v}, offset); }

// --- generic

Value Builder::fold(Op op, Type type, std::initializer_list<Value> args, uint64_t imm) {
  uint64_t v[3] = {};
  bool known[3] = {};
  size_t n = 0;
  bool all = true;
  for (const Value& a : args) {
    known[n] = is_const(a, &v[n]);
    all = all && known[n];
    n++;
  }
  const Value* a = args.begin();
  if (all && is_int(a[0].type)) {
    if (const auto folded = fold_int(op, type, a[0].type, v[0], v[1], v[2], imm)) return konst(type, *folded);
  }
  const bool same = n >= 2 && a[0].id == a[1].id;
  const Simplified s = simplify(op, type, a[0].type, imm, known, v, same);
  if (s.kind == Simplified::Operand) return a[s.operand];
  if (s.kind == Simplified::Constant) return konst(type, s.value);
  return {};
}

Value Builder::emit(Op op, Type type, std::initializer_list<Value> args, uint64_t imm, uint32_t aux) {
  PANDA_CHECK(open_ && args.size() <= 4);
  if (op == Op::konst) return konst(type, imm);
  Inst inst{};
  inst.op = op;
  inst.type = type;
  inst.imm = imm;
  inst.aux = aux;
  Type types[4] = {};
  const uint32_t first = unit_.blocks[current_].first;
  for (const Value& v : args) {
    if (v.id < first || v.id >= unit_.insts.size()) wrong(inst, "operand is not a value of this block");
    types[inst.nargs] = v.type;
    inst.args[inst.nargs++] = v.id;
  }
  if (const auto error = type_error(inst, types); !error.empty()) wrong(inst, error);
  if (is_foldable(op)) {
    if (const Value v = fold(op, type, args, imm); v.valid()) return v;
  }
  const uint32_t id = next_index();
  unit_.insts.push_back(inst);
  if (is_end(op)) close();
  const Type result = result_type(inst);
  return result == Type::Void ? Value{} : Value{id, result};
}

// The parts of a high address that is not valid are one.
std::array<Value, 2> Builder::load_parts(std::array<Type, 2> types, Value low, Value high, MemInfo low_info,
                                         MemInfo high_info) {
  const bool two = high.valid();
  AccessHook::Access a{low, types[0], low_info, 0, size_bytes(types[0]) + (two ? size_bytes(types[1]) : 0)};
  AccessHook::Access b{high, types[1], high_info, size_bytes(types[0]), a.whole};
  if (access_hook_ != nullptr) access_hook_->before_load(*this, a);
  const Value first = emit(Op::load, types[0], {low}, low_info.pack());
  const Value second = two ? emit(Op::load, types[1], {high}, high_info.pack()) : Value{};
  if (access_hook_ != nullptr) {
    access_hook_->after_load(*this, a, first);
    if (two) access_hook_->after_load(*this, b, second);
  }
  return {first, second};
}

void Builder::store_parts(Value low, Value low_data, Value high, Value high_data, MemInfo low_info, MemInfo high_info) {
  const bool two = high.valid();
  const Type type = low_data.type;
  AccessHook::Access a{low, type, low_info, 0, size_bytes(type) + (two ? size_bytes(high_data.type) : 0)};
  AccessHook::Access b{high, high_data.type, high_info, size_bytes(type), a.whole};
  if (access_hook_ != nullptr) {
    access_hook_->before_store(*this, a, low_data);
    if (two) access_hook_->before_store(*this, b, high_data);
  }
  emit(Op::store, type, {low, low_data}, low_info.pack());
  if (two) emit(Op::store, high_data.type, {high, high_data}, high_info.pack());
  if (access_hook_ != nullptr) {
    access_hook_->after_store(*this, a, low_data);
    if (two) access_hook_->after_store(*this, b, high_data);
  }
}

Value Builder::call(const HelperDesc& helper, std::initializer_list<Value> args) {
  const HelperDesc* called = &helper;
  if (access_hook_ != nullptr && helper.may_exit) called = &access_hook_->before_call(*this, helper);
  return emit(Op::call, helper.result, args, reinterpret_cast<uintptr_t>(called));
}

void Builder::insn(uint64_t pc, unsigned size) {
  const uint64_t index = unit_.guest_insns.size();
  unit_.guest_insns.push_back({pc, static_cast<uint8_t>(size), 0});
  emit(Op::insn, Type::Void, {}, index);
}

void Builder::insn_goes_on() {
  PANDA_CHECK(open_ && !unit_.guest_insns.empty());
  for (size_t i = unit_.insts.size(); i-- > unit_.blocks[current_].first;) {
    if (unit_.insts[i].op == Op::insn) return;
  }
  emit(Op::insn, Type::Void, {}, unit_.guest_insns.size() - 1);
}

void Builder::exit_if(Value condition, uint64_t pc, bool if_false) {
  const bool looked_up = pc < direct_begin_ || pc >= direct_end_;
  const ExitIf e{looked_up ? 0 : unit_.exit_count++, if_false, looked_up};
  emit(Op::exit_if, Type::Void, {condition}, pc, e.pack());
}

// --- terminators

void Builder::br(uint32_t block) { emit(Op::br, Type::Void, {}, 0, block); }

void Builder::brc(Value condition, uint32_t if_true, uint32_t if_false) {
  if (uint64_t known = 0; is_const(condition, &known)) {
    br(known != 0 ? if_true : if_false);
    return;
  }
  emit(Op::brc, Type::Void, {condition}, if_false, if_true);
}

// An exact unit goes back to the engine whatever its instruction does (Unit::exact): the pc slot is
// set here, so that front ends need not write each branch twice.
void Builder::leave_exact(Value pc) {
  set(unit_.pc_offset, trunc(unit_.pc_type, pc));
  emit(Op::exit_dispatch, Type::Void, {});
}

void Builder::exit_direct(uint64_t pc) {
  if (hook_ != nullptr) hook_->before_exit(*this);
  if (unit_.exact) {
    leave_exact(konst(Type::I64, pc));
  } else if (pc < direct_begin_ || pc >= direct_end_) {
    emit(Op::exit_indirect, Type::Void, {konst(Type::I64, pc)});
  } else {
    emit(Op::exit_direct, Type::Void, {}, pc, unit_.exit_count++);
  }
}

void Builder::exit_indirect(Value pc) {
  if (hook_ != nullptr) hook_->before_exit(*this);
  if (unit_.exact) {
    leave_exact(pc);
  } else {
    emit(Op::exit_indirect, Type::Void, {pc});
  }
}

void Builder::exit_dispatch() {
  if (hook_ != nullptr) hook_->before_exit(*this);
  emit(Op::exit_dispatch, Type::Void, {});
}

}  // namespace panda::ir
