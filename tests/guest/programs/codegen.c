/* Generates code for as long as it is told to: each round writes a few ten thousand functions over the last
 * round's, runs each twice, and compares what they return with what they must. Runs as /init or on the host;
 * prints a line per round with a checksum, the same on both. ROUNDS in the environment: how many. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

enum { kFunctions = 1 << 15, kFunctionBytes = 64 };

static uint32_t lcg = 1;
static uint32_t next_random(void) { return lcg = lcg * 1664525u + 1013904223u; }

static uint8_t *put(uint8_t *at, const void *bytes, size_t size) {
  memcpy(at, bytes, size);
  return at + size;
}
static uint8_t *put_u32(uint8_t *at, uint8_t opcode, uint32_t value) { return put(put(at, &opcode, 1), &value, 4); }

/* mov eax, A; add or xor eax, B a few times, with jumps that are taken in between; ret. What it returns. */
static uint32_t write_function(uint8_t *at) {
  uint32_t value = next_random();
  at = put_u32(at, 0xb8, value);
  for (unsigned n = 1 + (next_random() >> 30); n > 0; n--) {
    const uint32_t operand = next_random();
    if (operand >> 31) {
      at = put_u32(at, 0x05, operand);
      value += operand;
    } else {
      at = put_u32(at, 0x35, operand);
      value ^= operand;
    }
    at = put(at, "\xeb\x01\xf4", 3); /* over a hlt */
  }
  *at = 0xc3;
  return value;
}

int main(void) {
  const int is_init = getpid() == 1;
  if (is_init) {
    const int console = open("/dev/console", O_RDWR);
    for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
  }
  setvbuf(stdout, NULL, _IONBF, 0);
  const char *rounds = getenv("ROUNDS");
  uint8_t *code = mmap(NULL, (size_t)kFunctions * kFunctionBytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  static uint32_t want[kFunctions];
  if (code == MAP_FAILED) return 1;
  for (int round = 1; round <= (rounds ? atoi(rounds) : 2); round++) {
    uint32_t sum = 0, wrong = 0;
    for (int i = 0; i < kFunctions; i++) want[i] = write_function(code + (size_t)i * kFunctionBytes);
    for (int again = 0; again < 2; again++) {
      for (int i = 0; i < kFunctions; i++) {
        const uint32_t got = ((uint32_t(*)(void))(uintptr_t)(code + (size_t)i * kFunctionBytes))();
        wrong += got != want[i];
        sum = sum * 31 + got;
      }
    }
    printf("round %d: sum %08x, %u wrong\n", round, sum, wrong);
  }
  printf("codegen done\n");
  if (is_init) reboot(RB_POWER_OFF);
  return 0;
}
