// rr_print LOG: the events of a recording, one a line, then how many there are of each kind.
#include <cstdio>
#include <cstring>
#include <string>

#include "replay/log.h"

namespace {

int run(const std::string& path, bool summary_only) {
  auto log = panda::replay::LogReader::open(path);
  if (!log) {
    std::fprintf(stderr, "rr_print: %s\n", log.error().message.c_str());
    return 1;
  }
  const panda::replay::LogHeader& h = (*log)->header();
  std::printf("# %s: %s, from instruction %llu, snapshot %s\n", path.c_str(), h.architecture.c_str(),
              static_cast<unsigned long long>(h.start.value), h.snapshot_id.hex().c_str());
  while (true) {
    auto event = (*log)->next();
    if (!event) {
      std::fprintf(stderr, "rr_print: %s\n", event.error().message.c_str());
      return 1;
    }
    if (!*event) break;
    if (!summary_only) {
      std::printf("%llu %s\n", static_cast<unsigned long long>((*event)->count.value),
                  panda::replay::describe((*event)->body).c_str());
    }
  }
  std::printf("# %-14s %12s %14s\n", "kind", "events", "bytes");
  const auto& stats = (*log)->stats();
  unsigned long long events = 0;
  unsigned long long bytes = 0;
  for (size_t kind = 0; kind < stats.size(); kind++) {
    if (stats[kind].events == 0) continue;
    std::printf("# %-14s %12llu %14llu  %s\n", std::string(panda::replay::kind_name(kind)).c_str(),
                static_cast<unsigned long long>(stats[kind].events), static_cast<unsigned long long>(stats[kind].bytes),
                std::string(panda::replay::kind_help(kind)).c_str());
    events += stats[kind].events;
    bytes += stats[kind].bytes;
  }
  std::printf("# %-14s %12llu %14llu  before compression; %llu in the file\n", "all", events, bytes,
              static_cast<unsigned long long>((*log)->whole_bytes()));
  if (!(*log)->complete()) {
    std::fprintf(stderr, "rr_print: %s: cut off at byte %llu: the recording was not ended properly\n", path.c_str(),
                 static_cast<unsigned long long>((*log)->whole_bytes()));
    return 3;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool summary_only = argc == 3 && std::strcmp(argv[1], "-s") == 0;
  if (argc != 2 && !summary_only) {
    std::fprintf(stderr, "usage: rr_print [-s] NAME-rr-nondet.log\n  -s  only the summary\n");
    return 1;
  }
  return run(argv[argc - 1], summary_only);
}
