/* The guest's side of the plugin recctrl: asks for a recording to begin or to end. No C library, so that it runs in
 * any Linux guest:
 *     gcc -O2 -static -nostdlib -fno-stack-protector -o recctrlu recctrlu.c        (-m32 for i386)
 *     recctrlu toggle [NAME]   recctrlu session_open [NAME]   recctrlu session_close
 * Exit status: 0 the plugin agreed, or (inside a recording) was told; 1 it refused; 2 wrong usage. */
#include "../recctrl_protocol.h"

#ifdef __x86_64__
#define SYS_WRITE 1
#define SYS_EXIT 60
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
static long system_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
#else
#define SYS_WRITE 4
#define SYS_EXIT 1
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call run\n");
static long system_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}
#endif

static int same(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) a++, b++;
  return *a == *b;
}

static void end(int status, const char *message, long length) {
  if (length != 0) system_call(SYS_WRITE, 2, (long)message, length);
  for (;;) system_call(SYS_EXIT, status, 0, 0);
}
#define QUIT(status, message) end(status, message, sizeof(message) - 1)

static unsigned hypercall(unsigned action, const char *name, unsigned *recording) {
  unsigned long a = RECCTRL_MAGIC, b = action, c = (unsigned long)name, d = 0;
  __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d) : : "memory");
  *recording = (unsigned)b;
  return (unsigned)a;
}

void run(long *stack) {
  static const char *const actions[] = {"toggle", "session_open", "session_close"};
  const long count = stack[0];
  char **const arguments = (char **)(stack + 1);
  unsigned action = 0;
  while (count >= 2 && action < 3 && !same(arguments[1], actions[action])) action++;
  if (count < 2 || count > 3 || action == 3) QUIT(2, "usage: recctrlu toggle|session_open|session_close [NAME]\n");
  const char *const name = count == 3 ? arguments[2] : 0;
  /* The name's page is there when the plugin reads it. */
  for (const char *at = name; at != 0 && *(volatile const char *)at != '\0'; at++) {
  }
  unsigned recording = 0;
  switch (hypercall(action, name, &recording)) {
    case RECCTRL_OK:
      if (recording == 1) QUIT(0, "recctrlu: recording\n");
      QUIT(0, "");
    case RECCTRL_REFUSED_ACTION:
      QUIT(1, "recctrlu: refused: not in this mode\n");
    case RECCTRL_REFUSED_NAME:
      QUIT(1, "recctrlu: refused: not a name for a recording\n");
    case RECCTRL_REFUSED_BEGIN:
      QUIT(1, "recctrlu: refused: a recording cannot begin now\n");
    default:
      QUIT(0, ""); /* CPUID's own answer: inside a recording, or no plugin is there */
  }
}
