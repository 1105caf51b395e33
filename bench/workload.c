/* The benchmark's guest program: twelve phases, each leaning on one thing an engine can be slow at.
 *
 * Runs as /init of an initramfs (then it powers the machine off at the end) or as a plain program
 * on the host, for native times. Every phase prints a line when it begins and one with a checksum
 * when it ends; compare.py times them by the host's clock and compares the checksums, so an engine
 * that computes something else does not count as fast.
 *
 *   gcc -O2 -static -o workload workload.c        (and with -m32)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t fnv(uint64_t hash, uint64_t value) { return (hash ^ value) * UINT64_C(1099511628211); }

static uint32_t lcg = 12345;
static uint32_t next_random(void) {
  lcg = lcg * 1664525u + 1013904223u;
  return lcg;
}

/* Integer arithmetic and rotates: the SHA-256 compression function with one constant for all rounds. */
static inline uint32_t rotr(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }
static uint64_t run_sha(void) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (uint32_t block = 0; block < 800000; block++) {
    uint32_t w[64];
    for (uint32_t i = 0; i < 16; i++) w[i] = block * 2654435761u + i;
    for (int i = 16; i < 64; i++) {
      uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
      uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
      uint32_t sum1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
      uint32_t t1 = v[7] + sum1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + 0x428a2f98u + w[i];
      uint32_t sum0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
      uint32_t t2 = sum0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1;
      v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
  }
  return fnv(state[0], state[7]);
}

/* Compares, swaps, and calls through a pointer. */
static int by_value(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}
static uint64_t run_sort(void) {
  const size_t count = 1000000;
  uint32_t *values = malloc(count * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = next_random();
  qsort(values, count, sizeof *values, by_value);
  uint64_t hash = 0;
  for (size_t i = 0; i < count; i += 1000) hash = fnv(hash, values[i]);
  free(values);
  return hash;
}

/* Indirect jumps: a threaded interpreter of a random eight-op program. */
static uint64_t run_dispatch(void) {
  enum { kLength = 4096 };
  static uint8_t program[kLength];
  static void *const handlers[8] = {&&add, &&mix, &&rotate, &&minus, &&times, &&odd, &&invert, &&shift};
  for (int i = 0; i < kLength; i++) program[i] = next_random() >> 13 & 7;
  uint64_t x = 1, y = 2;
  uint32_t at = 0;
  long steps = 30000000;
#define STEP()                                \
  do {                                        \
    if (--steps == 0) return fnv(x, y);       \
    at = (at + 1) & (kLength - 1);            \
    goto *handlers[program[at]];              \
  } while (0)
  goto *handlers[program[0]];
add:
  x += y;
  STEP();
mix:
  y ^= x;
  STEP();
rotate:
  x = x << 1 | x >> 63;
  STEP();
minus:
  y -= 3;
  STEP();
times:
  x *= 5;
  STEP();
odd:
  y += x & 1;
  STEP();
invert:
  y = ~y;
  STEP();
shift:
  x ^= y >> 7;
  STEP();
#undef STEP
}

/* Scalar double arithmetic: five bodies under gravity. */
static uint64_t run_nbody(void) {
  enum { kBodies = 5 };
  struct {
    double position[3], velocity[3], mass;
  } body[kBodies];
  for (int i = 0; i < kBodies; i++) {
    body[i].mass = 1.0 + i;
    for (int k = 0; k < 3; k++) {
      body[i].position[k] = (i + 1) * (k + 2) * 1.37 - 5;
      body[i].velocity[k] = 0.01 * (i - k);
    }
  }
  for (int step = 0; step < 400000; step++) {
    for (int i = 0; i < kBodies; i++) {
      for (int j = i + 1; j < kBodies; j++) {
        double delta[3], square = 0.01;
        for (int k = 0; k < 3; k++) {
          delta[k] = body[i].position[k] - body[j].position[k];
          square += delta[k] * delta[k];
        }
        double force = 0.0001 / (square * sqrt(square));
        for (int k = 0; k < 3; k++) {
          body[i].velocity[k] -= delta[k] * body[j].mass * force;
          body[j].velocity[k] += delta[k] * body[i].mass * force;
        }
      }
    }
    for (int i = 0; i < kBodies; i++)
      for (int k = 0; k < 3; k++) body[i].position[k] += 0.0001 * body[i].velocity[k];
  }
  double sum = 0;
  for (int i = 0; i < kBodies; i++)
    for (int k = 0; k < 3; k++) sum += body[i].position[k];
  return (uint64_t)(int64_t)(sum * 1e5);
}

/* Packed single arithmetic where the compiler vectorises (amd64), x87 where it does not (i386). */
enum { kSide = 256 };
__attribute__((optimize("O3"))) static uint64_t run_matmul(void) {
  static float left[kSide][kSide], right[kSide][kSide], product[kSide][kSide];
  for (int i = 0; i < kSide; i++)
    for (int j = 0; j < kSide; j++) left[i][j] = (float)(i + j), right[i][j] = (float)(i - j);
  for (int round = 0; round < 10; round++)
    for (int i = 0; i < kSide; i++)
      for (int k = 0; k < kSide; k++) {
        float factor = left[i][k] * 0.001f;
        for (int j = 0; j < kSide; j++) product[i][j] += factor * right[k][j];
      }
  double trace = 0;
  for (int i = 0; i < kSide; i += 7) trace += product[i][i * 13 % kSide];
  return (uint64_t)(int64_t)(trace / 100);
}

/* Dependent loads over 16 MiB, then copies of as much. */
static uint64_t run_memory(void) {
  const uint32_t cells = 1u << 22;
  uint32_t *chain = malloc(cells * sizeof *chain), *copy = malloc(cells * sizeof *copy);
  for (uint32_t i = 0; i < cells; i++) chain[i] = (i * 1103515u + 12345u) % cells;
  uint32_t at = 1;
  for (int i = 0; i < 6000000; i++) at = chain[at];
  for (int i = 0; i < 12; i++) {
    memcpy(copy, chain, cells * sizeof *chain);
    ((char *)copy)[i]++;
  }
  uint64_t hash = fnv(at, ((uint8_t *)copy)[5]);
  free(chain);
  free(copy);
  return hash;
}

/* The C library's string functions, SSE2 on amd64. */
static uint64_t run_string(void) {
  const size_t length = 1 << 16;
  char *text = malloc(length);
  memset(text, 'a', length);
  text[length - 1] = 0;
  uint64_t hash = 0;
  for (int i = 0; i < 12000; i++) {
    text[i * 7 % 60000] = (char)('a' + i % 20);
    hash = fnv(hash, strlen(text) + (strchr(text, 'z') != NULL));
  }
  free(text);
  return hash;
}

static uint64_t run_syscall(void) {
  long sum = 0;
  for (int i = 0; i < 2000000; i++) sum |= syscall(SYS_getppid);
  return sum < 0;
}

static uint64_t run_fork(void) {
  uint64_t hash = 0;
  for (int i = 0; i < 800; i++) {
    pid_t child = fork();
    if (child == 0) _exit(i & 63);
    int status = 0;
    waitpid(child, &status, 0);
    hash = fnv(hash, (uint64_t)WEXITSTATUS(status));
  }
  return hash;
}

/* Page faults: fresh anonymous memory touched page by page. */
static uint64_t run_fault(void) {
  const size_t bytes = 4 << 20, page = 4096;
  uint64_t hash = 0;
  for (size_t round = 0; round < 100; round++) {
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    for (size_t at = 0; at < bytes; at += page) memory[at] = (uint8_t)(at / page);
    hash = fnv(hash, memory[(2 + round) * page]);
    munmap(memory, bytes);
  }
  return hash;
}

/* Context switches: a byte goes to another process and comes back. */
static uint64_t run_pipe(void) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) return 1;
  pid_t child = fork();
  if (child == 0) {
    unsigned char byte;
    while (read(there[0], &byte, 1) == 1 && byte != 127) {
      byte++;
      if (write(back[1], &byte, 1) != 1) break;
    }
    _exit(0);
  }
  uint64_t hash = 0;
  for (int i = 0; i < 15000; i++) {
    unsigned char byte = (unsigned char)(i % 100);
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) break;
    hash = fnv(hash, byte);
  }
  unsigned char stop = 127;
  if (write(there[1], &stop, 1) != 1) hash = 0;
  waitpid(child, NULL, 0);
  for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
  return hash;
}

