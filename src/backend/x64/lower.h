// Turns one ir::Unit into host code: one backward pass (liveness) and one forward pass (allocation
// and emission together) per block, then the unit's cold part. One object serves all units and
// keeps its buffers; nothing is allocated per op. There is a lower_<op>() for every row of
// opcodes.inc, by family in lower_{int,compare,memory,flow,float,vector}.cpp; a missing one does
// not link.
//
// What crosses a block goes through guest-state memory now: begin_block() and flush() at the
// terminators are the only places that know it, so an assignment of slots to registers across a
// region would replace those.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/x64/access_groups.h"
#include "backend/x64/assembler.h"
#include "backend/x64/frame.h"
#include "backend/x64/loop_chains.h"
#include "backend/x64/reg_alloc.h"
#include "backend/x64/x87_stack.h"
#include "base/soft_float.h"
#include "exec/translation_unit.h"
#include "ir/ir.h"

namespace panda::x64 {

// Where the shared pieces of code are.
struct Thunks {
  Assembler::Offset exit = 0;      // common exit
  Assembler::Offset dispatch = 0;  // exit_dispatch: goes on by VcpuContext::next_code, or leaves
  Assembler::Offset slow = 0;      // soft-TLB miss while no vector register is live
  Assembler::Offset slow_xmm = 0;
  Assembler::Offset slow_x87 = 0;  // while values lie on the x87 stack, and for its own accesses
  // A guest address becomes the host's: by MMU mode, whether it is written, log2 of the size, and register.
  static constexpr unsigned kSizes = 5;
  Assembler::Offset lookup[kMmuModes][2][kSizes][8] = {};
  Assembler::Offset last_addends = 0;  // LastAddend[addend_count], which may be none, in pages of their own
  uint32_t addend_count = 0;
};

// What Lowering::load_addend() keeps of an access. Several may share one.
struct LastAddend {
  uint64_t addend;
  int32_t misses_left;
  uint32_t unused;
};

class Lowering {
 public:
  Lowering(Assembler& assembler, const Thunks& thunks)
      : c_(assembler), thunks_(thunks), ra_(assembler), x87_(assembler, ra_) {}

  void set_listener(AllocListener* listener) { ra_.set_listener(listener); }
  // Emits the unit at the assembler's position. Returns its entry.
  Assembler::Offset run(const ir::Unit& unit, exec::TranslationUnit& handle);
  // Of the unit just compiled, by exit number.
  [[nodiscard]] const std::vector<ExitJump>& exits() const { return exits_; }

 private:
  using Inst = ir::Inst;
  using Operand = Xbyak::Operand;
  using Xmm = Xbyak::Xmm;

#define OP(name, result, a, b, c, effects) void lower_##name(const Inst& in);
#include "ir/opcodes.inc"
#undef OP
  using Emitter = void (Lowering::*)(const Inst&);
  static const Emitter kEmitters[ir::kOpCount];

  struct SlowStub {
    Assembler::Offset jumps[2];
    Assembler::Offset resume;
    SlowHeader header;
    uint32_t first_dirty;
    uint32_t first_constant;
    uint32_t first_token;
    bool xmm;
    bool x87;  // with x87_access
    X87Access x87_access;
  };
  // A group member without its pointer.
  struct ColdAccess {
    Assembler::Offset jump;
    uint32_t op;
    uint32_t slow_stub;
    RegAlloc::Location root;
    int64_t displacement;  // from the root; of a first member from the range's beginning
    uint64_t constant;
    int pointer, data;
    int address;  // of kLookupGprs
    bool saves_address;
    bool first, narrow;
  };
  // The TLB entry has another addend than the access had the last time.
  struct OtherAddend {
    Assembler::Offset jump, compare, cell;
    int to, entry;
    uint8_t mode;
  };
  struct ColdStub {
    exec::Exit kind;
    Assembler::Offset jump;
    uint32_t index;            // guest instruction, or exit number
    uint64_t value;            // Direct: pc; Budget: n
    uint32_t first_store = 0;  // slots to write, in stores_
    uint32_t stores = 0;
    uint32_t refund = 0;  // Direct, Indirect: instructions paid for that do not run
  };
  struct BlockJump {
    Assembler::Offset after;
    uint32_t block;
  };

