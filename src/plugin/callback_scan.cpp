#include "plugin/callback_scan.h"

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <vector>

namespace panda::plugin {
namespace {

constexpr unsigned kMaxInsns = 512;

// The executable segment that holds an address.
struct Code {
  uintptr_t begin = 0, end = 0;
  [[nodiscard]] bool holds(uintptr_t at) const { return at >= begin && at < end; }
};

Code segment_of(uintptr_t at) {
  struct Search {
    uintptr_t at;
    Code found;
  } search{at, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* data) {
        auto& s = *static_cast<Search*>(data);
        for (unsigned i = 0; i < object->dlpi_phnum; i++) {
          const auto& header = object->dlpi_phdr[i];
          if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
          const Code code{object->dlpi_addr + header.p_vaddr, object->dlpi_addr + header.p_vaddr + header.p_memsz};
          if (code.holds(s.at)) s.found = code;
        }
        return s.found.end != 0 ? 1 : 0;
      },
      &search);
  return search.found;
}

bool harmless(ZydisInstructionCategory category) {
  switch (category) {
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_BITBYTE:
    case ZYDIS_CATEGORY_CET:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_CONVERT:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_LOGICAL_FP:
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_WIDENOP:
      return true;
    default:
      return false;
  }
}

class Scan {
 public:
  explicit Scan(Code code) : code_(code) {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    result_ = {.reads = false, .writes = false, .calls_out = false};
  }

  Footprint run(uintptr_t entry) {
    functions_.push_back(entry);
    for (size_t i = 0; i < functions_.size() && !result_.calls_out; i++) function(functions_[i]);
    if (result_.calls_out) return {};
    result_.keeps = ~(written_ | 1);  // whoever calls may need RAX for that
    constexpr unsigned kArguments[] = {7, 6, 2, 1, 8, 9};
    for (unsigned i = 0; i < std::size(kArguments); i++) {
      if ((read_ >> kArguments[i] & 1) == 0) result_.ignores |= static_cast<uint8_t>(1u << i);
    }
    return result_;
  }

 private:
  void give_up() { result_.calls_out = true; }

  static void add(std::vector<uintptr_t>& list, uintptr_t at) {
    if (std::find(list.begin(), list.end(), at) == list.end()) list.push_back(at);
  }

