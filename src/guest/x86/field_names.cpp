// Offsets in the CPU state by name, and instructions as text: for reports.
#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "guest/x86/frontend.h"

namespace panda::x86 {
namespace {

struct Field {
  std::string_view name;
  size_t offset;
  size_t size;
  size_t element;  // of an array; else 0
};

#define FIELD(name) {#name, offsetof(State, name), sizeof(State::name), 0}
#define ARRAY(name) {#name, offsetof(State, name), sizeof(State::name), sizeof(State::name[0])}
constexpr Field kFields[] = {
    FIELD(eip),
    FIELD(cc_dst),
    FIELD(cc_src),
    FIELD(cc_src2),
    FIELD(cc_op),
    FIELD(df),
    FIELD(eflags),
    FIELD(hflags),
    ARRAY(segs),
    FIELD(ldt),
    FIELD(tr),
    FIELD(gdt),
    FIELD(idt),
    ARRAY(cr64),
    ARRAY(dr64),
    FIELD(a20_mask),
    FIELD(fpstt),
    FIELD(fpus),
    FIELD(fpuc),
    ARRAY(fptags),
    ARRAY(fpregs),
    FIELD(fpop),
    FIELD(fpcs),
    FIELD(fpds),
    FIELD(fpus_next_),
    FIELD(fpip),
    FIELD(fpdp),
    FIELD(mxcsr),
    FIELD(xcr0),
    ARRAY(xmm_regs),
    FIELD(sysenter_cs),
    FIELD(sysenter_esp),
    FIELD(sysenter_eip),
    FIELD(efer),
    FIELD(star),
    FIELD(lstar),
    FIELD(cstar),
    FIELD(fmask),
    FIELD(kernelgsbase),
    FIELD(tsc_offset),
    FIELD(tsc_aux),
    FIELD(pat),
    FIELD(mtrr_def_type),
    ARRAY(mtrr_fixed),
    ARRAY(mtrr_base),
    ARRAY(mtrr_mask),
    FIELD(misc_enable),
    FIELD(spec_ctrl),
    ARRAY(pdptes_),
    ARRAY(large_pages_),
    FIELD(exception_index),
    FIELD(error_code),
    FIELD(exception_flags_),
    FIELD(halted),
    FIELD(interrupt_request),
    FIELD(inhibit_irq),
    FIELD(nmi_blocked),
    FIELD(old_exception),
    FIELD(exception_next_eip),
    FIELD(cr2_pending_),
    FIELD(rr_guest_instr_count),
    FIELD(mem_io_vaddr),
    ARRAY(opaque_),
};
#undef FIELD
#undef ARRAY

constexpr std::string_view kRegisters[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

}  // namespace

std::string X86Frontend::field_name(uint32_t offset) const {
  if (offset < sizeof(State::regs64)) {
    return layout_.is64 ? std::string(kRegisters[offset / 8])
                        : fmt::format("e{}, e{}", kRegisters[offset / 4 % 8].substr(1),
                                      kRegisters[(offset / 4 + 1) % 8].substr(1));
  }
  for (const Field& f : kFields) {
    // A report goes by eight bytes: a smaller field may begin behind the offset.
    if (offset + 8 <= f.offset || offset >= f.offset + f.size) continue;
    const size_t into = offset > f.offset ? offset - f.offset : 0;
    if (f.element == 0) return into == 0 ? std::string(f.name) : fmt::format("{}+{}", f.name, into);
    const size_t rest = into % f.element;
    return fmt::format("{}[{}]{}", f.name, into / f.element, rest == 0 ? "" : fmt::format("+{}", rest));
  }
  return {};
}

std::string X86Frontend::disassemble(std::span<const uint8_t> bytes, uint64_t pc, uint64_t flags) {
  DecodedInsn d{};
  if (decoder_.decode(bytes, flags, d) != DecodeStatus::Ok) return "(undefined)";
  ZydisFormatter formatter;
  char text[96];
  if (!ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
      !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &d.insn, d.ops, d.insn.operand_count_visible, text,
                                                    sizeof text, pc, ZYAN_NULL))) {
    return {};
  }
  return text;
}

}  // namespace panda::x86
