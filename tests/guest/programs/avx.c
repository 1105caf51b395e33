/* The guest's only program: works with AVX2, FMA and F16C in two processes and a signal handler at once, so that
 * the kernel saves and restores the YMM registers, and gathers over pages that are not there yet. Prints digests
 * that do not depend on where it runs: the test compares them with the host's own.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kRounds = 20000, kPages = 64 };
static volatile sig_atomic_t signals;

/* Overwrites every YMM register. */
static void on_alarm(int number) {
  (void)number;
  signals++;
  __asm__ volatile(
      "vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\tvmovdqa %%ymm0, %%ymm1\n\tvmovdqa %%ymm0, %%ymm2\n\tvmovdqa %%ymm0, %%ymm3\n\t"
      "vmovdqa %%ymm0, %%ymm4\n\tvmovdqa %%ymm0, %%ymm5\n\tvmovdqa %%ymm0, %%ymm6\n\tvmovdqa %%ymm0, %%ymm7" ::
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static uint64_t folded(__m256i v) {
  uint64_t words[4];
  _mm256_storeu_si256((__m256i *)words, v);
  return words[0] ^ words[1] * 3 ^ words[2] * 5 ^ words[3] * 7;
}

static uint64_t integers(uint32_t seed) {
  __m256i a = _mm256_set1_epi32((int)seed), sum = _mm256_setzero_si256();
  const __m256i step = _mm256_setr_epi32(1, 3, 5, 7, 11, 13, 17, 19);
  for (int i = 0; i < kRounds; i++) {
    a = _mm256_add_epi32(_mm256_mullo_epi32(a, _mm256_set1_epi32(1664525)), step);
    const __m256i turned = _mm256_permutevar8x32_epi32(a, _mm256_srli_epi32(a, 7));
    const __m256i shifted = _mm256_sllv_epi32(turned, _mm256_and_si256(a, _mm256_set1_epi32(31)));
    sum = _mm256_xor_si256(_mm256_add_epi64(sum, shifted), _mm256_permute4x64_epi64(turned, 0x93));
  }
  return folded(sum);
}

static uint64_t floats(double seed) {
  __m256d x = _mm256_setr_pd(seed, seed + 0.25, seed + 0.5, seed + 0.75), sum = _mm256_setzero_pd();
  for (int i = 0; i < kRounds; i++) {
    x = _mm256_fmadd_pd(x, _mm256_set1_pd(-0.75), _mm256_div_pd(_mm256_set1_pd(1), _mm256_add_pd(x, _mm256_set1_pd(3))));
    const __m256d over = _mm256_cmp_pd(x, _mm256_set1_pd(0.25), _CMP_GT_OQ);
    sum = _mm256_add_pd(sum, _mm256_blendv_pd(x, _mm256_sqrt_pd(_mm256_mul_pd(x, x)), over));
    const __m128i half = _mm256_cvtps_ph(_mm256_set_m128(_mm256_cvtpd_ps(sum), _mm256_cvtpd_ps(x)), 0);
    sum = _mm256_add_pd(sum, _mm256_cvtps_pd(_mm256_castps256_ps128(_mm256_cvtph_ps(half))));
    sum = _mm256_mul_pd(sum, _mm256_set1_pd(0.5));
  }
  return folded(_mm256_castpd_si256(sum));
}

/* Each gather and masked store meets pages for the first time. */
static uint64_t first_touches(void) {
  int *pages = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return 0;
  uint64_t sum = 0;
  for (int i = 0; i + 8 <= kPages; i += 8) {
    const __m256i index = _mm256_add_epi32(_mm256_set1_epi32(i * 1024 + i), _mm256_setr_epi32(0, 1024, 2048, 3072, 4096, 5120, 6144, 7168));
    sum += folded(_mm256_i32gather_epi32(pages, index, 4)) + 1;
  }
  munmap(pages, kPages * 4096);
  pages = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i + 1 < kPages; i++) {
    /* Half of it on a page, half on the next. */
    _mm256_storeu_si256((__m256i *)((char *)pages + i * 4096 + 4080), _mm256_set1_epi32(i + 1));
    _mm256_maskstore_epi32(pages + i * 1024 + 512, _mm256_setr_epi32(-1, 0, -1, 0, 0, -1, 0, -1), _mm256_set1_epi32(i));
  }
  for (int i = 0; i < kPages * 1024; i++) sum = sum * 31 + (uint32_t)pages[i];
  munmap(pages, kPages * 4096);
  return sum;
}

/* On a CPU without them, this much must still run. */
__attribute__((target("no-avx"), noinline)) static void report_features(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __cpuid(1, a, b, c, d);
  const unsigned wanted = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;
  const unsigned in_leaf1 = c;
  __cpuid_count(7, 0, a, b, c, d);
  puts((in_leaf1 & wanted) == wanted && (b & 1u << 5) != 0 ? "features: AVX AVX2 FMA F16C" : "features: missing");
  fflush(stdout);
}

int main(void) {
  report_features();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval often = {{0, 2000}, {0, 2000}};
  setitimer(ITIMER_REAL, &often, NULL);
  const pid_t child = fork();
  if (child == 0) setitimer(ITIMER_REAL, &often, NULL);
  uint64_t sums[2] = {0, 0};
  for (uint32_t i = 0; i < 20; i++) {
    sums[0] = sums[0] * 31 + integers(child == 0 ? i + 1000 : i);
    sums[1] = sums[1] * 31 + floats(child == 0 ? -0.5 - i : i);
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  if (child != 0) waitpid(child, NULL, 0);
  printf("%s: %016llx %016llx\n", child == 0 ? "child" : "parent", (unsigned long long)sums[0], (unsigned long long)sums[1]);
  if (child != 0) printf("signals: %s\nfirst touches: %016llx\navx done\n", signals > 0 ? "some" : "none", (unsigned long long)first_touches());
  fflush(stdout);
  if (child == 0) _exit(0);
  if (getpid() == 1) reboot(RB_POWER_OFF);
  return 0;
}
