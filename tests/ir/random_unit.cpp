#include "random_unit.h"

#include <algorithm>
#include <array>

#include "ir/builder.h"
#include "ir/type_check.h"
#include "ir_machine.h"

namespace panda::ir::test {
namespace {

struct Slot {
  uint32_t offset;
  Type type;
};
constexpr Slot kSlots[] = {
    {0, Type::I64},    {8, Type::I64},           {16, Type::I64},   {24, Type::I64},   {32, Type::I32},
    {36, Type::I32},   {40, Type::I32},          {48, Type::I16},   {50, Type::I8},    {51, Type::I8},
    {52, Type::I1},    {64, Type::V128},         {80, Type::V128},  {96, Type::V128},  {112, Type::V128},
    {128, Type::F64},  {136, Type::F64},         {144, Type::F32},  {148, Type::F32},  {152, Type::I64},
    {160, Type::I64},  {168, Type::I64},         {176, Type::V128}, {192, Type::V128}, {208, Type::V128},
    {224, Type::V128}, {kHelperSlot, Type::I64},
};
constexpr Type kTypes[] = {Type::I1, Type::I8, Type::I16, Type::I32, Type::I64, Type::F32, Type::F64, Type::V128};
// Where random bits would hardly ever go.
constexpr uint64_t kInteresting[] = {0,
                                     1,
                                     2,
                                     ~uint64_t{0},
                                     0x8000000000000000,
                                     0x7fffffffffffffff,
                                     0x80000000,
                                     0x7fffffff,
                                     0x8080808080808080,
                                     0x3ff0000000000000,
                                     0x3f8000003f800000,
                                     0x7ff0000000000000,
                                     0x7f8000007f800000,
                                     0x7ff8000000000001,
                                     0x7ff0000000000001,
                                     0x0000000000000003,
                                     0x41e0000000000000,
                                     0x4f0000003fc00000,
                                     0xc3e0000000000000,
                                     0x0123456789abcdef};

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed), builder_(out_.unit) {}

  RandomUnit run() {
    out_.state.resize(kStateBytes);
    out_.ram.resize(kRamBytes);
    for (size_t i = 0; i < kStateBytes; i += 8) put(out_.state, i, bits());
    for (const Slot& s : kSlots) {
      if (s.type == Type::I1) out_.state[s.offset] &= 1;
    }
    for (size_t i = 0; i < kRamBytes; i += 8) put(out_.ram, i, bits());
    out_.unit.pc_offset = kPcOffset;
    const unsigned blocks = 1 + pick(4);
    for (unsigned b = 0; b < blocks; b++) static_cast<void>(builder_.new_block());
    for (uint32_t b = 0; b < blocks; b++) block(b, blocks);
    for (size_t i = 0; i < out_.unit.guest_insns.size(); i++) out_.unit.guest_insns[i].refund = refunds_[i];
    out_.budget = pick(8) == 0 ? pick(12) : 1000;
    out_.mxcsr = 0x1f80 | pick(4) << 13 | (pick(4) == 0 ? 0x8040u : 0) | (pick(8) == 0 ? 0x8000u : 0);
    return std::move(out_);
  }

 private:
  uint32_t pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  uint64_t bits() {
    const uint64_t v = kInteresting[pick(std::size(kInteresting))];
    switch (pick(4)) {
      case 0:
        return random_();
      case 1:
        return v + pick(3) - 1;
      default:
        return v;
    }
  }
  static void put(std::vector<uint8_t>& to, size_t at, uint64_t v) {
    for (size_t i = 0; i < 8; i++) to[at + i] = static_cast<uint8_t>(v >> (8 * i));
  }

  // A value of this type: one there is, a slot or a constant.
  Value value(Type type) {
    auto& there = pool_[static_cast<size_t>(type)];
    const unsigned how = pick(10);
    if (!there.empty() && how < 7) return there[pick(static_cast<uint32_t>(there.size()))];
    if (how == 9) return builder_.konst(type, bits());
    for (unsigned tries = 0; tries < 30; tries++) {
      const Slot& s = kSlots[pick(std::size(kSlots))];
      if (s.type == type) return keep(builder_.get(type, s.offset));
    }
    return builder_.konst(type, bits());
  }
  Value keep(Value v) {
    if (v.valid()) pool_[static_cast<size_t>(v.type)].push_back(v);
    return v;
  }
  Type any_type() { return kTypes[pick(std::size(kTypes))]; }

  Type type_for(Sig sig, Type own) {
    switch (sig) {
      case Sig::I1:
        return Type::I1;
      case Sig::I8:
        return Type::I8;
      case Sig::I16:
        return Type::I16;
      case Sig::I32:
        return Type::I32;
      case Sig::I64:
        return Type::I64;
      case Sig::F32:
        return Type::F32;
      case Sig::F64:
        return Type::F64;
      case Sig::V128:
        return Type::V128;
      case Sig::T:
      case Sig::X:
        return own;
      default:
        return any_type();
    }
  }