  // --- integers
  using AluOp = void (*)(Assembler&, const Operand&, const Operand&);
  using AluImm = void (*)(Assembler&, const Operand&, uint32_t);
  enum class Shift : uint8_t { Shl, Shr, Sar, Rol, Ror };
  [[nodiscard]] Xbyak::Reg reg(int r, ir::Type t) const;     // by the type's size
  [[nodiscard]] Xbyak::Reg reg_op(int r, ir::Type t) const;  // 64 bits for I64, else 32
  [[nodiscard]] unsigned zero_from(ir::ValueId v) const;
  void alu(const Inst& in, bool commutative, AluOp op, AluImm imm, unsigned result_zero_from);
  void add_scaled(const Inst& in, ir::ValueId base, ir::ValueId scaled);
  void shift(const Inst& in, Shift kind);
  void shift_by_constant(const Inst& in, Shift kind, unsigned count);
  void shift_by_cl(const Inst& in, Shift kind);
  void emit_shift_imm(Shift kind, const Xbyak::Reg& r, unsigned count);
  void extend(int to, int from, ir::Type t, bool sign);  // t to 64 bits
  int use_zero_extended(ir::ValueId v);
  void count_bits(const Inst& in, void (*op)(Assembler&, const Xbyak::Reg&, const Xbyak::Reg&));
  void multiply_high(const Inst& in, bool sign);
  void high_of_product(const Inst& in, bool sign);

  // --- conditions
  void prepare_condition(ir::ValueId v);
  Cc condition(ir::ValueId v);
  Cc compare(const Inst& icmp);
  void select_int(const Inst& in);
  void select_xmm(const Inst& in);

  // --- memory
  void tlb_lookup(const ir::MemInfo& info, unsigned size, bool write, ir::ValueId address_value, int address, int t1,
                  int t2);
  void load_addend(int to, int entry, uint8_t mode);
  void emit_other_addends();
  [[nodiscard]] Xbyak::RegRip rip_relative(Assembler::Offset where, int size) const;
  unsigned emit_load(ir::Type t, int d, const Xbyak::RegExp& at);  // returns where the result's zero bits begin
  void emit_store(ir::Type t, int data, uint64_t constant, const Xbyak::RegExp& at);
  int lone_address(const Inst& in, AccessGroup* group);
  void slow_stub(const Inst& in, unsigned size, int address, int data, uint64_t constant);
  void add_dirty(SlowStub& stub, const DirtySlot& slot);
  void emit_slow_stubs();
  // Several accesses with one check (lower_group.cpp).
  [[nodiscard]] bool shares_check(const AccessGroup& group) const;
  void add_displacement(int to, int from, int64_t displacement, bool narrow);
  Xbyak::RegExp begin_shared(const Inst& in, AccessGroup& group, int data, uint64_t constant);
  void end_shared(AccessGroup& group);
  void emit_cold_accesses();

  // --- flow
  void jump_to(uint32_t block);
  void jump_if(Cc cc, uint32_t block);
  void count_references(const ir::Unit& unit);
  // A block that is nothing but a direct exit, with one way in: the jump to it is the exit's.
  [[nodiscard]] bool is_lone_exit(uint32_t block) const;
  void leave_by(Assembler::Offset jump, uint32_t block);
  [[nodiscard]] uint32_t find_loop_exit() const;
  [[nodiscard]] bool everything_inline(const ir::Block& block) const;
  void end_loop(const Inst& brc);
  void end_region_loop(const Inst& exit);
  void store_bindings(const ColdStub& stub);
  [[nodiscard]] bool follows(uint32_t block) const;
  void move_arguments(const Inst& in, const ir::HelperDesc& desc);
  void call_address(const void* function);
  void call_through(const void* cell);  // where the function's address stands
  void load_constant(int to, uint64_t value);
  void exit_with(exec::Exit kind, uint32_t index);  // jumps to the unit's tail
  void store_pc(uint64_t pc);
  void exit_to_other_page(uint64_t pc, int t, int u);
  void emit_direct_stub(const ColdStub& stub);
  [[nodiscard]] bool may_be_counted(uint64_t pc) const;
  void emit_cold_stubs();
  void emit_tail();
  [[nodiscard]] uint32_t next_insn_index() const;

