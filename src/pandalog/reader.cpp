#include "pandalog/reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "base/check.h"

namespace panda::pandalog {
namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kAll = SIZE_MAX;  // of next_: the chunk is not loaded yet

class InflateStream {
 public:
  z_stream z{};

  InflateStream() {
    const int status = inflateInit(&z);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    PANDA_CHECK(status == Z_OK);
  }
  ~InflateStream() { inflateEnd(&z); }
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;
};

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path, Direction direction) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail("pandalog {}: cannot be opened: {}", path, std::strerror(errno));
  struct stat about{};
  if (::fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    ::close(file);
    return fail("pandalog {}: is not an ordinary file", path);
  }
  std::unique_ptr<Reader> reader(new Reader(path, file, static_cast<uint64_t>(about.st_size), direction));
  PANDA_TRY_STATUS(reader->read_header());
  if (!reader->read_directory()) reader->scan();
  if (direction == Direction::Backward) {
    reader->next_chunk_ = reader->chunks_.size();
    reader->next_ = kAll;
  }
  return reader;
}

Reader::Reader(std::string path, int file, uint64_t size, Direction direction)
    : path_(std::move(path)), file_(file), size_(size), direction_(direction) {}

Reader::~Reader() { ::close(file_); }

void Reader::problem(const std::string& text, bool lost) {
  std::string line = fmt::format("pandalog {}: {}", path_, text);
  if (std::find(problems_.begin(), problems_.end(), line) == problems_.end()) problems_.push_back(std::move(line));
  lost_ = lost_ || lost;
}