  // Any computing op of the table: types and immediates are drawn until they fit.
  void compute() {
    const Op op = static_cast<Op>(pick(kOpCount));
    const Effects effects = info(op).effects;
    if ((effects != Effects::Pure && effects != Effects::FpState) || op == Op::konst) return;
    if (op >= Op::f80_load && op <= Op::f80_set_control) return;  // they need slots of their own
    for (unsigned tries = 0; tries < 200; tries++) {
      Inst in{};
      in.op = op;
      in.type = type_for(info(op).result, any_type());
      Type types[4] = {};
      in.nargs = static_cast<uint8_t>(operand_count(in));
      for (unsigned k = 0; k < in.nargs; k++) types[k] = type_for(info(op).operands[k], in.type);
      if (op == Op::icmp) types[1] = types[0];
      if (has_immediate(op))
        in.imm = op == Op::deposit || op == Op::extract ? random_() & 0x7f3f : pick(256) >> pick(9);
      if (op == Op::vmovmsk) in.aux = 1u << pick(4);
      if (!type_error(in, types).empty()) continue;
      Value args[3];
      for (unsigned k = 0; k < in.nargs; k++) args[k] = value(types[k]);
      switch (in.nargs) {
        case 1:
          keep(builder_.emit(op, in.type, {args[0]}, in.imm, in.aux));
          return;
        case 2:
          keep(builder_.emit(op, in.type, {args[0], args[1]}, in.imm, in.aux));
          return;
        default:
          keep(builder_.emit(op, in.type, {args[0], args[1], args[2]}, in.imm, in.aux));
          return;
      }
    }
  }

  void set_slot() {
    const Slot& s = kSlots[pick(std::size(kSlots))];
    builder_.set(s.offset, value(s.type));
  }

  void memory() {
    Value address = builder_.and_(value(Type::I64), builder_.i64(0x3fff));
    MemInfo m{.mode = 0, .for_write = false, .align = 0};
    Type type = any_type();
    if (type == Type::I1) type = Type::I8;
    if (pick(3) == 0) {
      m.align = static_cast<uint8_t>(size_bytes(type));
      if (pick(10) != 0) address = builder_.and_(address, builder_.i64(~uint64_t{15}));
    }
    if (pick(60) == 0) address = builder_.add(address, builder_.i64(kFaultBase));
    if (pick(10) == 0) address = builder_.or_(builder_.and_(address, builder_.i64(0x3000)), builder_.i64(0xff9));
    if (pick(2) == 0) {
      builder_.store(address, value(type), m);
    } else {
      m.for_write = pick(3) == 0;
      keep(builder_.load(type, address, m));
    }
  }

  void call() {
    static const auto kHelpers = all_helpers();
    const HelperDesc& h = *kHelpers[pick(static_cast<uint32_t>(kHelpers.size()))];
    Value a[4];
    unsigned n = 0;
    while (n < 4 && h.params[n] != Type::Void) {
      a[n] = value(h.params[n]);
      n++;
    }
    if (h.may_exit && pick(8) != 0) a[0] = builder_.and_(a[0], builder_.i32(~uint32_t{1}));
    switch (n) {
      case 0:
        keep(builder_.call(h));
        return;
      case 1:
        keep(builder_.call(h, {a[0]}));
        return;
      case 2:
        keep(builder_.call(h, {a[0], a[1]}));
        return;
      default:
        keep(builder_.call(h, {a[0], a[1], a[2], a[3]}));
        return;
    }
  }

  void block(uint32_t b, unsigned blocks) {
    builder_.begin_block(b);
    for (auto& p : pool_) p.clear();
    const uint32_t insns = 1 + pick(6);
    builder_.count(insns);
    for (uint32_t i = 0; i < insns; i++) {
      builder_.insn(0x1000 + 4 * out_.unit.guest_insns.size(), 4);
      refunds_.push_back(static_cast<uint16_t>(insns - i));
      const unsigned ops = 1 + pick(20);
      for (unsigned k = 0; k < ops; k++) {
        switch (pick(24)) {
          case 0:
            memory();
            break;
          case 1:
            call();
            break;
          case 2:
          case 3:
          case 4:
            set_slot();
            break;
          case 5:
            keep(builder_.emit(Op::insn_count, Type::I64, {}));
            break;
          default:
            compute();
        }
      }
      for (unsigned k = pick(4); k > 0; k--) set_slot();
    }
    end(b, blocks);
  }

  void end(uint32_t b, unsigned blocks) {
    const uint32_t left = blocks - b - 1;
    if (left > 0 && pick(6) != 0) {
      const uint32_t one = b + 1 + pick(left);
      const uint32_t two = b + 1 + pick(left);
      if (pick(3) == 0) return builder_.br(one);
      const Type type = kTypes[1 + pick(4)];  // I8 to I64
      const Value test =
          pick(2) == 0 ? value(Type::I1) : builder_.icmp(static_cast<Cond>(pick(10)), value(type), value(type));
      if (pick(3) == 0)
        return builder_.brc(
            builder_.icmp(pick(2) == 0 ? Cond::Eq : Cond::Ne, builder_.zext(Type::I32, test), builder_.i32(0)), one,
            two);
      return builder_.brc(test, one, two);
    }
    switch (pick(3)) {
      case 0:
        return builder_.exit_direct(0x2000 + b);
      case 1:
        return builder_.exit_indirect(value(Type::I64));
      default:
        builder_.set(kPcOffset, value(Type::I64));
        return builder_.exit_dispatch();
    }
  }

  std::mt19937_64 random_;
  RandomUnit out_;
  Builder builder_;
  std::array<std::vector<Value>, 9> pool_;
  std::vector<uint16_t> refunds_;
};

}  // namespace

bool has_immediate(Op op) {
  static constexpr std::string_view kNames[] = {
      "fround",   "fcmp_mask", "deposit",   "extract", "icmp",   "vget_lane", "vset_lane",   "vshli",   "vshri",
      "vsari",    "vshlbytes", "vshrbytes", "vpshuf",  "vshufp", "vpalignr",  "vblend_i16",  "vblendp", "vinsertps",
      "vmpsadbw", "vcmp_f",    "vdp",       "vround",  "ffma",   "vfma_f",    "vcvt_f32_f16"};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view name) { return info(op).name.starts_with(name); });
}

RandomUnit random_unit(uint64_t seed) { return Generator(seed).run(); }

}  // namespace panda::ir::test