  // --- float and vector: [x] the AVX form, [y] the SSE form
  using Avx2 = void (*)(Assembler&, const Xmm& d, const Operand& a);
  using Avx3 = void (*)(Assembler&, const Xmm& d, const Xmm& a, const Operand& b);
  using Avx4 = void (*)(Assembler&, const Xmm& d, const Xmm& a, const Xmm& b, const Xmm& mask);
  using Avx2Imm = void (*)(Assembler&, const Xmm& d, const Operand& a, uint8_t imm);
  using Avx3Imm = void (*)(Assembler&, const Xmm& d, const Xmm& a, const Operand& b, uint8_t imm);
  using SseImm = void (*)(Assembler&, const Xmm& d, uint8_t imm);
  void xmm1(const Inst& in, Avx2 avx, Avx2 sse);
  void xmm1_imm(const Inst& in, Avx2Imm avx, Avx2Imm sse);
  void xmm2(const Inst& in, Avx3 avx, Avx2 sse);
  void xmm2_imm(const Inst& in, Avx3Imm avx, Avx2Imm sse);
  void xmm1_shift(const Inst& in, Avx2Imm avx, SseImm sse);
  void fma(const Inst& in, SoftOp soft, const Avx3 (&forms)[6]);
  void soft_op(SoftOp op, uint8_t imm, int d, int a, int b);  // d = op(a, b, d)
  void blendv(const Inst& in, unsigned lane_bytes, Avx4 avx);
  void float1(const Inst& in, Avx3 avx32, Avx2 sse32, Avx3 avx64, Avx2 sse64);
  void float2(const Inst& in, Avx3 avx32, Avx2 sse32, Avx3 avx64, Avx2 sse64);
  void float_compare(const Inst& in, bool quiet);
  void flags_to(const Inst& in, uint32_t mask);  // EFLAGS bits by LAHF; rax was taken before
  void float_to_integer(const Inst& in, bool truncate);
  void integer_to_float(const Inst& in, bool f64);
  void zero_xmm(int r);
  void move_xmm(int to, int from);

  // --- F80 (lower_x87.cpp)
  void x87_sync();   // the status word is current
  void x87_flush();  // and the stack empty, everything in its slot
  void x87_unary(const Inst& in, uint8_t second_byte);
  void x87_binary(const Inst& in, const X87Arith& arith);
  void x87_compare(const Inst& in, int first_byte, int second_byte);
  void x87_compare_flags(const Inst& in, int second_byte);
  // A TLB hit's host address, or that of memory of ours on the slow path.
  int x87_address(const Inst& in, unsigned size, ir::ValueId address, X87Access::Kind kind, ir::ValueId stored);
  void x87_memory_operand(int first_byte, int digit, int pointer);
  void x87_arith_load(const Inst& in, unsigned digit);
  void x87_slow_stub(SlowStub& stub);  // adds what lies on the x87 stack to a stub's description

  static constexpr Assembler::Offset kNotYet = ~Assembler::Offset{0};

  Assembler& c_;
  const Thunks& thunks_;
  RegAlloc ra_;
  X87Stack x87_;
  const ir::Unit* unit_ = nullptr;
  exec::TranslationUnit* handle_ = nullptr;
  uint32_t index_ = 0;  // of the op being lowered
  uint32_t block_ = 0;
  uint32_t current_insn_ = 0;
  std::vector<Assembler::Offset> block_at_;
  std::vector<uint32_t> references_;  // by block: branches to it
  std::vector<uint8_t> skipped_;      // by block: lone exits that became part of their branch
  std::vector<BlockJump> block_jumps_;
  AccessGroups groups_;
  std::vector<SlowStub> slow_stubs_;
  std::vector<ColdAccess> cold_accesses_;
  // What the stubs' descriptions are made of.
  std::vector<DirtySlot> dirty_;
  std::vector<uint64_t> dirty_constants_;
  std::vector<LazyToken> tokens_;
  std::vector<ColdStub> cold_stubs_;
  std::vector<Assembler::Offset> tail_jumps_;
  std::vector<OtherAddend> other_addends_;
  uint32_t next_addend_ = 0;
  LoopChains chains_;
  std::vector<ExitJump> exits_;
  std::vector<RegAlloc::Binding> stores_;
  // Where the unit is a loop: the block that leaves to the unit itself, and the number of that exit.
  uint32_t loop_exit_ = ir::kNoValue;
  uint32_t loop_exit_number_ = 0;
  Assembler::Offset loop_head_ = 0;
};

}  // namespace panda::x64