bool Reader::read_bytes(uint64_t position, void* out, size_t size) const {
  auto* to = static_cast<uint8_t*>(out);
  while (size > 0) {
    const ssize_t got = ::pread(file_, to, size, static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    position += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return true;
}

// ---- finding the chunks

Status Reader::read_header() {
  if (size_ < kHeaderBytes || !read_bytes(0, &header_, sizeof header_)) {
    return fail("pandalog {}: is not a pandalog, or cut off in its first {} bytes", path_, kHeaderBytes);
  }
  if (header_.version != kVersion) {
    return fail("pandalog {}: is not a pandalog of version {} (its first bytes are {:#x})", path_, kVersion,
                header_.version);
  }
  return {};
}

bool Reader::read_directory() {
  const uint64_t at = header_.directory_position;
  if (at == 0) return false;  // the run was interrupted; scan() says what is missing, if anything
  uint32_t count = 0;
  if (at < kHeaderBytes || at > size_ || size_ - at < sizeof count || !read_bytes(at, &count, sizeof count) ||
      size_ - at - sizeof count != uint64_t{count} * sizeof(DirectoryEntry)) {
    problem("its directory of chunks is missing or damaged: the file was cut off or altered", false);
    return false;
  }
  chunks_.resize(count);
  bool good = read_bytes(at + sizeof count, chunks_.data(), count * sizeof(DirectoryEntry));
  uint64_t least = kHeaderBytes;
  uint64_t first_instr = 0;
  for (const DirectoryEntry& c : chunks_) {
    good = good && c.position >= least && c.position < at && c.entries != 0 && c.first_instr >= first_instr;
    least = c.position + 1;
    first_instr = c.first_instr;
  }
  good = good && (count == 0 ? at == kHeaderBytes : chunks_.front().position == kHeaderBytes);
  if (good) return true;
  problem("its directory of chunks makes no sense: the file was altered", false);
  chunks_.clear();
  return false;
}

bool Reader::is_unnamed_directory(uint64_t position) {
  uint32_t count = 0;
  if (!read_bytes(position, &count, sizeof count) || count != chunks_.size()) return false;
  std::vector<DirectoryEntry> entries(count);
  return read_bytes(position + sizeof count, entries.data(), count * sizeof(DirectoryEntry)) &&
         std::equal(entries.begin(), entries.end(), chunks_.begin(), [](const auto& a, const auto& b) {
           return a.first_instr == b.first_instr && a.position == b.position && a.entries == b.entries;
         });
}

void Reader::scan() {
  uint64_t position = kHeaderBytes;
  while (position < size_) {
    const Inflated chunk = inflate_chunk(position);
    if (chunk.end == End::Damaged && data_.empty() && is_unnamed_directory(position)) return;
    const char* why = find_entries(chunk.end);
    if (!entries_.empty()) {
      chunks_.push_back({instr_of(0), position, entries_.size()});
    } else if (chunk.end != End::Whole || why != nullptr) {
      problem(
          chunk.end == End::CutOff
              ? fmt::format("ends in the middle of a chunk (at {}): the run was interrupted or the file cut off", size_)
              : fmt::format("what begins at {} is not a chunk of entries", position),
          true);
    }
    if (chunk.end != End::Whole || why != nullptr) return;  // load_chunk() says what is wrong with a part
    position = chunk.file_end;
  }
  if (problems_.empty())
    problem("its run was interrupted: it has no directory of chunks; all that was written is read", false);
}

// ---- chunks

Reader::Inflated Reader::inflate_chunk(uint64_t position) {
  chunk_ = SIZE_MAX;
  data_.clear();
  entries_.clear();
  InflateStream stream;
  z_stream& z = stream.z;
  std::vector<uint8_t>& in = in_;
  std::vector<uint8_t>& out = out_;
  in.resize(kReadBytes);
  out.resize(kReadBytes);
  for (;;) {
    if (z.avail_in == 0) {
      const size_t bytes = std::min<uint64_t>(in.size(), size_ - std::min(position, size_));
      if (bytes == 0) return {End::CutOff, size_, "is cut off"};
      if (!read_bytes(position, in.data(), bytes)) return {End::CutOff, size_, "cannot be read from the disk"};
      position += bytes;
      z.next_in = in.data();
      z.avail_in = static_cast<unsigned>(bytes);
    }
    z.next_out = out.data();
    z.avail_out = static_cast<unsigned>(out.size());
    const int status = inflate(&z, Z_NO_FLUSH);
    data_.insert(data_.end(), out.data(), out.data() + (out.size() - z.avail_out));
    if (status == Z_STREAM_END) return {End::Whole, position - z.avail_in, ""};
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    if (status != Z_OK && status != Z_BUF_ERROR) return {End::Damaged, position, "was altered"};
    if (data_.size() > kMaxChunkBytes + kMaxEntryBytes) return {End::Damaged, position, "is too large"};
  }
}

const char* Reader::find_entries(End end) {
  entries_.clear();
  size_t at = 0;
  uint64_t last = 0;
  while (at < data_.size()) {
    const size_t left = data_.size() - at;
    if (left < sizeof(uint32_t)) return "ends in the middle of an entry";
    const auto size = load<uint32_t>(data_.data() + at);
    if (size > left - sizeof size) return "ends in the middle of an entry";
    entries_.push_back(at);
    at += sizeof size + size;
    if (end == End::Whole) continue;
    // Without the chunk's checksum nothing vouches for an entry but that it makes sense.
    const auto instr = find_varint(entry(entries_.size() - 1), kInstrTag);
    if (!instr || *instr < last) {
      entries_.pop_back();
      return "goes on with what is not an entry";
    }
    last = *instr;
  }
  return nullptr;
}

bool Reader::load_chunk(size_t index) {
  if (chunk_ == index) return false;
  DirectoryEntry& c = chunks_[index];
  Inflated inflated = inflate_chunk(c.position);
  bool corrected = false;
  if (inflated.end == End::Damaged && index > 0) {  // is it where the directory says? A chunk follows the one before.
    const Inflated before = inflate_chunk(chunks_[index - 1].position);
    if (before.end == End::Whole && before.file_end != c.position) {
      c.position = before.file_end;
      corrected = true;
    }
    inflated = inflate_chunk(c.position);
  }
  const char* why = find_entries(inflated.end);
  chunk_ = index;
  ends_here_ = true;
  const uint64_t found = entries_.size();
  const std::string which = fmt::format("chunk {} of {} (at {})", index + 1, chunks_.size(), c.position);
  if (inflated.end == End::CutOff) {
    problem(fmt::format("{} {}: the run was interrupted or the file cut off; its {} whole entries are read", which,
                        inflated.why, found),
            true);
  } else if (inflated.end == End::Damaged) {
    problem(fmt::format("{} {}: {} entries are read before the damage, some of them may be wrong", which, inflated.why,
                        found),
            true);
  } else if (why != nullptr) {
    problem(fmt::format("{} {}: {} entries are read before", which, why, found), true);
  } else {
    ends_here_ = false;
    corrected = corrected || found != c.entries || instr_of(0) != c.first_instr;
    if (corrected) {
      c.first_instr = instr_of(0);
      c.entries = found;
    }
  }
  if (corrected) problem(which + " is not as the directory of chunks describes it: the file was altered", false);
  return corrected;
}

std::span<const uint8_t> Reader::entry(size_t index) const {
  const uint8_t* at = data_.data() + entries_[index];
  return {at + sizeof(uint32_t), load<uint32_t>(at)};
}

uint64_t Reader::instr_of(size_t index) const {
  return index < entries_.size() ? find_varint(entry(index), kInstrTag).value_or(0) : 0;
}

// ---- reading

std::optional<std::span<const uint8_t>> Reader::next() {
  if (direction_ == Direction::Backward) return previous();
  for (; next_chunk_ < chunks_.size(); next_chunk_++, next_ = 0) {
    load_chunk(next_chunk_);
    if (next_ < entries_.size()) return entry(next_++);
    if (ends_here_) next_chunk_ = chunks_.size() - 1;
  }
  return std::nullopt;
}

std::optional<std::span<const uint8_t>> Reader::previous() {
  for (; next_chunk_ > 0; next_chunk_--, next_ = kAll) {
    load_chunk(next_chunk_ - 1);
    next_ = std::min(next_, entries_.size());
    if (next_ > 0) return entry(--next_);
  }
  return std::nullopt;
}

void Reader::seek(InsnCount instr) {
  if (direction_ == Direction::Backward) {
    const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), instr.value,
                                        [](uint64_t i, const DirectoryEntry& c) { return i < c.first_instr; });
    next_chunk_ = static_cast<size_t>(after - chunks_.begin());
    next_ = kAll;
    if (next_chunk_ == 0) return;
    if (load_chunk(next_chunk_ - 1)) return seek(instr);
    next_ = entries_.size();
    while (next_ > 0 && instr_of(next_ - 1) > instr.value) next_--;
    return;
  }
  const auto from = std::lower_bound(chunks_.begin(), chunks_.end(), instr.value,
                                     [](const DirectoryEntry& c, uint64_t i) { return c.first_instr < i; });
  next_chunk_ = static_cast<size_t>(from - chunks_.begin());
  next_ = 0;
  if (next_chunk_ == 0) return;
  if (load_chunk(next_chunk_ - 1)) return seek(instr);
  next_chunk_--;  // its last entries may be the ones
  while (next_ < entries_.size() && instr_of(next_) < instr.value) next_++;
  if (next_ == entries_.size() && ends_here_) next_chunk_++, next_ = 0;  // asked for what is behind the damage
}

}  // namespace panda::pandalog
