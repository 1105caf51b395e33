// Emits IR. Typed: a value carries its type, and every emitter checks the operands' against the op
// table (PANDA_CHECK), so a front end's mistake stops where it was made. Folds what is trivially
// constant, since front ends would otherwise all do it themselves.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "ir/ir.h"

namespace panda::ir {

struct Value {
  ValueId id = kNoValue;
  Type type = Type::Void;
  [[nodiscard]] bool valid() const { return id != kNoValue; }
};

// Called before each exit_* terminator is emitted (instrumentation at regular ends of a unit).
class ExitHook {
 public:
  virtual ~ExitHook() = default;
  virtual void before_exit(class Builder& builder) = 0;
};

// Told of the accesses to guest memory while they are emitted, and emits what reports them.
class AccessHook {
 public:
  // An access, or a part of one that takes several ops: then `offset` is where the part lies in it and
  // `whole` the size of all; the parts come in order.
  struct Access {
    Value address;  // of the part, I64
    Type type = Type::Void;
    MemInfo info;
    unsigned offset = 0, whole = 0;  // bytes
  };
  virtual ~AccessHook() = default;
  // For a load only before its first part; for a store before its first op, once for each part.
  virtual void before_load(class Builder& builder, const Access& access) = 0;
  virtual void before_store(class Builder& builder, const Access& access, Value data) = 0;
  // Behind the last op, once for each part.
  virtual void after_load(class Builder& builder, const Access& access, Value data) = 0;
  virtual void after_store(class Builder& builder, const Access& access, Value data) = 0;
  // The helper may make accesses itself, which are reported by memory/access_observer.h. Returns the
  // descriptor to call it by, which outlives the unit.
  virtual const HelperDesc& before_call(class Builder& builder, const HelperDesc& helper) = 0;
};

class Builder {
 public:
  // How much has been emitted: the translator takes back an instruction that turned out not to fit.
  struct Mark {
    size_t insts, blocks, guest_insns;
    uint32_t exit_count, current;
    bool open;
  };

  explicit Builder(Unit& unit) : unit_(unit) {}

  [[nodiscard]] Unit& unit() { return unit_; }

  // --- blocks. A unit starts with no block; begin_block() opens the next one and returns its
  // index; a block is closed by its terminator. new_block() reserves an index to branch to before
  // the block is begun with begin_block(index).
  uint32_t begin_block();
  [[nodiscard]] uint32_t new_block();
  void begin_block(uint32_t index);
  [[nodiscard]] bool open() const { return open_; }  // a block is open: no terminator yet

  // --- for the translator
  [[nodiscard]] Mark mark() const;
  void rollback(const Mark& mark);  // forgets everything emitted since, cached constants included
  void set_exit_hook(ExitHook* hook) { hook_ = hook; }
  void set_access_hook(AccessHook* hook) { access_hook_ = hook; }  // null: nothing is emitted for it
  [[nodiscard]] AccessHook* access_hook() const { return access_hook_; }
  // exit_direct to a pc outside [begin, end) becomes exit_indirect of a constant: what leaves the
  // page must be looked up again, since the mapping may have changed.
  void set_direct_range(uint64_t begin, uint64_t end) {
    direct_begin_ = begin;
    direct_end_ = end;
  }

  // --- constants and state
  Value konst(Type type, uint64_t value);
  Value i8(uint64_t v) { return konst(Type::I8, v); }
  Value i32(uint64_t v) { return konst(Type::I32, v); }
  Value i64(uint64_t v) { return konst(Type::I64, v); }
  Value get(Type type, uint32_t offset);
  void set(uint32_t offset, Value v);
  [[nodiscard]] bool is_const(Value v, uint64_t* out = nullptr) const;

  // --- generic: any op of the table whose result type follows from it or is given
  Value emit(Op op, Type type, std::initializer_list<Value> args, uint64_t imm = 0, uint32_t aux = 0);
  // a op b of one type, result of that type
  Value binary(Op op, Value a, Value b, uint64_t imm = 0) { return emit(op, a.type, {a, b}, imm); }
  Value unary(Op op, Value a, uint64_t imm = 0) { return emit(op, a.type, {a}, imm); }

