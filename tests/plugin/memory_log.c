/* The tests' listener to memory: counts and hashes what it is told, so that two runs can be compared,
 * and writes the result to a file at the end. Arguments: file=PATH; empty: callbacks that do nothing
 * (what a callback costs); crossings: listens to devices, DMA and the serial port too. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

enum { VIRT_BEFORE_READ, VIRT_BEFORE_WRITE, VIRT_AFTER_READ, VIRT_AFTER_WRITE, PHYS_AFTER_READ, PHYS_AFTER_WRITE, KINDS };
static const char *const names[KINDS] = {"virt before read", "virt before write", "virt after read",
                                         "virt after write", "phys after read",   "phys after write"};
static uint64_t counts[KINDS], hashes[KINDS];
static uint64_t mmio_reads, mmio_writes, unassigned, dma, sent, received, read_back, crossing_hash;
static const char *file;

static uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29); }

static void note(int kind, target_ulong pc, target_ulong addr, size_t size, const uint8_t *buf) {
  uint64_t h = mix(mix(mix(hashes[kind], pc), addr), size ^ rr_get_guest_instr_count() << 8);
  for (size_t i = 0; buf != NULL && i < size; i++) h = mix(h, buf[i]);
  hashes[kind] = h;
  counts[kind]++;
}

static void virt_before_read(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size) {
  (void)env;
  note(VIRT_BEFORE_READ, pc, addr, size, NULL);
}
static void virt_before_write(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  note(VIRT_BEFORE_WRITE, pc, addr, size, buf);
}
static void virt_after_read(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  note(VIRT_AFTER_READ, pc, addr, size, buf);
}
static void virt_after_write(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  note(VIRT_AFTER_WRITE, pc, addr, size, buf);
}
static void phys_after_read(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  note(PHYS_AFTER_READ, pc, addr, size, buf);
}
static void phys_after_write(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  note(PHYS_AFTER_WRITE, pc, addr, size, buf);
}
static void nothing(CPUState *env, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *buf) {
  (void)env;
  (void)pc;
  (void)addr;
  (void)size;
  (void)buf;
}

static void crossing(uint64_t a, uint64_t b) { crossing_hash = mix(mix(crossing_hash, a), b); }
static void mmio_read(CPUState *env, target_ptr_t physaddr, target_ptr_t vaddr, size_t size, uint64_t *val) {
  (void)env;
  mmio_reads++;
  crossing(physaddr ^ vaddr, *val ^ size);
}
static void mmio_write(CPUState *env, target_ptr_t physaddr, target_ptr_t vaddr, size_t size, uint64_t *val) {
  (void)env;
  mmio_writes++;
  crossing(physaddr ^ vaddr, *val ^ size);
}
static bool unassigned_read(CPUState *env, target_ptr_t pc, hwaddr addr, size_t size, uint64_t *val) {
  (void)env;
  (void)val;
  unassigned++;
  crossing(pc ^ addr, size);
  return false;
}
static bool unassigned_write(CPUState *env, target_ptr_t pc, hwaddr addr, size_t size, uint64_t val) {
  (void)env;
  unassigned++;
  crossing(pc ^ addr, val ^ size);
  return false;
}
static void before_dma(CPUState *env, const uint8_t *buf, hwaddr addr, size_t size, bool is_write) {
  (void)env;
  (void)buf;
  if (is_write) dma++;
  crossing(addr, size);
}
static void serial_receive(CPUState *env, target_ptr_t fifo_addr, uint8_t value) {
  (void)env;
  received++;
  crossing(fifo_addr, value);
}
static void serial_read(CPUState *env, target_ptr_t fifo_addr, uint32_t port_addr, uint8_t value) {
  (void)env;
  read_back++;
  crossing(fifo_addr ^ port_addr, value);
}
static void serial_send(CPUState *env, target_ptr_t fifo_addr, uint8_t value) {
  (void)env;
  sent++;
  crossing(fifo_addr, value);
}

#define LISTEN(ID, member, function)                       \
  do {                                                     \
    panda_cb cb = {.member = (function)};                  \
    panda_register_callback(self, PANDA_CB_##ID, cb);      \
  } while (0)

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("memory_log");
  const bool empty = panda_parse_bool(args, "empty");
  const bool crossings = panda_parse_bool(args, "crossings");
  file = panda_parse_string(args, "file", "");
  panda_enable_precise_pc();
  panda_enable_memcb();
  if (empty) {
    LISTEN(VIRT_MEM_AFTER_READ, virt_mem_after_read, nothing);
    LISTEN(VIRT_MEM_AFTER_WRITE, virt_mem_after_write, nothing);
    return true;
  }
  LISTEN(VIRT_MEM_BEFORE_READ, virt_mem_before_read, virt_before_read);
  LISTEN(VIRT_MEM_BEFORE_WRITE, virt_mem_before_write, virt_before_write);
  LISTEN(VIRT_MEM_AFTER_READ, virt_mem_after_read, virt_after_read);
  LISTEN(VIRT_MEM_AFTER_WRITE, virt_mem_after_write, virt_after_write);
  LISTEN(PHYS_MEM_AFTER_READ, phys_mem_after_read, phys_after_read);
  LISTEN(PHYS_MEM_AFTER_WRITE, phys_mem_after_write, phys_after_write);
  if (!crossings) return true;
  LISTEN(MMIO_AFTER_READ, mmio_after_read, mmio_read);
  LISTEN(MMIO_BEFORE_WRITE, mmio_before_write, mmio_write);
  LISTEN(UNASSIGNED_IO_READ, unassigned_io_read, unassigned_read);
  LISTEN(UNASSIGNED_IO_WRITE, unassigned_io_write, unassigned_write);
  LISTEN(REPLAY_BEFORE_DMA, replay_before_dma, before_dma);
  LISTEN(REPLAY_SERIAL_RECEIVE, replay_serial_receive, serial_receive);
  LISTEN(REPLAY_SERIAL_READ, replay_serial_read, serial_read);
  LISTEN(REPLAY_SERIAL_SEND, replay_serial_send, serial_send);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  if (file == NULL || *file == '\0') return;
  FILE *out = fopen(file, "w");
  if (out == NULL) {
    perror(file);
    return;
  }
  for (int i = 0; i < KINDS; i++) fprintf(out, "%s: %" PRIu64 " %016" PRIx64 "\n", names[i], counts[i], hashes[i]);
  fprintf(out, "mmio: %" PRIu64 " reads %" PRIu64 " writes, unassigned: %" PRIu64 ", dma: %" PRIu64 "\n", mmio_reads,
          mmio_writes, unassigned, dma);
  fprintf(out, "serial: received %" PRIu64 " read %" PRIu64 " sent %" PRIu64 "\ncrossings: %016" PRIx64 "\n", received,
          read_back, sent, crossing_hash);
  fclose(out);
}