  bool decode(uintptr_t at) {
    if (!code_.holds(at) || ++insns_ > kMaxInsns) return false;
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, reinterpret_cast<const void*>(at),
                                               std::min<size_t>(code_.end - at, 15), &insn_, operands_));
  }

  // With the usual prologue, and RBP set nowhere else but by the epilogue, RBP addresses the function's own frame.
  bool sets_up_frame(uintptr_t at) {
    for (unsigned i = 0; i < 3 && decode(at); i++, at += insn_.length) {
      if (insn_.mnemonic == ZYDIS_MNEMONIC_MOV && operands_[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
          operands_[0].reg.value == ZYDIS_REGISTER_RBP) {
        return operands_[1].type == ZYDIS_OPERAND_TYPE_REGISTER && operands_[1].reg.value == ZYDIS_REGISTER_RSP;
      }
      const bool first = insn_.mnemonic == ZYDIS_MNEMONIC_ENDBR64 || insn_.mnemonic == ZYDIS_MNEMONIC_PUSH;
      if (!first) return false;
    }
    return false;
  }

  void function(uintptr_t entry) {
    frame_ = sets_up_frame(entry);
    paths_.assign(1, entry);
    for (size_t i = 0; i < paths_.size() && !result_.calls_out; i++) path(paths_[i]);
  }

  void path(uintptr_t at) {
    for (uintptr_t start = at; !result_.calls_out; start = 0) {
      if (start == 0 && std::find(paths_.begin(), paths_.end(), at) != paths_.end()) return;  // joined another
      if (!decode(at)) return give_up();
      const uintptr_t next = at + insn_.length;
      note_registers();
      switch (insn_.meta.category) {
        case ZYDIS_CATEGORY_RET:
          return;
        case ZYDIS_CATEGORY_UNCOND_BR:
          if (const uintptr_t to = target(at); to != 0) add(paths_, to);
          return;
        case ZYDIS_CATEGORY_COND_BR:
          if (const uintptr_t to = target(at); to != 0) add(paths_, to);
          break;
        case ZYDIS_CATEGORY_CALL:
          if (const uintptr_t to = target(at); to != 0) add(functions_, to);
          break;
        default:
          if (insn_.mnemonic == ZYDIS_MNEMONIC_UD2) return;
          if (!plain()) return give_up();
      }
      at = next;
    }
  }

  // Of a direct branch; the end of the process counts as none. Gives up on everything else.
  uintptr_t target(uintptr_t at) {
    const ZydisDecodedOperand& op = operands_[0];
    ZyanU64 to = 0;
    if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&insn_, &op, at, &to))) {
      return to;
    }
    // Through the global offset table, which is complete once a plugin is loaded.
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.mem.base == ZYDIS_REGISTER_RIP &&
        ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&insn_, &op, at, &to))) {
      static const void* const stack_smashed = dlsym(RTLD_DEFAULT, "__stack_chk_fail");
      const void* pointer = nullptr;
      std::memcpy(&pointer, reinterpret_cast<const void*>(to), sizeof pointer);
      if (pointer != nullptr && pointer == stack_smashed) return 0;
    }
    give_up();
    return 0;
  }

  [[nodiscard]] bool own(const ZydisDecodedOperand& op) const {
    if (op.mem.segment == ZYDIS_REGISTER_FS) return true;  // thread-local
    if (op.mem.index != ZYDIS_REGISTER_NONE) return false;
    if (op.mem.base == ZYDIS_REGISTER_RIP || op.mem.base == ZYDIS_REGISTER_RSP) return true;
    return op.mem.base == ZYDIS_REGISTER_RBP && frame_;
  }

  void note_registers() {
    for (unsigned i = 0; i < insn_.operand_count; i++) {
      const ZydisDecodedOperand& op = operands_[i];
      if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) note(op.reg.value, op.actions);
      if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
      note(op.mem.base, ZYDIS_OPERAND_ACTION_READ);
      note(op.mem.index, ZYDIS_OPERAND_ACTION_READ);
    }
  }
  void note(ZydisRegister reg, ZydisOperandActions actions) {
    const ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    const ZydisRegisterClass kind = ZydisRegisterGetClass(full);
    unsigned number = 0;
    if (kind == ZYDIS_REGCLASS_GPR64)
      number = static_cast<unsigned>(ZydisRegisterGetId(full));
    else if (kind == ZYDIS_REGCLASS_ZMM)
      number = 16 + static_cast<unsigned>(ZydisRegisterGetId(full) & 15);
    else
      return;
    if ((actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) read_ |= 1u << number;
    if ((actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) written_ |= 1u << number;
  }

  // What sets RBP as prologues and epilogues do.
  [[nodiscard]] bool keeps_frame() const {
    return insn_.mnemonic == ZYDIS_MNEMONIC_POP || insn_.mnemonic == ZYDIS_MNEMONIC_LEAVE ||
           (insn_.mnemonic == ZYDIS_MNEMONIC_MOV && operands_[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            operands_[1].reg.value == ZYDIS_REGISTER_RSP);
  }

  // False: more than moving and combining integers.
  bool plain() {
    if (!harmless(insn_.meta.category) && insn_.mnemonic != ZYDIS_MNEMONIC_LEA &&
        insn_.mnemonic != ZYDIS_MNEMONIC_LEAVE) {
      return false;
    }
    const bool moves = insn_.meta.category == ZYDIS_CATEGORY_DATAXFER ||
                       insn_.meta.category == ZYDIS_CATEGORY_LOGICAL ||
                       insn_.meta.category == ZYDIS_CATEGORY_LOGICAL_FP;
    for (unsigned i = 0; i < insn_.operand_count; i++) {
      const ZydisDecodedOperand& op = operands_[i];
      if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        switch (ZydisRegisterGetClass(op.reg.value)) {
          case ZYDIS_REGCLASS_XMM:
          case ZYDIS_REGCLASS_YMM:
            if (!moves) return false;
            break;
          case ZYDIS_REGCLASS_GPR8:
          case ZYDIS_REGCLASS_GPR16:
          case ZYDIS_REGCLASS_GPR32:
          case ZYDIS_REGCLASS_GPR64:
          case ZYDIS_REGCLASS_FLAGS:
          case ZYDIS_REGCLASS_IP:
            break;
          default:
            return false;  // x87, MMX, mask, segment and control registers
        }
        if (frame_ && op.reg.value == ZYDIS_REGISTER_RBP && (op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 &&
            !keeps_frame()) {
          return false;
        }
      }
      if (op.type != ZYDIS_OPERAND_TYPE_MEMORY || op.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
      if (own(op)) continue;
      if ((op.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) result_.reads = true;
      if ((op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) result_.reads = result_.writes = true;
    }
    return true;
  }

  Code code_;
  ZydisDecoder decoder_;
  ZydisDecodedInstruction insn_;
  ZydisDecodedOperand operands_[ZYDIS_MAX_OPERAND_COUNT];
  Footprint result_;
  uint32_t read_ = 0, written_ = 0;  // registers
  std::vector<uintptr_t> functions_, paths_;
  unsigned insns_ = 0;
  bool frame_ = false;
};

}  // namespace

Footprint scan_callback(const void* function) {
  const auto entry = reinterpret_cast<uintptr_t>(function);
  const Code code = segment_of(entry);
  return code.end == 0 ? Footprint{} : Scan(code).run(entry);
}

}  // namespace panda::plugin
