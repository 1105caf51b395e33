// What the files of the system chapter share.
//
// Helpers here move the state themselves: on success of a transfer the pc slot is the target's, so
// the translator ends the unit with leave(). A helper that only sometimes changes what translations
// depend on asks for ExitRequest::Dispatch itself (refresh_mode) and must be the instruction's last op.
#pragma once

#include <span>
#include <string_view>

#include "guest/x86/insn_context.h"
#include "guest/x86/rows.h"

namespace panda::x86 {

template <typename T>
inline constexpr Type kHelperType = Type::Void;
template <>
inline constexpr Type kHelperType<uint32_t> = Type::I32;
template <>
inline constexpr Type kHelperType<uint64_t> = Type::I64;

// Descriptor of a helper by its C++ signature. They may ask for the instruction count.
template <typename R, typename... P>
[[nodiscard]] ir::HelperDesc system_helper(std::string_view name, R (*function)(void*, P...) noexcept) {
  return {.name = name,
          .function = reinterpret_cast<const void*>(function),
          .result = kHelperType<R>,
          .params = {kHelperType<P>...},
          .uses_budget = true};
}

// The helper has set the pc slot.
inline exec::InsnEnd leave(InsnContext& x) {
  x.b.exit_dispatch();
  return exec::InsnEnd::Closed;
}
inline exec::InsnEnd fault(InsnContext& x, Vector vector) {
  if (vector == kGP)
    x.raise(vector, uint16_t{0});
  else
    x.raise(vector);
  return exec::InsnEnd::Closed;
}
// Falls through; in an exact unit back to the engine.
inline exec::InsnEnd done(InsnContext& x) { return x.request.exact ? x.end_dispatch() : exec::InsnEnd::Next; }
inline Value next_pc_value(InsnContext& x) { return x.b.i64(x.next_pc()); }
inline bool in_protected_mode(const InsnContext& x) { return x.mode(kModePe) && !x.mode(kModeVm); }
inline bool is_memory_operand(const ZydisDecodedOperand& op) { return op.type == ZYDIS_OPERAND_TYPE_MEMORY; }

// translate_segment.cpp. mov_segment: MOV to and from a segment register.
exec::InsnEnd mov_segment(InsnContext& x);
std::span<const Row> segment_system_rows();
// translate_transfer.cpp
std::span<const Row> transfer_system_rows();
// translate_control_regs.cpp
std::span<const Row> control_register_rows();
// translate_io.cpp
std::span<const Row> io_system_rows();
// translate_processor.cpp
std::span<const Row> processor_rows();

}  // namespace panda::x86
