// Reads a pandalog forwards, backwards and from an instruction. What is whole is read whatever the
// rest is like: a log without a directory (its run was interrupted) is read through once to find its
// chunks; in a chunk that is cut off or altered, reading goes up to where it no longer makes sense.
// Whatever is wrong is said in problems().
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "pandalog/format.h"

namespace panda::pandalog {

enum class Direction : uint8_t { Forward, Backward };

class Reader {
 public:
  // An error: this is no pandalog at all.
  static Result<std::unique_ptr<Reader>> open(const std::string& path, Direction direction);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next entry, valid until the next call; nullopt: the end, or the first damage (see problems()).
  // Backwards, damage does not end reading.
  [[nodiscard]] std::optional<std::span<const uint8_t>> next();
  // Next is the first entry at or after this instruction; backwards, the last at or before it.
  void seek(InsnCount instr);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<DirectoryEntry>& chunks() const { return chunks_; }
  // What was found wrong so far, a line each. `lost`: there are entries that cannot be read.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  enum class End : uint8_t { Whole, CutOff, Damaged };
  struct Inflated {
    End end = End::Whole;
    uint64_t file_end = 0;  // where the next chunk begins
    const char* why = "";
  };

  Reader(std::string path, int file, uint64_t size, Direction direction);
  Status read_header();
  [[nodiscard]] bool read_directory();
  void scan();
  [[nodiscard]] bool is_unnamed_directory(uint64_t position);
  bool load_chunk(size_t index);  // true: the directory was wrong about it and is corrected
  [[nodiscard]] std::optional<std::span<const uint8_t>> previous();
  [[nodiscard]] Inflated inflate_chunk(uint64_t position);
  [[nodiscard]] const char* find_entries(End end);  // why not all of data_ is entries; nullptr: it is
  [[nodiscard]] bool read_bytes(uint64_t position, void* out, size_t size) const;
  [[nodiscard]] std::span<const uint8_t> entry(size_t index) const;
  [[nodiscard]] uint64_t instr_of(size_t index) const;
  void problem(const std::string& text, bool lost);

  const std::string path_;
  const int file_;
  const uint64_t size_;
  const Direction direction_;
  Header header_;
  std::vector<DirectoryEntry> chunks_;
  std::vector<std::string> problems_;
  bool lost_ = false;

  // The loaded chunk.
  size_t chunk_ = SIZE_MAX;
  bool ends_here_ = false;  // it is damaged: forward reading ends with it
  std::vector<uint8_t> in_;
  std::vector<uint8_t> out_;
  std::vector<uint8_t> data_;
  std::vector<size_t> entries_;  // where the entries' sizes are in data_
  // Forwards: the next entry is entry next_ of chunk next_chunk_. Backwards: these are how many chunks,
  // and entries in the last of them, are still to come.
  size_t next_chunk_ = 0;
  size_t next_ = 0;
};

}  // namespace panda::pandalog
