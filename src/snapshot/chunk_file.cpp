#include "snapshot/chunk_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace panda::snapshot {
namespace {

constexpr size_t kPreambleBytes = 24;
constexpr size_t kHeaderBytes = 48;
constexpr uint32_t kTag = 0x4b484350;  // "PCHK"
constexpr uint32_t kFlagZstd = 1;
constexpr uint32_t kFlagLast = 2;
constexpr int kZstdLevel = 1;

struct Header {
  uint32_t tag;
  uint32_t type;
  uint32_t sequence;
  uint32_t raw_size;
  uint32_t stored_size;
  uint32_t flags;
  uint64_t position;
  uint64_t payload_hash;
  uint64_t header_hash;
};
static_assert(sizeof(Header) == kHeaderBytes);

struct Preamble {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t hash;
};
static_assert(sizeof(Preamble) == kPreambleBytes);

uint64_t header_hash(const Header& h, uint64_t offset) {
  return XXH3_64bits_withSeed(&h, offsetof(Header, header_hash), offset);
}

Hash128 extend(Hash128 id, const Header& h) {
  const uint64_t words[3] = {id.low, id.high, h.header_hash};
  return hash_bytes(words, sizeof words);
}

}  // namespace

Hash128 hash_bytes(const void* data, size_t size) {
  const XXH128_hash_t h = XXH3_128bits(data, size);
  return {h.low64, h.high64};
}

Result<ChunkWriter> ChunkWriter::create(const std::string& path, const FileKind& kind) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) {
    if (errno == EEXIST) return fail("{} exists already; recordings are not overwritten", path);
    return fail("{}: cannot create: {}", path, std::strerror(errno));
  }
  ChunkWriter writer(path, fd);
  Preamble p{};
  std::memcpy(p.magic, kind.magic, sizeof p.magic);
  p.version = kind.version;
  p.hash = XXH3_64bits(&p, offsetof(Preamble, hash));
  if (auto s = writer.write_all(&p, sizeof p); !s) {
    ::unlink(path.c_str());
    return tl::unexpected<Error>(s.error());
  }
  return writer;
}

ChunkWriter::ChunkWriter(ChunkWriter&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      offset_(other.offset_),
      sequence_(other.sequence_),
      id_(other.id_),
      buffer_(std::move(other.buffer_)) {}

ChunkWriter::~ChunkWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Status ChunkWriter::write_all(const void* data, size_t size) {
  const auto* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd_, p, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail("{}: cannot write at byte {}: {}", path_, offset_, std::strerror(errno));
    }
    p += n;
    size -= static_cast<size_t>(n);
    offset_ += static_cast<uint64_t>(n);
  }
  return {};
}

Status ChunkWriter::append(uint32_t type, uint64_t position, std::span<const uint8_t> raw, bool last) {
  PANDA_CHECK(fd_ >= 0 && raw.size() <= kMaxChunkBytes);
  buffer_.resize(kHeaderBytes + ZSTD_compressBound(raw.size()));
  uint8_t* payload = buffer_.data() + kHeaderBytes;
  size_t stored = ZSTD_compress(payload, buffer_.size() - kHeaderBytes, raw.data(), raw.size(), kZstdLevel);
  Header h{};
  if (ZSTD_isError(stored) != 0 || stored >= raw.size()) {
    stored = raw.size();
    if (stored != 0) std::memcpy(payload, raw.data(), stored);
  } else {
    h.flags |= kFlagZstd;
  }
  if (last) h.flags |= kFlagLast;
  h.tag = kTag;
  h.type = type;
  h.sequence = sequence_++;
  h.raw_size = static_cast<uint32_t>(raw.size());
  h.stored_size = static_cast<uint32_t>(stored);
  h.position = position;
  h.payload_hash = XXH3_64bits(payload, stored);
  h.header_hash = header_hash(h, offset_);
  std::memcpy(buffer_.data(), &h, sizeof h);
  id_ = extend(id_, h);
  return write_all(buffer_.data(), kHeaderBytes + stored);
}

Status ChunkWriter::close() {
  if (fd_ < 0) return {};
  if (::close(std::exchange(fd_, -1)) != 0) return fail("{}: cannot close: {}", path_, std::strerror(errno));
  return {};
}

