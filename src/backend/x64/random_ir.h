// Random IR for differential tests of back ends: single ops of the table with operands of their
// types, and whole units with slots, memory accesses, helper calls, loops and exits.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "ir/builder.h"
#include "memory/vcpu_context.h"

namespace panda::test {

// The guest state of the tests: a pc slot and kSlots slots of each type.
inline constexpr uint32_t kSlots = 6;
inline constexpr uint32_t kPcOffset = 0;
inline constexpr uint32_t kStateBytes = 1024;
inline constexpr ir::Type kTypes[] = {ir::Type::I1,  ir::Type::I8,  ir::Type::I16, ir::Type::I32,
                                      ir::Type::I64, ir::Type::F32, ir::Type::F64, ir::Type::V128};
[[nodiscard]] constexpr uint32_t slot_offset(ir::Type t, uint32_t i) {
  return 16 + static_cast<uint32_t>(t) * kSlots * 16 + i * 16;
}

// Guest memory of the tests: see TestMachine.
inline constexpr uint64_t kRamBase = 0x10000;
inline constexpr uint64_t kRamWindow = 0x4000;

class RandomIr {
 public:
  RandomIr(ir::Unit& unit, uint64_t seed) : b_(unit), rng_(seed) {}

  [[nodiscard]] ir::Builder& builder() { return b_; }
  [[nodiscard]] uint64_t random(uint64_t below) { return rng_() % below; }
  [[nodiscard]] uint64_t random_int();
  [[nodiscard]] uint64_t random_bits(ir::Type t);
  [[nodiscard]] static bool is_plain(ir::Op op);  // ops that emit() covers

  // One plain op. It picks types that the op takes and operands by operand().
  ir::Value emit(ir::Op op);
  ir::Value operand(ir::Type t);
  void forget_values() { values_.clear(); }

  // A whole unit: `blocks` blocks of about `ops` ops each.
  void unit(unsigned blocks, unsigned ops, std::vector<const ir::HelperDesc*> helpers);

 private:
  [[nodiscard]] ir::Type pick(std::initializer_list<ir::Type> types) { return types.begin()[random(types.size())]; }
  ir::Type result_type(ir::Op op);
  ir::Value emit_special(ir::Op op, ir::Type type);
  void random_op();
  void random_access();
  void random_call();
  void way_out();
  ir::Value condition();
  void terminator(unsigned block, unsigned blocks);
  ir::Value keep(ir::Value v);

