// Memory, CPU, record and replay of the C API.
#include "plugin/shim/shim.h"

namespace api = panda::plugin::api;
using panda::plugin::shim::copy;

namespace {

uint64_t bytes(int len) { return len > 0 ? static_cast<uint64_t>(len) : 0; }

}  // namespace

int panda_physical_memory_rw(hwaddr addr, uint8_t* buf, int len, bool is_write) {
  if (len < 0) return -1;
  return (is_write ? api::write_physical(addr, buf, bytes(len)) : api::read_physical(addr, buf, bytes(len))) ? 0 : -1;
}
int panda_virtual_memory_rw(CPUState*, target_ulong addr, uint8_t* buf, int len, bool is_write) {
  if (len < 0) return -1;
  return (is_write ? api::write_virtual(addr, buf, bytes(len)) : api::read_virtual(addr, buf, bytes(len))) ? 0 : -1;
}
int cpu_memory_rw_debug(CPUState* env, target_ulong addr, uint8_t* buf, int len, int is_write) {
  return panda_virtual_memory_rw(env, addr, buf, len, is_write != 0);
}
void cpu_physical_memory_rw(hwaddr addr, uint8_t* buf, int len, int is_write) {
  static_cast<void>(panda_physical_memory_rw(addr, buf, len, is_write != 0));
}
hwaddr panda_virt_to_phys(CPUState*, target_ulong addr) { return api::virtual_to_physical(addr).value_or(~hwaddr{0}); }
void* panda_map_virt_to_host(CPUState*, target_ulong addr, int len) { return api::host_pointer(addr, bytes(len)); }
MemTxResult PandaPhysicalAddressToRamOffset(ram_addr_t* out, hwaddr addr, bool) {
  const auto offset = api::ram_offset(addr);
  if (!offset) return MEMTX_DECODE_ERROR;
  *out = *offset;
  return MEMTX_OK;
}
MemTxResult PandaVirtualAddressToRamOffset(ram_addr_t* out, CPUState*, target_ulong addr, bool is_write) {
  const auto physical = api::virtual_to_physical(addr);
  return physical ? PandaPhysicalAddressToRamOffset(out, *physical, is_write) : MEMTX_ERROR;
}
uint64_t panda_ram_size(void) { return api::ram_bytes(); }
bool enter_priv(CPUState*) { return false; }
void exit_priv(CPUState*) {}
void panda_memsavep(FILE* file) {
  if (file == nullptr || !api::save_ram(file))
    std::fprintf(stderr, "panda: panda_memsavep: cannot write guest memory\n");
}

CPUState* get_cpu(void) { return static_cast<CPUState*>(api::cpu_state()); }
target_ulong panda_current_asid(CPUState*) { return static_cast<target_ulong>(api::asid()); }
target_ulong panda_current_pc(CPUState*) { return static_cast<target_ulong>(api::pc()); }
uint32_t panda_get_eflags(CPUState*) { return api::flags(); }
uint64_t rr_get_guest_instr_count(void) { return api::instruction_count(); }
void panda_disas(FILE* out, void* code, unsigned long size) {
  api::disassemble(out, reinterpret_cast<uint64_t>(code), size);
}
MemoryRegion* panda_find_ram(void) { return reinterpret_cast<MemoryRegion*>(api::cpu_state()); }
uint64_t memory_region_size(MemoryRegion* region) { return region != nullptr ? api::ram_bytes() : 0; }
Int128 panda_find_max_ram_address(void) { return api::ram_end(); }
void panda_before_find_fast(void) {}
void panda_cleanup(void) { api::unload_all(); }
uint32_t rr_checksum_memory(void) { return api::ram_checksum(); }
uint32_t rr_checksum_regs(void) { return api::register_checksum(); }
uint64_t rr_get_pc(void) { return api::pc(); }
uint64_t rr_get_secondary(void) { return 0; }

char* panda_os_name = nullptr;
char* panda_os_family = nullptr;
char* panda_os_variant = nullptr;
uint32_t panda_os_bits = 0;
PandaOsFamily panda_os_familyno = OS_UNKNOWN;

void panda_set_os_name(char* os_name) {
  const std::string name(panda::plugin::shim::text(os_name));
  const size_t first = name.find('-');
  const size_t second = first == std::string::npos ? first : name.find('-', first + 1);
  const std::string family = name.substr(0, first);
  const std::string bits = first == std::string::npos ? "" : name.substr(first + 1, second - first - 1);
  const std::string variant = second == std::string::npos ? "" : name.substr(second + 1);
  if (family.empty() || (bits != "32" && bits != "64")) {
    std::fprintf(stderr, "panda: panda_set_os_name: '%s' is not FAMILY-BITS[-VARIANT], like linux-64-debian:12\n",
                 name.c_str());
    return;
  }
  for (char* old : {panda_os_name, panda_os_family, panda_os_variant}) std::free(old);
  panda_os_name = copy(name);
  panda_os_family = copy(family);
  panda_os_variant = copy(variant);
  panda_os_bits = bits == "64" ? 64 : 32;
  panda_os_familyno = family == "linux"     ? OS_LINUX
                      : family == "windows" ? OS_WINDOWS
                      : family == "freebsd" ? OS_FREEBSD
                                            : OS_UNKNOWN;
}

// ---- record and replay

