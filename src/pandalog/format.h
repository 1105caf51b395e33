// The pandalog file, as all its readers know it (all numbers little-endian):
//
//     0    u32 version = 2, u32 0, u64 position of the directory, u32 chunk size, u32 0; to byte 128: 0
//     128  chunks: each one zlib stream of entries; an entry is a u32 size and a panda.LogEntry
//     dir  u32 chunks, then per chunk u64 first instruction, u64 file position, u64 entries
//
// A chunk ends where the entries' instruction changes, so all entries of one instruction are in one.
// The directory and its position are written last: a log whose directory position is 0 was interrupted.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace panda::pandalog {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline constexpr uint32_t kVersion = 2;
inline constexpr uint64_t kHeaderBytes = 128;
inline constexpr uint32_t kDefaultChunkBytes = 16u << 20;
inline constexpr uint64_t kMaxEntryBytes = 64u << 20;
// No chunk holds more than this: one instruction's entries are split where they would.
inline constexpr uint64_t kMaxChunkBytes = 512u << 20;

struct Header {
  uint32_t version = kVersion;
  uint32_t zero1 = 0;
  uint64_t directory_position = 0;
  uint32_t chunk_bytes = kDefaultChunkBytes;
  uint32_t zero2 = 0;
};
static_assert(sizeof(Header) == 24);

struct DirectoryEntry {
  uint64_t first_instr = 0;
  uint64_t position = 0;
  uint64_t entries = 0;
};
static_assert(sizeof(DirectoryEntry) == 24);

template <typename T>
T load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The value of the top-level varint field `tag` of a serialised message; nullopt: none, or not a message.
[[nodiscard]] std::optional<uint64_t> find_varint(std::span<const uint8_t> message, uint32_t tag);
inline constexpr uint32_t kPcTag = 1;
inline constexpr uint32_t kInstrTag = 2;

}  // namespace panda::pandalog