  Value add(Value a, Value b) { return binary(Op::add, a, b); }
  Value sub(Value a, Value b) { return binary(Op::sub, a, b); }
  Value mul(Value a, Value b) { return binary(Op::mul, a, b); }
  Value and_(Value a, Value b) { return binary(Op::and_, a, b); }
  Value or_(Value a, Value b) { return binary(Op::or_, a, b); }
  Value xor_(Value a, Value b) { return binary(Op::xor_, a, b); }
  Value not_(Value a) { return unary(Op::not_, a); }
  Value neg(Value a) { return unary(Op::neg, a); }
  Value shift(Op op, Value a, Value count) { return emit(op, a.type, {a, count}); }
  Value zext(Type type, Value a) { return a.type == type ? a : emit(Op::zext, type, {a}); }
  Value sext(Type type, Value a) { return a.type == type ? a : emit(Op::sext, type, {a}); }
  Value trunc(Type type, Value a) { return a.type == type ? a : emit(Op::trunc, type, {a}); }
  Value deposit(Value into, Value low, unsigned bit, unsigned width) {
    return emit(Op::deposit, into.type, {into, low}, bit | uint64_t{width} << 8);
  }
  Value extract(Value from, unsigned bit, unsigned width) {
    return emit(Op::extract, from.type, {from}, bit | uint64_t{width} << 8);
  }
  Value icmp(Cond c, Value a, Value b) { return emit(Op::icmp, Type::I1, {a, b}, static_cast<uint64_t>(c)); }
  Value select(Value c, Value t, Value f) { return emit(Op::select, t.type, {c, t, f}); }
  Value load(Type type, Value address, MemInfo m) {
    if (access_hook_ != nullptr) return load_parts({type, Type::Void}, address, {}, m, {})[0];
    return emit(Op::load, type, {address}, m.pack());
  }
  void store(Value address, Value v, MemInfo m) {
    if (access_hook_ != nullptr) return store_parts(address, v, {}, {}, m, {});
    emit(Op::store, v.type, {address, v}, m.pack());
  }
  // One access of the guest that takes two ops, the lower part first: analyses see it as one.
  std::array<Value, 2> load_parts(std::array<Type, 2> types, Value low, Value high, MemInfo low_info,
                                  MemInfo high_info);
  void store_parts(Value low, Value low_data, Value high, Value high_data, MemInfo low_info, MemInfo high_info);
  Value call(const HelperDesc& helper, std::initializer_list<Value> args = {});

  // --- the instruction stream
  void insn(uint64_t pc, unsigned size);  // opens the next guest instruction
  void insn_goes_on();                    // this block belongs to it too: repeats its mark, if the block has none
  void count(uint32_t n) { emit(Op::count, Type::Void, {}, n); }  // patched later by set_imm
  uint32_t next_index() const { return static_cast<uint32_t>(unit_.insts.size()); }
  void set_imm(uint32_t index, uint64_t imm) { unit_.insts[index].imm = imm; }

  // A way out in the middle of the block, behind a complete instruction: taken where `condition` is not `if_false`.
  void exit_if(Value condition, uint64_t pc, bool if_false);

  // --- terminators. In an exact unit, exit_direct and exit_indirect set the pc slot and dispatch.
  void br(uint32_t block);
  void brc(Value condition, uint32_t if_true, uint32_t if_false);
  void exit_direct(uint64_t pc);  // numbers the exits itself
  void exit_indirect(Value pc);   // pc as I64
  void exit_dispatch();

 private:
  Value fold(Op op, Type type, std::initializer_list<Value> args, uint64_t imm);
  void close();
  void leave_exact(Value pc);

  Unit& unit_;
  uint32_t current_ = 0;
  bool open_ = false;
  std::array<ValueId, 32> constants_{};  // recently made; checked against the unit before use
  ExitHook* hook_ = nullptr;
  AccessHook* access_hook_ = nullptr;
  uint64_t direct_begin_ = 0;
  uint64_t direct_end_ = ~uint64_t{0};
};

}  // namespace panda::ir
