#include "pandalog/writer.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <new>

#include "base/check.h"

namespace panda::pandalog {
namespace {

constexpr size_t kBlockBytes = 256 << 10;
constexpr size_t kQueuedBlocks = 16;  // more: the guest waits

}  // namespace

struct Writer::Compressor {
  z_stream z{};
  bool in_chunk = false;  // a stream has been begun
  uint64_t begun_at = 0;
  std::vector<uint8_t> out = std::vector<uint8_t>(kBlockBytes);

  explicit Compressor(int level) {
    const int status = deflateInit(&z, level);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    PANDA_CHECK(status == Z_OK);
  }
  ~Compressor() { deflateEnd(&z); }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
};

Result<std::unique_ptr<Writer>> Writer::create(const std::string& path, Options options) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) {
    return fail("pandalog {}: cannot be created: {}; name a file in a directory that can be written to", path,
                std::strerror(errno));
  }
  if (::lseek(file, 0, SEEK_SET) < 0) {
    ::close(file);
    return fail("pandalog {}: is not a file that can be written in any order; name an ordinary file", path);
  }
  std::unique_ptr<Writer> writer(new Writer(path, file, options));
  std::array<uint8_t, kHeaderBytes> header{};
  const Header start{.chunk_bytes = options.chunk_bytes};
  std::memcpy(header.data(), &start, sizeof start);
  if (auto written = writer->write_bytes(header.data(), header.size()); !written) {
    writer->closed_ = true;
    return tl::unexpected<Error>(written.error());
  }
  writer->thread_ = std::thread([w = writer.get()] { w->run(); });
  return writer;
}

Writer::Writer(std::string path, int file, Options options)
    : path_(std::move(path)), file_(file), options_(options), compressor_(std::make_unique<Compressor>(options.level)) {
  making_.reserve(kBlockBytes + 4096);
}

Writer::~Writer() {
  if (!closed_) static_cast<void>(close());
  ::close(file_);
}

tl::unexpected<Error> Writer::cannot_write(int error) const {
  return fail("pandalog {}: cannot be written: {}; {}. What was written before is readable", path_,
              std::strerror(error),
              error == ENOSPC || error == EDQUOT ? "make room or name a file on another disk, and run it again"
                                                 : "entries are not logged any more");
}

// ---- the guest's side

uint8_t* Writer::begin_entry(size_t size, InsnCount instr) {
  std::unique_lock lock(mutex_);
  if (failed_ || closed_) return nullptr;
  if (size > kMaxEntryBytes) {
    failed_ = true;
    problem_ = fmt::format("pandalog {}: an entry of {} bytes is too large ({} at most): logging ends here", path_,
                           size, kMaxEntryBytes);
    return nullptr;
  }
  const uint64_t bytes = sizeof(uint32_t) + size;
  if (chunk_.entries != 0 &&
      ((chunk_size_ >= options_.chunk_bytes && instr.value != last_instr_) || chunk_size_ + bytes > kMaxChunkBytes)) {
    hand_over(lock, true);
  } else if (making_.size() >= kBlockBytes) {
    hand_over(lock, false);
  }
  if (failed_) return nullptr;
  if (chunk_.entries++ == 0) chunk_.first_instr = instr.value;
  chunk_size_ += bytes;
  last_instr_ = instr.value;
  const size_t at = making_.size();
  making_.resize(at + bytes);
  const auto prefix = static_cast<uint32_t>(size);
  std::memcpy(making_.data() + at, &prefix, sizeof prefix);
  lock.release();  // end_entry() unlocks
  return making_.data() + at + sizeof prefix;
}

void Writer::hand_over(std::unique_lock<std::mutex>& lock, bool ends_chunk) {
  space_.wait(lock, [&] { return queue_.size() < kQueuedBlocks || failed_; });
  if (failed_) return;
  queue_.push_back({std::move(making_), ends_chunk, chunk_});
  making_.clear();
  if (!spare_.empty()) {
    making_ = std::move(spare_.back());
    spare_.pop_back();
  }
  if (ends_chunk) {
    chunk_ = {};
    chunk_size_ = 0;
  }
  work_.notify_one();
}

std::string Writer::problem() {
  std::lock_guard lock(mutex_);
  return problem_;
}

Status Writer::close() {
  {
    std::unique_lock lock(mutex_);
    if (closed_) return {};
    closed_ = true;
    if (chunk_.entries != 0 && !failed_) hand_over(lock, true);
    stopping_ = true;
    work_.notify_one();
  }
  thread_.join();
  if (!failed_) {
    if (auto finished = finish_file(); !finished) {
      failed_ = true;
      problem_ = finished.error().message;
    }
  }
  if (failed_) return tl::unexpected<Error>(Error{problem_});
  return {};
}

// ---- the thread's side

void Writer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool woken = work_.wait_for(lock, options_.flush_after, [&] { return !queue_.empty() || stopping_; });
    if (!woken && !making_.empty()) queue_.push_back({std::move(making_), false, {}}), making_.clear();
    if (queue_.empty()) {
      if (stopping_) return;
      continue;
    }
    Block block = std::move(queue_.front());
    queue_.pop_front();
    space_.notify_one();
    lock.unlock();
    const Status written = write_block(block);
    block.bytes.clear();
    lock.lock();
    if (!written) {
      failed_ = true;
      problem_ = written.error().message;
      queue_.clear();
      space_.notify_one();
      return;
    }
    if (spare_.size() < kQueuedBlocks) spare_.push_back(std::move(block.bytes));
  }
}

Status Writer::write_block(const Block& block) {
  Compressor& c = *compressor_;
  if (!c.in_chunk) {
    c.in_chunk = true;
    c.begun_at = position_;
  }
  const int flush = block.ends_chunk ? Z_FINISH : Z_SYNC_FLUSH;
  c.z.next_in = const_cast<uint8_t*>(block.bytes.data());
  c.z.avail_in = static_cast<unsigned>(block.bytes.size());
  int status = Z_OK;
  do {
    c.z.next_out = c.out.data();
    c.z.avail_out = static_cast<unsigned>(c.out.size());
    status = deflate(&c.z, flush);
    PANDA_CHECK(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR);
    PANDA_TRY_STATUS(write_bytes(c.out.data(), c.out.size() - c.z.avail_out));
  } while (block.ends_chunk ? status != Z_STREAM_END : c.z.avail_out == 0);
  if (block.ends_chunk) {
    directory_.push_back(block.chunk);
    directory_.back().position = c.begun_at;
    deflateReset(&c.z);
    c.in_chunk = false;
  }
  return {};
}

Status Writer::write_bytes(const uint8_t* bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(file_, bytes, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      return cannot_write(errno);
    }
    bytes += written;
    size -= static_cast<size_t>(written);
    position_ += static_cast<uint64_t>(written);
  }
  return {};
}

Status Writer::finish_file() {
  const Header header{.directory_position = position_, .chunk_bytes = options_.chunk_bytes};
  const auto chunks = static_cast<uint32_t>(directory_.size());
  PANDA_TRY_STATUS(write_bytes(reinterpret_cast<const uint8_t*>(&chunks), sizeof chunks));
  PANDA_TRY_STATUS(
      write_bytes(reinterpret_cast<const uint8_t*>(directory_.data()), directory_.size() * sizeof(DirectoryEntry)));
  if (::pwrite(file_, &header, sizeof header, 0) != sizeof header) return cannot_write(errno);
  return {};
}

}  // namespace panda::pandalog
