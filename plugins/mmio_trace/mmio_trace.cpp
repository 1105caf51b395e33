// Every access of the guest to a device's memory, as JSON and for other plugins.
//
// A replay has no devices that could be asked for their names; those here are by the PC's fixed addresses.
#include <climits>
#include <vector>

#include "panda/plugin.hpp"

extern "C" {
#include "mmio_trace_int_fns.h"
}

namespace {

struct Device {
  hwaddr first, last;
  const char *name;
};
constexpr Device kDevices[] = {
    {0xa0000, 0xbffff, "vga"},       {0xfec00000, 0xfec00fff, "ioapic"}, {0xfed00000, 0xfed003ff, "hpet"},
    {0xfed40000, 0xfed44fff, "tpm"}, {0xfee00000, 0xfeefffff, "lapic"},
};

const char *device_at(hwaddr address) {
  for (const Device &d : kDevices) {
    if (address >= d.first && address <= d.last) return d.name;
  }
  return "unknown";
}

struct MmioTrace : panda::Plugin {
  std::vector<mmio_event_t> events;
  panda::Output log;

  MmioTrace();
  ~MmioTrace() override { log.print(events.empty() ? "]\n" : "\n]\n"); }
  void note(char type, target_ulong physical, target_ulong virtual_address, size_t size, uint64_t value);
};
MmioTrace *plugin;

MmioTrace::MmioTrace() {
  plugin = this;
  panda::Arguments args = arguments();
  const std::string path = args.text("out_log", "", "file for the accesses, as JSON");
  args.done();
  log = panda::Output(path);
  log.print("[");
  on_mmio_after_read([this](CPUState *, target_ulong physical, target_ulong at, size_t size, uint64_t *value) {
    note('R', physical, at, size, *value);
  });
  on_mmio_before_write([this](CPUState *, target_ulong physical, target_ulong at, size_t size, uint64_t *value) {
    note('W', physical, at, size, *value);
  });
}

void MmioTrace::note(char type, target_ulong physical, target_ulong virtual_address, size_t size, uint64_t value) {
  const mmio_event_t e = {type,  panda_current_pc(get_cpu()), physical, virtual_address, size,
                          value, device_at(physical)};
  log.print("%s\n  {\"type\": \"%c\", \"instr\": %" PRIu64 ", \"pc\": \"0x" TARGET_FMT_lx
            "\", \"phys_addr\": \"0x%08" PRIx64 "\", \"virt_addr\": \"0x" TARGET_FMT_lx
            "\", \"size\": %zu, \"value\": \"0x%" PRIx64 "\", \"device\": \"%s\"}",
            events.empty() ? "" : ",", e.access_type, rr_get_guest_instr_count(), e.pc, e.phys_addr, e.virt_addr,
            e.size, e.value, e.dev_name);
  events.push_back(e);
}

}  // namespace

mmio_event_t *get_mmio_events(int *arr_size_ret) {
  const size_t bytes = plugin->events.size() * sizeof(mmio_event_t);
  *arr_size_ret = 0;
  if (bytes == 0 || plugin->events.size() > INT_MAX) return nullptr;
  auto *const copy = static_cast<mmio_event_t *>(malloc(bytes));
  if (copy == nullptr) return nullptr;
  memcpy(copy, plugin->events.data(), bytes);
  *arr_size_ret = static_cast<int>(plugin->events.size());
  return copy;
}

PANDA_PLUGIN(MmioTrace)
