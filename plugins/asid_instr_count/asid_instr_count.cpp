// Counts the guest's instructions by address space. Nothing runs but at changes of the address space: what
// the instruction count has advanced since the last one belongs to the one that was current.
#include <map>

#include "panda/plugin.hpp"

extern "C" {
#include "asid_instr_count_int_fns.h"
}

namespace {

struct AsidInstrCount : panda::Plugin {
  std::map<target_ulong, Instr> counts;
  Instr counted = rr_get_guest_instr_count();  // `counts` is right up to here
  panda::Output csv;

  AsidInstrCount();
  ~AsidInstrCount() override;
  void count_for(target_ulong asid) {
    const Instr now = rr_get_guest_instr_count();
    counts[asid] += now - counted;
    counted = now;
  }
};
AsidInstrCount *plugin;

AsidInstrCount::AsidInstrCount() {
  plugin = this;
  panda::Arguments args = arguments();
  const std::string path = args.text("csv", "", "file for the counts at the end");
  args.done();
  csv = panda::Output(path);
  // A change that another plugin blocks does no harm: the next one names the same old value.
  on_asid_changed([this](CPUState *, target_ulong old_asid, target_ulong) { count_for(old_asid); });
}

AsidInstrCount::~AsidInstrCount() {
  count_for(panda_current_asid(get_cpu()));
  csv.print("asid,instructions\n");
  for (const auto &[asid, count] : counts) {
    if (count != 0) csv.print("0x" TARGET_FMT_lx ",%" PRIu64 "\n", asid, count);
  }
}

}  // namespace

Instr get_instr_count_by_asid(target_ulong asid) {
  plugin->count_for(panda_current_asid(get_cpu()));
  const auto found = plugin->counts.find(asid);
  return found == plugin->counts.end() ? 0 : found->second;
}

Instr get_instr_count_current_asid(void) { return get_instr_count_by_asid(panda_current_asid(get_cpu())); }

PANDA_PLUGIN(AsidInstrCount)
