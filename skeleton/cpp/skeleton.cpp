// Counts the blocks that run in each address space, and lists the most frequent ones at the end.
//
//   file=PATH   where to write (default: standard output)
//   top=N       how many to list (default 10)
//   kernel      count the kernel's blocks too
#include <algorithm>
#include <unordered_map>

#include "panda/plugin.hpp"

namespace {

struct Skeleton : panda::Plugin {
  panda::Output out;
  size_t top = 0;
  std::unordered_map<target_ulong, uint64_t> blocks;  // by address space

  Skeleton() {
    panda::Arguments args = arguments();
    const std::string file = args.text("file", "-", "where to write; -: standard output");
    top = args.number<size_t>("top", 10, "how many address spaces to list");
    const bool kernel_too = args.flag("kernel", "count the kernel's blocks too");
    args.done();
    out = panda::Output(file);

    on_before_block_exec([this, kernel_too](CPUState *cpu, TranslationBlock *) {
      if (kernel_too || !panda_in_kernel(cpu)) blocks[panda_current_asid(cpu)]++;
    });
    on_monitor([this](Monitor *mon, const char *command) {
      if (std::strcmp(command, "help") == 0) monitor_printf(mon, "skeleton: how many address spaces were seen\n");
      if (std::strcmp(command, "skeleton") == 0) monitor_printf(mon, "%zu address spaces\n", blocks.size());
    });
  }

  ~Skeleton() override {
    std::vector<std::pair<target_ulong, uint64_t>> sorted(blocks.begin(), blocks.end());
    std::sort(sorted.begin(), sorted.end(), [](const auto &a, const auto &b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    if (sorted.size() > top) sorted.resize(top);
    for (const auto &[asid, count] : sorted) out.print(TARGET_FMT_lx " %12" PRIu64 "\n", asid, count);
  }
};

}  // namespace

PANDA_PLUGIN(Skeleton)