Result<ChunkReader> ChunkReader::open(const std::string& path, const FileKind& kind) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("{}: cannot open: {}", path, std::strerror(errno));
  struct stat st{};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    return fail("{}: not a regular file", path);
  }
  ChunkReader reader(path, fd, static_cast<uint64_t>(st.st_size));
  Preamble p{};
  PANDA_TRY(const size_t got, reader.read_at(0, &p, sizeof p));
  if (got >= sizeof p.magic && std::memcmp(p.magic, kind.magic, sizeof p.magic) != 0) {
    return fail("{}: not {} (its first 8 bytes are something else)", path, kind.what);
  }
  if (got < sizeof p) return fail("{}: cut off at byte {}, inside its first header", path, got);
  if (p.hash != XXH3_64bits(&p, offsetof(Preamble, hash))) {
    return fail("{}: damaged at byte 8: the checksum of its first header does not agree", path);
  }
  if (p.version != kind.version) {
    return fail("{}: has format version {}, this program reads version {}", path, p.version, kind.version);
  }
  reader.offset_ = kPreambleBytes;
  return reader;
}

ChunkReader::ChunkReader(ChunkReader&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      offset_(other.offset_),
      sequence_(other.sequence_),
      last_seen_(other.last_seen_),
      end_(other.end_),
      id_(other.id_) {}

ChunkReader::~ChunkReader() {
  if (fd_ >= 0) ::close(fd_);
}

Result<size_t> ChunkReader::read_at(uint64_t offset, void* out, size_t size) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd_, static_cast<char*>(out) + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail("{}: cannot read at byte {}: {}", path_, offset + done, std::strerror(errno));
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

void ChunkReader::rewind() {
  offset_ = kPreambleBytes;
  sequence_ = 0;
  last_seen_ = false;
  end_ = End::None;
  id_ = {};
}

Result<std::optional<Chunk>> ChunkReader::next(bool decompress) {
  if (end_ != End::None) return std::nullopt;
  Header h{};
  PANDA_TRY(const size_t got, read_at(offset_, &h, sizeof h));
  if (last_seen_) {
    if (got != 0) return fail("{}: damaged at byte {}: data after the last chunk", path_, offset_);
    end_ = End::Clean;
    return std::nullopt;
  }
  if (got < sizeof h) {
    end_ = End::CutOff;
    return std::nullopt;
  }
  if (h.tag != kTag || h.header_hash != header_hash(h, offset_)) {
    return fail("{}: damaged at byte {}: the checksum of chunk {}'s header does not agree", path_, offset_, sequence_);
  }
  if (h.sequence != sequence_ || h.raw_size > kMaxChunkBytes || h.stored_size > kMaxChunkBytes) {
    return fail("{}: damaged at byte {}: chunk {} stands where chunk {} belongs, or is too large", path_, offset_,
                h.sequence, sequence_);
  }
  std::vector<uint8_t> stored(h.stored_size);
  PANDA_TRY(const size_t payload, read_at(offset_ + sizeof h, stored.data(), stored.size()));
  if (payload < stored.size()) {
    end_ = End::CutOff;
    return std::nullopt;
  }
  if (h.payload_hash != XXH3_64bits(stored.data(), stored.size())) {
    return fail("{}: damaged between bytes {} and {}: the checksum of chunk {} does not agree", path_,
                offset_ + sizeof h, offset_ + sizeof h + stored.size(), sequence_);
  }
  Chunk chunk{h.type, h.position, offset_, (h.flags & kFlagLast) != 0, {}};
  if (decompress) {
    if ((h.flags & kFlagZstd) != 0) {
      chunk.data.resize(h.raw_size);
      const size_t n = ZSTD_decompress(chunk.data.data(), chunk.data.size(), stored.data(), stored.size());
      if (ZSTD_isError(n) != 0 || n != h.raw_size) {
        return fail("{}: damaged at byte {}: chunk {} does not decompress", path_, offset_, sequence_);
      }
    } else if (h.raw_size == h.stored_size) {
      chunk.data = std::move(stored);
    } else {
      return fail("{}: damaged at byte {}: chunk {} has two sizes", path_, offset_, sequence_);
    }
  }
  offset_ += sizeof h + h.stored_size;
  sequence_++;
  last_seen_ = chunk.last;
  id_ = extend(id_, h);
  return chunk;
}

}  // namespace panda::snapshot