/* Code written, run and rewritten, as a just-in-time compiler in the guest does. */
static uint64_t run_codegen(void) {
  uint8_t *area = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return 1;
  uint64_t hash = 0;
  for (uint32_t i = 0; i < 60000; i++) {
    uint8_t *function = area + i % 64 * 64;
    function[0] = 0xb8; /* mov eax, i */
    memcpy(function + 1, &i, 4);
    function[5] = 0xc3; /* ret */
    hash = fnv(hash, ((uint32_t(*)(void))(uintptr_t)function)());
  }
  munmap(area, 65536);
  return hash;
}

static const struct {
  const char *name;
  uint64_t (*run)(void);
} kPhases[] = {
    {"sha", run_sha},       {"sort", run_sort},       {"dispatch", run_dispatch}, {"nbody", run_nbody},
    {"matmul", run_matmul}, {"memory", run_memory},   {"string", run_string},     {"syscall", run_syscall},
    {"fork", run_fork},     {"fault", run_fault},     {"pipe", run_pipe},         {"codegen", run_codegen},
};

int main(void) {
  bool is_init = getpid() == 1;
  if (is_init) {
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
  }
  setvbuf(stdout, NULL, _IONBF, 0);
  printf("BENCH boot end 0\n");
  for (size_t i = 0; i < sizeof kPhases / sizeof *kPhases; i++) {
    printf("BENCH %s begin\n", kPhases[i].name);
    unsigned long long sum = kPhases[i].run();
    printf("BENCH %s end %016llx\n", kPhases[i].name, sum);
  }
  printf("BENCH all end 0\n");
  if (is_init) reboot(RB_POWER_OFF);
  return 0;
}
