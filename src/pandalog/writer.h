// Writes a pandalog. Entries are put straight into the block in the making; a thread of the writer
// compresses and writes whole blocks, as one zlib stream per chunk that is flushed at the end of each
// block, and a started block after a second: a run that is killed leaves a log that is readable up to
// there. What the file decompresses to does not depend on time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "pandalog/format.h"

namespace panda::pandalog {

class Writer {
 public:
  struct Options {
    uint32_t chunk_bytes = kDefaultChunkBytes;
    int level = 1;  // zlib's: the guest waits where compressing is slower than it
    std::chrono::milliseconds flush_after{1000};
  };
  // An existing file is overwritten.
  static Result<std::unique_ptr<Writer>> create(const std::string& path, Options options);
  ~Writer();  // closes
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Room for the next entry of `size` bytes: to be filled and ended at once, by the same thread.
  // nullptr: the log cannot be written any more, problem() says why.
  [[nodiscard]] uint8_t* begin_entry(size_t size, InsnCount instr);
  void end_entry() { mutex_.unlock(); }

  // Writes what is left and the directory.
  Status close();

  [[nodiscard]] const std::string& path() const { return path_; }
  // One line; empty: none.
  [[nodiscard]] std::string problem();

 private:
  struct Block {
    std::vector<uint8_t> bytes;
    bool ends_chunk = false;
    DirectoryEntry chunk;  // of the chunk that it ends, without its position
  };
  struct Compressor;  // the zlib stream, of the thread alone

  Writer(std::string path, int file, Options options);
  void hand_over(std::unique_lock<std::mutex>& lock, bool ends_chunk);
  void run();
  Status write_block(const Block& block);
  Status write_bytes(const uint8_t* bytes, size_t size);
  Status finish_file();
  [[nodiscard]] tl::unexpected<Error> cannot_write(int error) const;

  const std::string path_;
  const int file_;
  const Options options_;
  bool closed_ = false;

  std::mutex mutex_;  // held between begin_entry() and end_entry()
  std::condition_variable work_;
  std::condition_variable space_;
  // --- under the mutex
  std::vector<uint8_t> making_;
  std::vector<std::vector<uint8_t>> spare_;
  std::deque<Block> queue_;
  DirectoryEntry chunk_;     // the one in the making
  uint64_t chunk_size_ = 0;  // its bytes so far
  uint64_t last_instr_ = 0;
  bool stopping_ = false;
  bool failed_ = false;
  std::string problem_;

  // --- the thread's, until it ends
  std::unique_ptr<Compressor> compressor_;
  std::vector<DirectoryEntry> directory_;
  uint64_t position_ = 0;  // bytes written
  std::thread thread_;
};

}  // namespace panda::pandalog
