#include "pandalog/log.h"

#include <algorithm>
#include <cstdio>

namespace panda::pandalog {

Status Log::open_write(const std::string& path, uint32_t chunk_bytes) {
  if (writer_ != nullptr) return fail("pandalog {}: cannot be opened: {} is open for writing", path, writer_->path());
  reader_.reset();
  PANDA_TRY(writer_, Writer::create(path, {.chunk_bytes = chunk_bytes != 0 ? chunk_bytes : kDefaultChunkBytes}));
  said_.clear();
  return {};
}

Status Log::open_read(const std::string& path, Direction direction) {
  if (writer_ != nullptr) {
    return fail("pandalog {}: cannot be read here while {} is being written; close that, or use another PandaLog", path,
                writer_->path());
  }
  PANDA_TRY(reader_, Reader::open(path, direction));
  said_.clear();
  reported_ = 0;
  report_problems();
  return {};
}

Status Log::close() {
  reader_.reset();
  Status closed;
  if (const std::unique_ptr<Writer> writer = std::move(writer_); writer != nullptr) closed = writer->close();
  if (!closed) say_once(closed.error().message);
  said_.clear();
  return closed;
}

void Log::say(const std::string& line) { std::fprintf(stderr, "panda: %s\n", line.c_str()); }

void Log::say_once(const std::string& line) {
  if (std::find(said_.begin(), said_.end(), line) != said_.end()) return;
  said_.push_back(line);
  say(line);
}

void Log::report_problems() {
  for (; reader_ != nullptr && reported_ < reader_->problems().size(); reported_++) say(reader_->problems()[reported_]);
}

}  // namespace panda::pandalog
