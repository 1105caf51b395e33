/* The guest program of the plugin tests: /init of an initramfs, the only process besides its own child.
 *
 * It waits for a byte on the console, does what is listed in work(), and then says "done" and waits, again and
 * again. The recording is begun in the first wait and ended behind the second "done". What plugins must find is known from this file: strings
 * and buffers, the callers of copy(), how often count_loop()'s body runs, what is never called. Where a
 * plugin reports an instruction, that instruction has a label, in the assembly at the end of the file.
 */
typedef unsigned long word;

#define NOINLINE __attribute__((noinline, noclone, used))
#ifdef __x86_64__
enum { SYS_read = 0, SYS_write = 1, SYS_mmap = 9, SYS_getpid = 39, SYS_fork = 57, SYS_exit = 60, SYS_wait4 = 61 };
static long sys(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
static unsigned char *map_code(void) {
  return (unsigned char *)sys(SYS_mmap, 0, 4096, 7, 0x22, -1, 0); /* read, write, execute; private, anonymous */
}
#else
enum { SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_getpid = 20, SYS_mmap = 90, SYS_wait4 = 114 };
static long sys(long n, long a, long b, long c, long d, long e, long f) {
  long result;
  (void)e;
  (void)f;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
  return result;
}
static unsigned char *map_code(void) {
  const long arguments[6] = {0, 4096, 7, 0x22, -1, 0};
  return (unsigned char *)sys(SYS_mmap, (long)arguments, 0, 0, 0, 0, 0);
}
#endif

/* In assembly, below. */
void copy(char *to, const char *from, word n);             /* bytewise: copy_load, copy_store */
void copy_words(char *to, const char *from, word n);       /* by machine words: words_load, words_store */
void weave(char *to, word n);                              /* two stores in turn: weave_first, weave_second */
void count_loop(word n);                                   /* count_body runs n times, count_end once */
void on_stack(char *top, void (*f)(void));                 /* calls f on another stack */
void catching(void (*f)(void));                            /* calls f; throwing() returns from it at once */
void throwing(void);
word hypercall(word number, word argument);                /* hypercall_insn: CPUID */
void undefined(void) __attribute__((noreturn));            /* undefined_insn: ud2 */

char secret[] = "Xyzzy, said the known program";           /* copied bytewise in level3() */
char wide[] = "four words of a wide sentence...";          /* 32 bytes, copied by words in sentence() */
char printed[] = "plugh: what the kernel prints\n";        /* written to the console */
char copied[sizeof(secret)];
char wide_copied[sizeof(wide)];
char histogram[512];                                       /* byte i holds i / 2, copied in spread() */
char histogram_copied[512];
char woven[64];
char other_stack[8192];
static unsigned char byte_read;
volatile word result;

NOINLINE void level3(void) { copy(copied, secret, sizeof(secret) - 1); }
NOINLINE void level2(void) { level3(); }
NOINLINE void level1(void) { level2(); }
NOINLINE void sentence(void) { copy_words(wide_copied, wide, sizeof(wide) - 1); }
NOINLINE void spread(void) { copy(histogram_copied, histogram, sizeof(histogram)); }
NOINLINE void elsewhere(void) { copy(copied, "on another stack", 16); }
NOINLINE void deep2(void) { throwing(); }
NOINLINE void deep1(void) { deep2(); }
NOINLINE void after_throw(void) { copy(copied, "after the throw", 15); }
NOINLINE word factorial(word n) { return n <= 1 ? 1 : n * factorial(n - 1); }
NOINLINE void apply(void (*volatile f)(void)) { f(); }
NOINLINE void pointed_at(void) { copy(copied, "through a pointer", 17); }
NOINLINE void never_called(void) { copy(copied, secret, 4); }
NOINLINE word choose(word n) {
  if (n == 12345) {
    never_called();
    return 7;
  }
  return n + 1;
}

NOINLINE void generated_code(void) { /* mov $n, %eax; ret: made, called, changed, called again */
  unsigned char *code = map_code();
  code[0] = 0xb8;
  for (word n = 1; n <= 2; n++) {
    code[1] = (unsigned char)n;
    code[2] = code[3] = code[4] = 0;
    code[5] = 0xc3;
    result += ((word(*)(void))(void *)code)();
  }
}

__attribute__((noreturn)) NOINLINE void child(void) {
  count_loop(5000);
  undefined();
}
NOINLINE void parent(void) {
  const long pid = sys(SYS_fork, 0, 0, 0, 0, 0, 0);
  if (pid == 0) child();
  sys(SYS_wait4, pid, 0, 0, 0, 0, 0);
}

NOINLINE void say(const char *text) {
  word n = 0;
  do n++; while (text[n] != 0);
  sys(SYS_write, 1, (long)text, (long)n, 0, 0, 0);
}

NOINLINE void work(void) {
  level1();
  sentence();
  spread();
  weave(woven, sizeof(woven));
  result = factorial(10);
  apply(pointed_at);
  on_stack(other_stack + sizeof(other_stack), elsewhere);
  catching(deep1);
  after_throw();
  for (int i = 0; i < 3; i++) result += choose((word)i);
  count_loop(1000);
  for (int i = 0; i < 7; i++) sys(SYS_getpid, 0, 0, 0, 0, 0, 0);
  result += hypercall(0xabcd0001, 42);
  generated_code();
  say(printed);
  parent();
}

NOINLINE void wait_for_byte(void) { sys(SYS_read, 0, (long)&byte_read, 1, 0, 0, 0); }

NOINLINE void run(void) {
  for (word i = 0; i < sizeof(histogram); i++) histogram[i] = (char)(i / 2);
  say("ready\n");
  wait_for_byte();
  work();
  for (;;) {
    say("done\n");
    wait_for_byte();
  }
}

/* One text for both architectures: A, C, D, SI, DI, SP, BP are the word-sized registers; on i386 the arguments
 * are fetched from the stack into the registers that hold them on x86-64. */
#ifdef __x86_64__
#define REGISTERS ".set WORD, 8\n.macro args\n.endm\n.macro done\n ret\n.endm\n"
#define A "%rax"
#define B "%rbx"
#define C "%rcx"
#define D "%rdx"
#define SI "%rsi"
#define DI "%rdi"
#define SP "%rsp"
#define BP "%rbp"
#else
#define REGISTERS                                                                                       \
  ".set WORD, 4\n.macro args\n push %esi\n push %edi\n mov 12(%esp), %edi\n mov 16(%esp), %esi\n" \
  " mov 20(%esp), %edx\n.endm\n.macro done\n pop %edi\n pop %esi\n ret\n.endm\n"
#define A "%eax"
#define B "%ebx"
#define C "%ecx"
#define D "%edx"
#define SI "%esi"
#define DI "%edi"
#define SP "%esp"
#define BP "%ebp"
#endif
#define FUNCTION(name) ".globl " name "\n.type " name ", @function\n" name ":\n"
#define END(name) ".size " name ", . - " name "\n"

__asm__(".text\n" REGISTERS
        FUNCTION("copy")
        " args\n"
        " xor " C ", " C "\n"
        "copy_load: movb (" SI "," C "), %al\n"
        "copy_store: movb %al, (" DI "," C ")\n"
        " inc " C "\n"
        " cmp " D ", " C "\n"
        " jne copy_load\n"
        " done\n" END("copy")

        FUNCTION("copy_words")
        " args\n"
        " xor " C ", " C "\n"
        "words_load: mov (" SI "," C "), " A "\n"
        "words_store: mov " A ", (" DI "," C ")\n"
        " add $WORD, " C "\n"
        " cmp " D ", " C "\n"
        " jne words_load\n"
        " done\n" END("copy_words")

        FUNCTION("weave")
        " args\n"
        " lea (" DI "," SI "), " SI "\n"
        "weave_first: movb $'a', (" DI ")\n"
        "weave_second: movb $'b', 1(" DI ")\n"
        " add $2, " DI "\n"
        " cmp " SI ", " DI "\n"
        " jne weave_first\n"
        " done\n" END("weave")

        FUNCTION("count_loop")
        " args\n"
        "count_body: dec " DI "\n"
        " jnz count_body\n"
        "count_end: nop\n"
        " done\n" END("count_loop")

        FUNCTION("on_stack")
        " args\n"
        " push " BP "\n"
        " mov " SP ", " BP "\n"
        " mov " DI ", " SP "\n"
        " call *" SI "\n"
        " mov " BP ", " SP "\n"
        " pop " BP "\n"
        " done\n" END("on_stack")

        ".comm caught, 16\n"
        FUNCTION("catching")
        " args\n"
        " push " BP "\n"
        " mov " SP ", caught\n"
        " call *" DI "\n"
        "catching_out: pop " BP "\n"
        " done\n" END("catching")
        FUNCTION("throwing")
        " mov caught, " SP "\n"
        " jmp catching_out\n" END("throwing")

        FUNCTION("hypercall")
        " args\n"
        " push " B "\n"
        " mov " DI ", " A "\n"
        " mov " SI ", " B "\n"
        " xor " C ", " C "\n"
        " xor " D ", " D "\n"
        "hypercall_insn: cpuid\n"
        " pop " B "\n"
        " done\n" END("hypercall")

        FUNCTION("undefined")
        "undefined_insn: ud2\n"
        " jmp undefined\n" END("undefined")

        FUNCTION("_start")
        " call run\n"
        " jmp .\n" END("_start"));
