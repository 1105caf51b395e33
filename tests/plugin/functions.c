/* Calls the functions of the API from a running guest and checks what they do. It prints
 * "functions: N checks, M wrong". Arguments: `real`: the guest is a PC; record=NAME: makes a recording
 * once user code runs, and ends the run; writes: memory is written (with what it holds). */
#include <string.h>

#include "panda/panda_api.h"
#include "panda/plugin.h"

bool init_plugin(void *self);
void uninit_plugin(void *self);

uint64_t functions_checks, functions_wrong;

static void *me;
static bool real, writes;
static char *record;
static uint64_t blocks, by_trampoline, user_blocks, recorded_blocks;
static panda_cb plain;
static bool external_started;

#define CHECK(x)                                                             \
  do {                                                                       \
    functions_checks++;                                                      \
    if (!(x)) {                                                              \
      functions_wrong++;                                                     \
      fprintf(stderr, "functions: line %d: %s does not hold\n", __LINE__, #x); \
    }                                                                        \
  } while (0)

static void trampolined(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  (void)tb;
  by_trampoline++;
}

static void nothing(CPUState *cpu, TranslationBlock *tb) {
  (void)cpu;
  (void)tb;
}

static bool start_external(void *handle) {
  external_started = handle == &record;
  return true;
}

static void check_memory(CPUState *cpu, TranslationBlock *tb) {
  uint8_t virt[64], phys[64];
  const int size = tb->size < 64 ? tb->size : 64;
  CHECK(panda_virtual_memory_read(cpu, tb->pc, virt, size) == 0);
  CHECK(cpu_memory_rw_debug(cpu, tb->pc, phys, size, 0) == 0 && memcmp(virt, phys, (size_t)size) == 0);
  CHECK(panda_virtual_memory_read_external(cpu, tb->pc, (char *)phys, size) == 0);
  CHECK(panda_virtual_memory_read(cpu, tb->pc, virt, -1) < 0);
  CHECK(panda_physical_memory_read(panda_ram_size() * 4096, phys, 1) < 0);
  const hwaddr address = panda_virt_to_phys(cpu, tb->pc);
  const bool one_page = (tb->pc & ~TARGET_PAGE_MASK) + (target_ulong)size <= TARGET_PAGE_SIZE;
  if (real) CHECK(address != (hwaddr)-1);
  if (address != (hwaddr)-1 && one_page) {
    ram_addr_t offset, from_virt;
    CHECK(panda_physical_memory_read(address, phys, size) == 0);
    CHECK(memcmp(virt, phys, (size_t)size) == 0);
    const void *host = panda_map_virt_to_host(cpu, tb->pc, size);
    CHECK(host != NULL && memcmp(host, virt, (size_t)size) == 0);
    CHECK(PandaPhysicalAddressToRamOffset(&offset, address, false) == MEMTX_OK);
    CHECK(PandaVirtualAddressToRamOffset(&from_virt, cpu, tb->pc, false) == MEMTX_OK && from_virt == offset);
    CHECK(offset < panda_ram_size());
    if (writes) {
      CHECK(panda_physical_memory_write(address, phys, size) == 0);
      CHECK(panda_virtual_memory_write(cpu, tb->pc, virt, size) == 0);
    }
  }
  CHECK(memory_region_size(panda_find_ram()) == panda_ram_size());
  CHECK(int128_get64(panda_find_max_ram_address()) >= panda_ram_size());
}

static void check_text(TranslationBlock *tb) {
  char *text = NULL;
  size_t size = 0, lines = 0;
  FILE *out = open_memstream(&text, &size);
  panda_disas(out, (void *)(uintptr_t)tb->pc, tb->size);
  fclose(out);
  for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
  CHECK(lines == tb->icount);
  free(text);
}

static void check_ram_file(CPUState *cpu, TranslationBlock *tb) {
  uint8_t byte = 0;
  FILE *file = tmpfile();
  panda_memsavep(file);
  fseek(file, 0, SEEK_END);
  CHECK((uint64_t)ftell(file) >= panda_ram_size());
  const hwaddr address = panda_virt_to_phys(cpu, tb->pc);
  if (address != (hwaddr)-1) {
    fseek(file, (long)address, SEEK_SET);
    const int there = fgetc(file);
    CHECK(panda_physical_memory_read(address, &byte, 1) == 0 && there == byte);
  }
  fclose(file);
}

#ifdef TARGET_I386
static void check_registers(CPUState *cpu) {
  const CPUArchState *env = (CPUArchState *)cpu->env_ptr;
  CHECK(panda_current_asid(cpu) == env->cr[3]);
  CHECK(panda_in_kernel_mode(cpu) == ((env->segs[R_CS].selector & 3) == 0));
  CHECK(panda_in_kernel(cpu) == panda_in_kernel_mode_external(cpu));
  CHECK(panda_current_sp(cpu) == env->regs[R_ESP] && panda_current_sp_external(cpu) == env->regs[R_ESP]);
  CHECK(panda_current_sp_masked_pagesize(cpu, 4096) == (env->regs[R_ESP] & ~(target_ulong)4095));
  CHECK(panda_get_retval(cpu) == env->regs[R_EAX] && panda_get_retval_external(cpu) == env->regs[R_EAX]);
  CHECK((panda_get_eflags(cpu) & 2) != 0);
  if (writes) {
    const target_ulong old = panda_get_retval(cpu);
    panda_set_retval(cpu, ~old);
    CHECK(panda_get_retval(cpu) == (target_ulong)~old);
    panda_set_retval(cpu, old);
  }
  if (!panda_in_kernel(cpu)) {
    user_blocks++;
    CHECK(address_in_kernel_code_linux(panda_current_ksp(cpu)));
    CHECK(!panda_in_kernel_code_linux(cpu));
  }
}
#endif

/* The requests that the main loop takes up are seen until somebody asks. */
static void check_requests(void) {
  panda_do_flush_tb();
  CHECK(panda_flush_tb());
  CHECK(!panda_flush_tb());
  panda_do_break_exec();
  CHECK(panda_break_exec());
  CHECK(!panda_break_exec());
  panda_disable_tb_chaining();
  panda_enable_tb_chaining();
  panda_enable_precise_pc();
  panda_disable_precise_pc();
}

static void check_plugins(void) {
  CHECK(panda_get_plugin_by_name("functions") == me);
  CHECK(panda_get_plugin_by_name("panda_functions.so") == me);
  CHECK(panda_get_plugin_by_name("no_such") == NULL);
  CHECK(strcmp(panda_plugin_name(me), "functions") == 0);
  CHECK(panda_load_external_plugin("", "outside", &record, (void *)start_external) && external_started);
  CHECK(panda_get_plugin_by_name("outside") == &record);
  panda_unload_plugin(&record);
  char *path = panda_plugin_path("no_such");
  CHECK(path == NULL);
  char words[] = "a,b,,c";
  char **parts = str_split(words, ',');
  CHECK(strcmp(parts[0], "a") == 0 && strcmp(parts[2], "c") == 0 && parts[3] == NULL);
  for (int i = 0; parts[i]; i++) free(parts[i]);
  free(parts);
  panda_cb_list last = {.enabled = true}, off = {.enabled = false, .next = &last}, first = {.enabled = true, .next = &off};
  CHECK(panda_cb_list_next(&first) == &last && panda_cb_list_next(&last) == NULL);
  char os[] = "linux-64-debian:12";
  panda_set_os_name(os);
  CHECK(panda_os_familyno == OS_LINUX && panda_os_bits == 64 && strcmp(panda_os_variant, "debian:12") == 0);
}

static void check_callbacks(void) {
  panda_cb cb;
  cb.before_block_exec = nothing;
  CHECK(!panda_is_callback_enabled(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb));
  panda_register_callback(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  CHECK(panda_is_callback_enabled(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb));
  panda_disable_callback(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  CHECK(!panda_is_callback_enabled(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb));
  panda_enable_callback(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  CHECK(panda_is_callback_enabled(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb));
  panda_unregister_callback(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  CHECK(!panda_is_callback_enabled(me, PANDA_CB_BEFORE_BLOCK_EXEC, cb));
}

static void check_not_there(void) {
  panda_enable_llvm();
  panda_enable_llvm_helpers();
  CHECK(panda_write_current_llvm_bitcode_to_file("x") == -1);
  CHECK(panda_get_current_llvm_module() == 0);
  panda_disable_llvm_helpers();
  panda_disable_llvm();
  CHECK(!panda_was_aborted());
}

static void check_replay(void) {
  CHECK(rr_on() == !rr_off());
  CHECK(rr_in_replay() || replay_get_total_num_instructions() == 0);
  CHECK(rr_queue_empty() == (!rr_in_replay() || rr_replay_finished()));
  CHECK(rr_in_replay() || rr_num_instr_before_next_interrupt() == 0);
  if (rr_in_replay()) {
    CHECK(rr_num_instr_before_next_interrupt() <= replay_get_total_num_instructions() - rr_get_guest_instr_count());
    CHECK(replay_get_total_num_instructions() >= rr_get_guest_instr_count() || rr_replay_finished());
    CHECK(rr_get_percentage() >= 0 && rr_get_percentage() <= 100);
    CHECK(panda_record_begin("x", NULL) == RRCTRL_EINVALID);
    CHECK(panda_record_end() == RRCTRL_EINVALID);
  }
  if (rr_on()) {
    char *name = panda_get_rr_name();
    CHECK(name != NULL && *name);
    free(name);
  }
  CHECK(panda_replay_begin("x") == RRCTRL_EINVALID);
}

static void control_recording(void) {
  if (!record || rr_in_replay() || user_blocks == 0) return;
  if (!rr_in_record() && recorded_blocks == 0) {
    CHECK(panda_record_end() == RRCTRL_EINVALID || rr_in_record());
    CHECK(panda_record_begin(record, NULL) == RRCTRL_OK);
    CHECK(panda_record_begin(record, NULL) == RRCTRL_EPENDING);
    recorded_blocks = 1;
  } else if (rr_in_record() && ++recorded_blocks == 40) {
    char *answer = panda_monitor_run((char *)"info record");
    CHECK(strstr(answer, "recording") != NULL);
    free(answer);
    CHECK(panda_record_end() == RRCTRL_OK);
    CHECK(panda_record_end() == RRCTRL_EPENDING);
  } else if (!rr_in_record() && recorded_blocks >= 40) {
    CHECK(panda_vm_quit() == 0);
    recorded_blocks = 0;
    free(record);
    record = NULL;
  }
}

static void before_block(CPUState *cpu, TranslationBlock *tb) {
  blocks++;
  if (real && blocks % 5000 != 1) return;
  CHECK(cpu == get_cpu() && CPU(cpu) == cpu);
  CHECK(panda_current_pc(cpu) == tb->pc && rr_get_pc() == tb->pc);
  CHECK(rr_prog_point().guest_instr_count == rr_get_guest_instr_count());
  CHECK(rr_get_guest_instr_count_external() == rr_get_guest_instr_count());
  check_memory(cpu, tb);
  check_text(tb);
  check_replay();
#ifdef TARGET_I386
  if (real) check_registers(cpu);
#endif
  control_recording();
  if (blocks > 5001) return;
  check_requests();
  if (blocks > 1) return;
  check_ram_file(cpu, tb);
  const uint32_t memory = rr_checksum_memory(), registers = rr_checksum_regs();
  CHECK(memory == rr_checksum_memory() && registers == rr_checksum_regs());
  check_plugins();
  check_callbacks();
  check_not_there();
}

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("functions");
  me = self;
  real = panda_parse_bool_opt(args, "real", "the guest is a PC");
  writes = panda_parse_bool_opt(args, "writes", "write to memory and registers what they hold");
  const char *name = panda_parse_string_opt(args, "record", "", "name of a recording to make");
  record = *name ? strdup(name) : NULL;
  panda_free_args(args);
  panda_cb cb;
  cb.before_block_exec = before_block;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  plain.start_block_exec = trampolined;
  panda_register_callback_with_context(self, PANDA_CB_START_BLOCK_EXEC,
                                       panda_get_cb_trampoline(PANDA_CB_START_BLOCK_EXEC), &plain);
  return true;
}

void uninit_plugin(void *self) {
  (void)self;
  CHECK(by_trampoline > 0 && by_trampoline + 1 >= blocks);
  fprintf(stderr, "functions: %llu checks, %llu wrong, %llu of user code\n", (unsigned long long)functions_checks,
          (unsigned long long)functions_wrong, (unsigned long long)user_blocks);
}
