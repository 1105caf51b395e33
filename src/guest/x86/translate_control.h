// What the files of the control chapter share.
#pragma once

#include "guest/x86/translate_integer.h"

namespace panda::x86 {

// translate_stack.cpp
exec::InsnEnd translate_push(InsnContext& x);
exec::InsnEnd translate_pop(InsnContext& x);
exec::InsnEnd translate_pusha(InsnContext& x);
exec::InsnEnd translate_popa(InsnContext& x);
exec::InsnEnd translate_enter(InsnContext& x);
exec::InsnEnd translate_leave(InsnContext& x);
// translate_flags.cpp
exec::InsnEnd translate_pushf(InsnContext& x);
exec::InsnEnd translate_popf(InsnContext& x);
exec::InsnEnd translate_lahf(InsnContext& x);
exec::InsnEnd translate_sahf(InsnContext& x);
exec::InsnEnd translate_carry_flag(InsnContext& x);
exec::InsnEnd translate_direction_flag(InsnContext& x);
exec::InsnEnd translate_cli(InsnContext& x);
exec::InsnEnd translate_sti(InsnContext& x);

}  // namespace panda::x86
