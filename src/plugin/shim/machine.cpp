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
void panda_set_os_name(char*) { api::not_there_yet("os", "operating system introspection is not in this version"); }
void panda_cleanup(void) {}

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

// ---- the names for users of the system as a library

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
