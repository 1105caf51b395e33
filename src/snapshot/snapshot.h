// NAME-rr-snp: the machine at the moment a recording began. It carries what a replay needs to build
// the same CPU and RAM without any option (docs/log-format.md).
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "exec/frontend.h"
#include "memory/guest_memory.h"
#include "snapshot/chunk_file.h"

namespace panda::snapshot {

struct MachineDescription {
  std::string architecture;  // "x86_64", "i386"
  std::string cpu_model;     // as given to -cpu, features included
  std::string options;       // the kernel's command line, for people
  uint64_t ram_bytes = 0;
  std::vector<RamRange> ranges;
};

struct SnapshotHeader {
  MachineDescription machine;
  unsigned clock_shift = 0;
  uint64_t clock_offset_ns = 0;
  InsnCount count;
};

// Returns the snapshot's id, which its log repeats. On failure no file is left behind.
Result<Hash128> write_snapshot(const std::string& path, const SnapshotHeader& header, std::string_view cpu_state,
                               GuestMemory& memory);

class SnapshotReader {
 public:
  static Result<SnapshotReader> open(const std::string& path);
  [[nodiscard]] const SnapshotHeader& header() const { return header_; }
  // Fills RAM (of the header's size, all zero) and returns the CPU's state. Everything is checked.
  Result<std::string> load(GuestMemory& memory);
  [[nodiscard]] Hash128 id() const { return reader_.id(); }  // after load()

 private:
  explicit SnapshotReader(ChunkReader reader) : reader_(std::move(reader)) {}
  ChunkReader reader_;
  SnapshotHeader header_;
};

}  // namespace panda::snapshot