  ir::Builder b_;
  std::mt19937_64 rng_;
  std::vector<ir::Value> values_;  // of the current block
  std::vector<const ir::HelperDesc*> helpers_;
  uint64_t pc_ = 0x1000;
};

// --- values

inline uint64_t RandomIr::random_int() {
  constexpr uint64_t kBoundary[] = {0,
                                    1,
                                    2,
                                    7,
                                    8,
                                    31,
                                    32,
                                    63,
                                    64,
                                    0x7f,
                                    0x80,
                                    0xff,
                                    0x100,
                                    0x7fff,
                                    0x8000,
                                    0xffff,
                                    0x7fffffff,
                                    0x80000000,
                                    0xffffffff,
                                    0x100000000,
                                    0x7fffffffffffffff,
                                    0x8000000000000000,
                                    0xffffffffffffffff,
                                    0xffffffff80000000};
  switch (random(4)) {
    case 0:
      return kBoundary[random(std::size(kBoundary))];
    case 1:
      return random(256);
    default:
      return rng_();
  }
}

inline uint64_t RandomIr::random_bits(ir::Type t) {
  constexpr uint64_t kF32[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
                               0x7fc00000, 0x7f800001, 0xffc12345, 1,          0x007fffff, 0x00800000,
                               0x7f7fffff, 0x4f000000, 0x5f000000, 0x3fc00000};
  constexpr uint64_t kF64[] = {0,
                               0x8000000000000000,
                               0x3ff0000000000000,
                               0xbff8000000000000,
                               0x7ff0000000000000,
                               0xfff0000000000000,
                               0x7ff8000000000000,
                               0x7ff0000000000001,
                               1,
                               0x000fffffffffffff,
                               0x0010000000000000,
                               0x7fefffffffffffff,
                               0x41e0000000000000,
                               0x43e0000000000000,
                               0x4004000000000000,
                               0x36a0000000000000};
  if (t == ir::Type::F32 && random(2) == 0) return kF32[random(std::size(kF32))];
  if (t == ir::Type::F64 && random(2) == 0) return kF64[random(std::size(kF64))];
  if (t == ir::Type::V128 && random(3) == 0) return kF64[random(std::size(kF64))];
  if (t == ir::Type::V128 && random(3) == 0) return kF32[random(16)] | kF32[random(16)] << 32;
  return random_int() & (t == ir::Type::V128 ? ~uint64_t{0} : ir::mask_of(t));
}

inline ir::Value RandomIr::keep(ir::Value v) {
  if (v.valid() && v.type != ir::Type::Void) values_.push_back(v);
  return v;
}

inline ir::Value RandomIr::operand(ir::Type t) {
  if (!values_.empty() && random(8) != 0) {
    // Often a recent one.
    const size_t n = values_.size();
    for (int tries = 0; tries < 12; tries++) {
      const size_t back = random(2) == 0 ? random(n) : random(n < 8 ? n : 8);
      if (values_[n - 1 - back].type == t) return values_[n - 1 - back];
    }
  }
  if (random(4) == 0) return b_.konst(t, random_bits(t));
  return keep(b_.get(t, slot_offset(t, static_cast<uint32_t>(random(kSlots)))));
}

// --- ops

inline bool RandomIr::is_plain(ir::Op op) {
  const ir::Effects e = ir::info(op).effects;
  const bool f80 = op >= ir::Op::f80_load && op <= ir::Op::f80_set_control;  // f80_test.cpp
  return (e == ir::Effects::Pure || e == ir::Effects::FpState) && op != ir::Op::konst && !f80;
}

inline ir::Type RandomIr::result_type(ir::Op op) {
  using T = ir::Type;
  using O = ir::Op;
  switch (op) {
    case O::mulhu:
    case O::mulhs:
    case O::float_to_int:
    case O::float_to_int_trunc:
      return pick({T::I32, T::I64});
    case O::bswap:
      return pick({T::I16, T::I32, T::I64});
    case O::and_:
    case O::or_:
    case O::xor_:
    case O::trunc:
      return pick({T::I1, T::I8, T::I16, T::I32, T::I64});
    case O::bitcast:
    case O::vlow:
      return pick({T::F32, T::F64, T::I32, T::I64});
    case O::select:
      return kTypes[random(std::size(kTypes))];
    default:
      break;
  }
  switch (ir::info(op).result) {
    case ir::Sig::T:
      return pick({T::I8, T::I16, T::I32, T::I64});
    case ir::Sig::X:
      return pick({T::F32, T::F64});
    case ir::Sig::I1:
      return T::I1;
    case ir::Sig::I32:
      return T::I32;
    case ir::Sig::I64:
      return T::I64;
    case ir::Sig::F32:
      return T::F32;
    case ir::Sig::F64:
      return T::F64;
    default:
      return T::V128;
  }
}

// Those whose operand types or immediates are not in the row.
inline ir::Value RandomIr::emit_special(ir::Op op, ir::Type type) {
  using T = ir::Type;
  using O = ir::Op;
  const unsigned bits = ir::size_bits(type);
  switch (op) {
    case O::crc32c:
      return b_.emit(op, type, {operand(T::I32), operand(pick({T::I8, T::I16, T::I32, T::I64}))});
    case O::zext:
    case O::sext:
    case O::trunc:
      for (;;) {
        const T from = pick({T::I1, T::I8, T::I16, T::I32, T::I64});
        const bool fits = op == O::trunc ? ir::size_bits(from) >= bits : ir::size_bits(from) <= bits;
        if (fits) return b_.emit(op, type, {operand(from)});
      }
    case O::deposit:
    case O::extract: {
      const bool usual = random(2) == 0 && bits > 8;
      const uint64_t low = usual ? random(2) * 8 : random(bits);
      const uint64_t width = usual && low + 8 <= bits ? 8 : 1 + random(bits - low);
      if (op == O::extract) return b_.emit(op, type, {operand(type)}, low | width << 8);
      return b_.emit(op, type, {operand(type), operand(type)}, low | width << 8);
    }
    case O::icmp: {
      const T t = pick({T::I8, T::I16, T::I32, T::I64});
      const ir::Value a = operand(t);
      return b_.emit(op, type, {a, random(3) == 0 ? b_.konst(t, random(2) * random_bits(t)) : operand(t)}, random(10));
    }
    case O::fround:
      return b_.emit(op, type, {operand(type)}, random(16));
    case O::fcmp_mask:
      return b_.emit(op, type, {operand(type), operand(type)}, random(8));
    case O::fucomi:
    case O::fcomi: {
      const T t = pick({T::F32, T::F64});
      return b_.emit(op, type, {operand(t), operand(t)});
    }
    case O::int_to_f32:
    case O::int_to_f64:
      return b_.emit(op, type, {operand(pick({T::I32, T::I64}))});
    case O::float_to_int:
    case O::float_to_int_trunc:
      return b_.emit(op, type, {operand(pick({T::F32, T::F64}))});
    case O::bitcast: {
      const bool wide = bits == 64;
      return b_.emit(op, type, {operand(wide ? pick({T::I64, T::F64}) : pick({T::I32, T::F32}))});
    }
    case O::vzext:
      return b_.emit(op, type, {operand(pick({T::F32, T::F64, T::I32, T::I64}))});
    case O::vget_lane:
      return b_.emit(op, type, {operand(T::V128)}, random(16 / ir::size_bytes(type)));
    case O::vset_lane: {
      const T t = pick({T::I8, T::I16, T::I32, T::I64, T::F32, T::F64});
      return b_.emit(op, type, {operand(T::V128), operand(t)}, random(16 / ir::size_bytes(t)));
    }
    case O::vmovmsk:
      return b_.emit(op, type, {operand(T::V128)}, 0, random(2) == 0 ? 1 : random(2) == 0 ? 4 : 8);
    case O::vcmp_f32:
    case O::vcmp_f64:
      return b_.emit(op, type, {operand(type), operand(type)}, random(8));
    case O::ffma:
      return b_.emit(op, type, {operand(type), operand(type), operand(type)}, random(4));
    case O::vfma_f32:
    case O::vfma_f64:
      return b_.emit(op, type, {operand(type), operand(type), operand(type)}, random(6));
    case O::vcvt_f32_f16:
      return b_.emit(op, type, {operand(type)}, random(8));
    case O::vround_f32:
    case O::vround_f64:
      return b_.emit(op, type, {operand(type)}, random(16));
    default:
      return {};
  }
}

inline ir::Value RandomIr::emit(ir::Op op) {
  const ir::Type type = result_type(op);
  if (const ir::Value v = emit_special(op, type); v.valid()) return keep(v);
  ir::Value args[3];
  unsigned n = 0;
  for (const ir::Sig sig : ir::info(op).operands) {
    switch (sig) {
      case ir::Sig::None:
        continue;
      case ir::Sig::I1:
        args[n++] = operand(ir::Type::I1);
        break;
      case ir::Sig::I8:
        args[n++] = operand(ir::Type::I8);
        break;
      case ir::Sig::F32:
        args[n++] = operand(ir::Type::F32);
        break;
      case ir::Sig::F64:
        args[n++] = operand(ir::Type::F64);
        break;
      case ir::Sig::V128:
        args[n++] = operand(ir::Type::V128);
        break;
      default:
        args[n++] = operand(type);
        break;
    }
  }
  const uint64_t imm = type == ir::Type::V128 ? (random(2) == 0 ? random(18) : random(256)) : 0;
  if (n == 1) return keep(b_.emit(op, type, {args[0]}, imm));
  if (n == 2) return keep(b_.emit(op, type, {args[0], args[1]}, imm));
  return keep(b_.emit(op, type, {args[0], args[1], args[2]}, imm));
}

// --- units

inline void RandomIr::random_access() {
  ir::Type t = kTypes[1 + random(std::size(kTypes) - 1)];
  ir::MemInfo info;
  info.mode = static_cast<uint8_t>(random(2));
  if (random(8) == 0) info.align = static_cast<uint8_t>(ir::size_bytes(t));
  ir::Value address = b_.add(b_.and_(operand(ir::Type::I64), b_.i64(kRamWindow - 1)), b_.i64(kRamBase));
  if (random(2) == 0) {
    info.for_write = random(4) == 0;
    keep(b_.load(t, address, info));
  } else {
    b_.store(address, operand(t), info);
  }
}

inline void RandomIr::random_call() {
  if (helpers_.empty()) return;
  const ir::HelperDesc& d = *helpers_[random(helpers_.size())];
  ir::Value a[4];
  unsigned n = 0;
  for (const ir::Type t : d.params) {
    if (t != ir::Type::Void) a[n++] = operand(t);
  }
  switch (n) {
    case 0:
      keep(b_.call(d, {}));
      break;
    case 1:
      keep(b_.call(d, {a[0]}));
      break;
    case 2:
      keep(b_.call(d, {a[0], a[1]}));
      break;
    case 3:
      keep(b_.call(d, {a[0], a[1], a[2]}));
      break;
    default:
      keep(b_.call(d, {a[0], a[1], a[2], a[3]}));
      break;
  }
}

inline void RandomIr::random_op() {
  const uint64_t what = random(100);
  if (what < 25) {
    const ir::Type t = kTypes[random(std::size(kTypes))];
    b_.set(slot_offset(t, static_cast<uint32_t>(random(kSlots))), operand(t));
  } else if (what < 32) {
    random_access();
  } else if (what < 35) {
    random_call();
  } else if (what < 36) {
    keep(b_.emit(ir::Op::insn_count, ir::Type::I64, {}));
  } else {
    // Integers are most of real code.
    const unsigned last = what < 80 ? static_cast<unsigned>(ir::Op::select) + 1 : ir::kOpCount;
    ir::Op op;
    do op = static_cast<ir::Op>(random(last));
    while (!is_plain(op));
    emit(op);
  }
}

inline void RandomIr::way_out() {
  b_.set_direct_range(0, random(4) == 0 ? 0 : ~uint64_t{0});
  b_.exit_if(condition(), pc_ + random(4), random(2) == 0);
  b_.set_direct_range(0, ~uint64_t{0});
}

inline ir::Value RandomIr::condition() {
  const ir::Value c = random(4) == 0 ? operand(ir::Type::I1) : emit(random(5) == 0 ? ir::Op::trunc : ir::Op::icmp);
  return c.type == ir::Type::I1 ? c : b_.trunc(ir::Type::I1, c);
}

inline void RandomIr::terminator(unsigned block, unsigned blocks) {
  const uint64_t what = random(block + 1 < blocks ? 10 : 3);
  if (what == 0) {
    b_.exit_direct(pc_ + random(4));
  } else if (what == 1) {
    b_.exit_indirect(operand(ir::Type::I64));
  } else if (what == 2) {
    b_.exit_dispatch();
  } else if (what < 5) {
    b_.br(static_cast<uint32_t>(random(blocks)));
  } else {
    b_.brc(condition(), static_cast<uint32_t>(random(blocks)), block + 1);
  }
}

inline void RandomIr::unit(unsigned blocks, unsigned ops, std::vector<const ir::HelperDesc*> helpers) {
  helpers_ = std::move(helpers);
  ir::Unit& u = b_.unit();
  u.pc_offset = kPcOffset;
  u.pc_type = random(2) == 0 ? ir::Type::I32 : ir::Type::I64;
  for (unsigned i = 0; i < blocks; i++) static_cast<void>(b_.new_block());
  for (unsigned i = 0; i < blocks; i++) {
    b_.begin_block(i);
    values_.clear();
    const auto insns = static_cast<uint16_t>(1 + random(4));
    b_.count(insns);
    for (uint16_t k = 0; k < insns; k++) {
      b_.insn(pc_ += 3, 3);
      u.guest_insns.back().refund = static_cast<uint16_t>(insns - k);
      for (unsigned n = 0; n < ops / insns; n++) random_op();
      if (random(4) == 0) way_out();
    }
    terminator(i, blocks);
  }
}

}  // namespace panda::test
