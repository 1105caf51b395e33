/* What the guest's program and the plugin agree on: a hypercall (x86: CPUID) with these registers.
 *   EAX  RECCTRL_MAGIC
 *   EBX  an action
 *   ECX  (64-bit code: RCX) address of the recording's name, NUL-terminated; 0: "recctrl"
 * Outside a recording the plugin answers: EAX is RECCTRL_OK or a RECCTRL_REFUSED_*, EBX 1 where a recording begins.
 * Inside one CPUID acts as if there were no plugin, so that the replay needs none. */
#ifndef RECCTRL_PROTOCOL_H
#define RECCTRL_PROTOCOL_H

#define RECCTRL_MAGIC 0x52435452u /* "RTCR" in memory */

#define RECCTRL_TOGGLE 0u        /* begins a recording, or ends the one there is */
#define RECCTRL_SESSION_OPEN 1u  /* with session_rec: one more session; the first begins a recording */
#define RECCTRL_SESSION_CLOSE 2u /* one less; the last ends it */

#define RECCTRL_OK 0u
#define RECCTRL_REFUSED_ACTION 1u /* no such action, or not in this mode */
#define RECCTRL_REFUSED_NAME 2u   /* not a name that a recording can have */
#define RECCTRL_REFUSED_BEGIN 3u  /* a recording cannot begin now */

#endif
