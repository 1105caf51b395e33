// The container of snapshots and logs: a preamble, then chunks, each compressed and checksummed, so
// that every byte of a file is covered and a damaged one is refused with the offset of the damage.
//
//   preamble  24 bytes  magic[8], version u32, zero u32, XXH3-64 of these 16 bytes
//   chunk     48 bytes  "PCHK", type u32, sequence u32, raw size u32, stored size u32, flags u32,
//                       position u64, XXH3-64 of the stored payload, XXH3-64 of these 40 bytes
//                       seeded with the chunk's offset in the file
//             then the stored payload
//
// The header has its own checksum so that a size can be trusted: a file that ends inside a chunk was
// cut off, anything else that does not fit is damage. The last chunk says that it is the last;
// nothing may follow it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace panda::snapshot {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
  [[nodiscard]] std::string hex() const { return fmt::format("{:016x}{:016x}", high, low); }
};

[[nodiscard]] Hash128 hash_bytes(const void* data, size_t size);

// "PANDA" and the kind of file; the version is of its contents.
struct FileKind {
  char magic[8];
  uint32_t version;
  const char* what;  // for messages: "a snapshot", "a recording's log"
};

inline constexpr uint32_t kMaxChunkBytes = 16u << 20;  // of raw data

class ChunkWriter {
 public:
  // Fails where the file exists already: recordings are not overwritten.
  static Result<ChunkWriter> create(const std::string& path, const FileKind& kind);
  ~ChunkWriter();
  ChunkWriter(ChunkWriter&& other) noexcept;
  ChunkWriter& operator=(ChunkWriter&&) = delete;

  // Writes one chunk and hands it to the host's kernel before it returns.
  Status append(uint32_t type, uint64_t position, std::span<const uint8_t> raw, bool last = false);
  Status close();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] uint64_t size_bytes() const { return offset_; }
  // Names the file's contents: a hash over all chunk headers, which hold the payloads' hashes.
  [[nodiscard]] Hash128 id() const { return id_; }

 private:
  ChunkWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  Status write_all(const void* data, size_t size);

  std::string path_;
  int fd_ = -1;
  uint64_t offset_ = 0;
  uint32_t sequence_ = 0;
  Hash128 id_;
  std::vector<uint8_t> buffer_;
};

struct Chunk {
  uint32_t type = 0;
  uint64_t position = 0;
  uint64_t offset = 0;  // of its header in the file
  bool last = false;
  std::vector<uint8_t> data;
};

class ChunkReader {
 public:
  enum class End : uint8_t { None, Clean, CutOff };

  static Result<ChunkReader> open(const std::string& path, const FileKind& kind);
  ~ChunkReader();
  ChunkReader(ChunkReader&& other) noexcept;
  ChunkReader& operator=(ChunkReader&&) = delete;

  // The next chunk, checked; nullopt at the end, and end() tells which kind. Damage is an error.
  // Without `decompress` the payload is only checked, and `data` stays empty.
  Result<std::optional<Chunk>> next(bool decompress = true);
  [[nodiscard]] End end() const { return end_; }
  [[nodiscard]] uint64_t offset() const {
    return offset_;
  }  // where reading stands; after CutOff, the last whole chunk's end
  [[nodiscard]] uint64_t size_bytes() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Hash128 id() const { return id_; }  // of what was read so far
  void rewind();

 private:
  ChunkReader(std::string path, int fd, uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  Result<size_t> read_at(uint64_t offset, void* out, size_t size) const;

  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
  uint32_t sequence_ = 0;
  bool last_seen_ = false;
  End end_ = End::None;
  Hash128 id_;
};

}  // namespace panda::snapshot