int panda_vm_quit(void) { return api::quit(); }
int panda_record_begin(const char* name, const char* snapshot) { return api::record_begin(name, snapshot); }
int panda_record_end(void) { return api::record_end(); }
int panda_replay_begin(const char* name) { return api::replay_begin(name); }
int panda_replay_end(void) { return api::replay_end(); }
RR_mode panda_rr_mode(void) { return static_cast<RR_mode>(api::rr_mode()); }
RR_mode panda_rr_requested(void) { return static_cast<RR_mode>(api::rr_requested()); }
char* panda_get_rr_name(void) {
  const std::string name = api::rr_name();
  return name.empty() ? nullptr : copy(name);
}
uint64_t replay_get_total_num_instructions(void) { return api::replay_total(); }
double rr_get_percentage(void) {
  const uint64_t total = api::replay_total();
  return total == 0 ? 0.0 : 100.0 * static_cast<double>(api::instruction_count()) / static_cast<double>(total);
}
uint8_t rr_replay_finished(void) {
  const uint64_t total = api::replay_total();
  return total != 0 && api::instruction_count() >= total;
}
uint64_t rr_num_instr_before_next_interrupt(void) { return api::insns_to_next_event(); }
bool rr_queue_empty(void) { return rr_replay_finished() != 0 || !rr_in_replay(); }

// ---- the names for users of the system as a library

void panda_stop(int) { static_cast<void>(api::monitor("stop")); }
void panda_cont(void) { static_cast<void>(api::monitor("cont")); }
void panda_reset(void) { static_cast<void>(api::monitor("system_reset")); }
void panda_cleanup_record(void) {
  if (rr_in_record()) panda_record_end();
}
char* panda_monitor_run(char* buf) { return copy(api::monitor(panda::plugin::shim::text(buf))); }
void panda_init_monitor(void) {}
int panda_init_plugin(char* plugin_name, char** plugin_args, uint32_t num_args) {
  panda_require_from_library(plugin_name, plugin_args, num_args);
  return panda_get_plugin_by_name(plugin_name) != nullptr;
}
bool panda_was_aborted(void) { return false; }
unsigned long garray_len(struct _GArray* list) {
  struct Layout {  // glib's, as it is public
    char* data;
    unsigned len;
  };
  return list != nullptr ? reinterpret_cast<const Layout*>(list)->len : 0;
}

namespace {
int no_snapshots() {
  api::not_there_yet("snapshots", "snapshots of a running machine are not in this version");
  return -1;
}
void no_checkpoints() { api::not_there_yet("checkpoints", "checkpoints of a replay are not in this version"); }
}  // namespace
int panda_snap(char*) { return no_snapshots(); }
int panda_delvm(char*) { return no_snapshots(); }
int panda_revert(char*) { return no_snapshots(); }
void map_memory(char*, uint64_t, uint64_t) {
  api::not_there_yet("map_memory", "memory cannot be added to a machine in this version");
}
size_t get_num_checkpoints(void) { return 0; }
int get_closest_checkpoint_num(uint64_t) { return -1; }
Checkpoint* get_checkpoint(int) { return nullptr; }
void* panda_checkpoint(void) {
  no_checkpoints();
  return nullptr;
}
void panda_restore_by_num(int) { no_checkpoints(); }
void panda_restore(void*) { no_checkpoints(); }

uint64_t rr_get_guest_instr_count_external(void) { return rr_get_guest_instr_count(); }
int panda_virtual_memory_read_external(CPUState* cpu, target_ulong addr, char* buf, int len) {
  return panda_virtual_memory_read(cpu, addr, reinterpret_cast<uint8_t*>(buf), len);
}
int panda_virtual_memory_write_external(CPUState* cpu, target_ulong addr, char* buf, int len) {
  return panda_virtual_memory_write(cpu, addr, reinterpret_cast<uint8_t*>(buf), len);
}
int panda_physical_memory_read_external(hwaddr addr, uint8_t* buf, int len) {
  return panda_physical_memory_read(addr, buf, len);
}
int panda_physical_memory_write_external(hwaddr addr, uint8_t* buf, int len) {
  return panda_physical_memory_write(addr, buf, len);
}
target_ulong panda_get_retval_external(const CPUState* cpu) { return panda_get_retval(cpu); }
MemTxResult PandaPhysicalAddressToRamOffset_external(ram_addr_t* out, hwaddr addr, bool is_write) {
  return PandaPhysicalAddressToRamOffset(out, addr, is_write);
}
bool panda_in_kernel_external(const CPUState* cpu) { return panda_in_kernel(cpu); }
bool panda_in_kernel_mode_external(const CPUState* cpu) { return panda_in_kernel_mode(cpu); }
bool panda_in_kernel_code_linux_external(CPUState* cpu) { return panda_in_kernel_code_linux(cpu); }
target_ulong panda_current_ksp_external(CPUState* cpu) { return panda_current_ksp(cpu); }
target_ulong panda_current_sp_external(const CPUState* cpu) { return panda_current_sp(cpu); }
target_ulong panda_current_sp_masked_pagesize_external(const CPUState* cpu, target_ulong pagesize) {
  return panda_current_sp_masked_pagesize(cpu, pagesize);
}
target_ulong panda_virt_to_phys_external(CPUState* cpu, target_ulong addr) {
  return static_cast<target_ulong>(panda_virt_to_phys(cpu, addr));
}
