#include "replay/log.h"

#include <unistd.h>

namespace panda::replay {
namespace {

constexpr snapshot::FileKind kKind = {{'P', 'A', 'N', 'D', 'A', 'L', 'O', 'G'}, 1, "a recording's log"};
constexpr uint32_t kHeader = 1;
constexpr uint32_t kEvents = 2;
constexpr size_t kChunkBytes = 256 << 10;

std::vector<uint8_t> encode_header(const LogHeader& h) {
  snapshot::ByteWriter w;
  w.string(h.architecture);
  w.u64(h.snapshot_id.low);
  w.u64(h.snapshot_id.high);
  w.varint(h.start.value);
  return w.bytes();
}

bool decode_header(std::span<const uint8_t> bytes, LogHeader& h) {
  snapshot::ByteReader r(bytes);
  h.architecture = r.string();
  h.snapshot_id.low = r.u64();
  h.snapshot_id.high = r.u64();
  h.start = InsnCount(r.varint());
  return !r.bad() && r.at_end();
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::create(const std::string& path, const LogHeader& header) {
  PANDA_TRY(auto file, snapshot::ChunkWriter::create(path, kKind));
  if (auto s = file.append(kHeader, header.start.value, encode_header(header)); !s) {
    ::unlink(path.c_str());
    return tl::unexpected<Error>(s.error());
  }
  return std::unique_ptr<LogWriter>(new LogWriter(std::move(file), header.start));
}

void LogWriter::write_chunk(bool last) {
  if (!failure_) {
    if (auto s = file_.append(kEvents, last_.value, pending_.bytes(), last); !s) failure_ = s.error();
  }
  pending_.clear();
}

void LogWriter::append(const Event& event) {
  if (failure_) return;
  const size_t before = pending_.size();
  encode(event, last_, pending_);
  KindStats& s = stats_[event.body.index()];
  s.events++;
  s.bytes += pending_.size() - before;
  if (pending_.size() >= kChunkBytes) flush();
}

void LogWriter::flush() {
  if (pending_.size() > 0) write_chunk(false);
}

Status LogWriter::finish(const Event& end) {
  append(end);
  if (!failure_) write_chunk(true);
  if (!failure_) {
    if (auto s = file_.close(); !s) failure_ = s.error();
  }
  if (failure_) return tl::unexpected<Error>(*failure_);
  return {};
}

Result<std::unique_ptr<LogReader>> LogReader::open(const std::string& path) {
  PANDA_TRY(auto file, snapshot::ChunkReader::open(path, kKind));
  std::unique_ptr<LogReader> log(new LogReader(std::move(file)));
  PANDA_TRY_STATUS(log->scan());
  return log;
}

Status LogReader::scan() {
  PANDA_TRY(auto first, file_.next());
  if (!first) return fail("{}: cut off at byte {}, before the first event", path(), file_.size_bytes());
  if (first->type != kHeader || first->last || !decode_header(first->data, header_)) {
    return fail("{}: damaged at byte {}: the header makes no sense", path(), first->offset);
  }
  last_count_ = header_.start;
  while (true) {
    PANDA_TRY(auto chunk, file_.next(false));
    if (!chunk) break;
    if (chunk->type != kEvents || chunk->position < last_count_.value) {
      return fail("{}: damaged at byte {}: a chunk that does not follow the one before it", path(), chunk->offset);
    }
    last_count_ = InsnCount(chunk->position);
  }
  complete_ = file_.end() == snapshot::ChunkReader::End::Clean;
  whole_bytes_ = file_.offset();
  file_.rewind();
  PANDA_TRY(auto again, file_.next());
  if (!again) return fail("{}: changed while it was read", path());
  last_ = header_.start;
  return {};
}

Result<std::optional<Event>> LogReader::next() {
  while (in_.at_end()) {
    PANDA_TRY(auto chunk, file_.next());
    if (!chunk) return std::nullopt;
    chunk_ = std::move(*chunk);
    in_ = snapshot::ByteReader(chunk_.data);
  }
  const size_t at = in_.position();
  Event event;
  const bool good = decode(in_, last_, event);
  const bool is_end = good && std::holds_alternative<End>(event.body);
  if (!good || (in_.at_end() && last_.value != chunk_.position) || is_end != (chunk_.last && in_.at_end())) {
    return fail("{}: damaged: an event that makes no sense, {} bytes into the chunk at byte {}", path(), at,
                chunk_.offset);
  }
  KindStats& s = stats_[event.body.index()];
  s.events++;
  s.bytes += in_.position() - at;
  return event;
}

}  // namespace panda::replay
