// NAME-rr-nondet.log: writer and reader of the stream of events (docs/log-format.md). Events are
// gathered into chunks, which are written as they fill, so that a recording that is cut off is
// good up to its last whole chunk.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "replay/event.h"
#include "snapshot/chunk_file.h"

namespace panda::replay {

[[nodiscard]] inline std::string snapshot_path(const std::string& name) { return name + "-rr-snp"; }
[[nodiscard]] inline std::string log_path(const std::string& name) { return name + "-rr-nondet.log"; }

struct LogHeader {
  std::string architecture;
  snapshot::Hash128 snapshot_id;  // of the snapshot that this log belongs to
  InsnCount start;
};

struct KindStats {
  uint64_t events = 0;
  uint64_t bytes = 0;  // before compression
};
using LogStats = std::array<KindStats, kEventKinds>;

class LogWriter {
 public:
  static Result<std::unique_ptr<LogWriter>> create(const std::string& path, const LogHeader& header);

  // Events come in the order of their counts. A failure of the host (disk full) is kept: see failure().
  void append(const Event& event);
  void flush();
  // Writes the End event and closes the file.
  Status finish(const Event& end);
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  [[nodiscard]] uint64_t size_bytes() const { return file_.size_bytes(); }
  [[nodiscard]] const LogStats& stats() const { return stats_; }

 private:
  LogWriter(snapshot::ChunkWriter file, InsnCount start) : file_(std::move(file)), last_(start) {}
  void write_chunk(bool last);

  snapshot::ChunkWriter file_;
  InsnCount last_;
  snapshot::ByteWriter pending_;
  std::optional<Error> failure_;
  LogStats stats_{};
};

class LogReader {
 public:
  // Checks the whole file: what is damaged is refused here. A log that was cut off opens.
  static Result<std::unique_ptr<LogReader>> open(const std::string& path);

  [[nodiscard]] const LogHeader& header() const { return header_; }
  [[nodiscard]] bool complete() const { return complete_; }            // has its End
  [[nodiscard]] InsnCount last_count() const { return last_count_; }   // of its last event
  [[nodiscard]] uint64_t whole_bytes() const { return whole_bytes_; }  // what is good of it
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  // The next event, or nullopt after the last.
  Result<std::optional<Event>> next();
  [[nodiscard]] const LogStats& stats() const { return stats_; }  // of what was read so far

 private:
  explicit LogReader(snapshot::ChunkReader file) : file_(std::move(file)) {}
  Status scan();

  snapshot::ChunkReader file_;
  LogHeader header_;
  bool complete_ = false;
  InsnCount last_count_;
  uint64_t whole_bytes_ = 0;
  snapshot::Chunk chunk_;
  snapshot::ByteReader in_;
  InsnCount last_;
  LogStats stats_{};
};

}  // namespace panda::replay
