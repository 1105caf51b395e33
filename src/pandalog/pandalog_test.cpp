// Logs written, read, cut off and altered. Entries are serialised by hand: pc, instr and a field of
// bytes, which say what the entry must be.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "pandalog/reader.h"
#include "pandalog/writer.h"

namespace panda::pandalog {
namespace {

using Bytes = std::vector<uint8_t>;

void put_varint(Bytes& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<uint8_t>(value | 0x80));
  out.push_back(static_cast<uint8_t>(value));
}

// Deterministic, of any size, hard or easy to compress.
Bytes make_entry(uint64_t instr, uint64_t seed, size_t payload) {
  Bytes out;
  put_varint(out, kPcTag << 3);
  put_varint(out, seed * 0x9e3779b97f4a7c15);
  put_varint(out, kInstrTag << 3);
  put_varint(out, instr);
  put_varint(out, 200 << 3 | 2);
  put_varint(out, payload);
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < payload; i++) out.push_back(static_cast<uint8_t>(seed % 3 == 0 ? 'x' : random()));
  return out;
}

struct Row {
  uint64_t instr;
  uint64_t seed;
  size_t payload;
  [[nodiscard]] Bytes entry() const { return make_entry(instr, seed, payload); }
};

// Instructions go up by 0 to 3, so that many entries share one.
std::vector<Row> rows(size_t count, uint64_t seed, size_t most = 60) {
  std::mt19937_64 random(seed);
  std::vector<Row> out;
  uint64_t instr = 5;
  for (size_t i = 0; i < count; i++) {
    instr += random() % 4;
    out.push_back({instr, random() % 100000, random() % most});
  }
  return out;
}

class PandalogTest : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "panda_log_test_" + std::to_string(::getpid()) + ".plog";
  void TearDown() override { std::filesystem::remove(path_); }

  static void append(Writer& writer, const Row& row) {
    const Bytes entry = row.entry();
    uint8_t* room = writer.begin_entry(entry.size(), InsnCount(row.instr));
    ASSERT_NE(room, nullptr) << writer.problem();
    std::copy(entry.begin(), entry.end(), room);
    writer.end_entry();
  }
  void write(const std::vector<Row>& all, Writer::Options options = {}) {
    auto writer = Writer::create(path_, options);
    ASSERT_TRUE(writer.has_value()) << writer.error().message;
    for (const Row& row : all) append(**writer, row);
    const Status closed = (*writer)->close();
    ASSERT_TRUE(closed.has_value()) << closed.error().message;
  }
  std::unique_ptr<Reader> open(Direction direction = Direction::Forward) {
    auto reader = Reader::open(path_, direction);
    EXPECT_TRUE(reader.has_value()) << reader.error().message;
    return reader ? std::move(*reader) : nullptr;
  }
  Bytes file() const {
    std::ifstream in(path_, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }
  void set_file(std::span<const uint8_t> bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  static Bytes take(const std::optional<std::span<const uint8_t>>& entry) {
    return entry ? Bytes(entry->begin(), entry->end()) : Bytes();
  }
  // How many of `all` are read, in order, before the end.
  static size_t count_read(Reader& reader, const std::vector<Row>& all) {
    size_t n = 0;
    while (const auto entry = reader.next()) {
      if (n == all.size() || take(entry) != all[n].entry()) return SIZE_MAX;
      n++;
    }
    return n;
  }
};

TEST_F(PandalogTest, ComesBackForwardsAndBackwardsWhateverTheChunkSize) {
  const std::vector<Row> all = rows(3000, 1);
  for (const uint32_t chunk : {1u, 100u, 5000u, 1u << 20, kDefaultChunkBytes}) {
    write(all, {.chunk_bytes = chunk});
    auto forward = open();
    EXPECT_EQ(count_read(*forward, all), all.size()) << chunk;
    EXPECT_TRUE(forward->problems().empty());
    EXPECT_EQ(forward->next(), std::nullopt);
    auto backward = open(Direction::Backward);
    for (size_t i = all.size(); i-- > 0;) ASSERT_EQ(take(backward->next()), all[i].entry()) << chunk << " " << i;
    EXPECT_EQ(backward->next(), std::nullopt);
    EXPECT_EQ(backward->next(), std::nullopt);
  }
}

// The layout, by a reader that shares nothing with ours.
TEST_F(PandalogTest, LayoutIsTheOneThatOthersRead) {
  const std::vector<Row> all = rows(2000, 2);
  write(all, {.chunk_bytes = 4000});
  const Bytes bytes = file();
  EXPECT_EQ(load<uint32_t>(bytes.data()), 2u);
  EXPECT_EQ(load<uint32_t>(bytes.data() + 16), 4000u);
  const auto directory = load<uint64_t>(bytes.data() + 8);
  const auto chunks = load<uint32_t>(bytes.data() + directory);
  ASSERT_EQ(directory + 4 + chunks * 24, bytes.size());
  ASSERT_GT(chunks, 5u);
  size_t at_row = 0;
  uint64_t last_instr = 0;
  for (uint32_t c = 0; c < chunks; c++) {
    const uint8_t* d = bytes.data() + directory + 4 + c * 24;
    const auto first = load<uint64_t>(d), position = load<uint64_t>(d + 8), entries = load<uint64_t>(d + 16);
    const uint64_t end = c + 1 == chunks ? directory : load<uint64_t>(d + 24 + 8);
    EXPECT_EQ(c == 0 ? 128 : position, position);
    Bytes data(1 << 20);
    uLongf size = data.size();
    ASSERT_EQ(uncompress(data.data(), &size, bytes.data() + position, end - position), Z_OK);
    EXPECT_EQ(first, all[at_row].instr);
    if (c != 0) {
      EXPECT_GT(first, last_instr) << "a chunk ends where the instruction changes";
    }
    if (c + 1 != chunks) {
      EXPECT_GE(size, 4000u);
    }
    size_t at = 0;
    for (uint64_t e = 0; e < entries; e++) {
      const auto length = load<uint32_t>(data.data() + at);
      EXPECT_EQ(Bytes(data.data() + at + 4, data.data() + at + 4 + length), all[at_row].entry());
      last_instr = all[at_row++].instr;
      at += 4 + length;
    }
    EXPECT_EQ(at, size);
  }
  EXPECT_EQ(at_row, all.size());
}

TEST_F(PandalogTest, EmptyAndHugeEntriesAndEmptyLogs) {
  write({});
  EXPECT_EQ(open()->next(), std::nullopt);
  EXPECT_TRUE(open()->problems().empty());
  EXPECT_EQ(open(Direction::Backward)->next(), std::nullopt);
  const std::vector<Row> all = {{1, 3, 0}, {1, 4, 3 << 20}, {2, 5, 1}, {2, 6, 20 << 20}, {3, 7, 0}};
  write(all);
  EXPECT_EQ(count_read(*open(), all), all.size());
  auto writer = Writer::create(path_, {});
  ASSERT_TRUE(writer.has_value());
  EXPECT_EQ((*writer)->begin_entry(kMaxEntryBytes + 1, InsnCount(1)), nullptr);
  EXPECT_NE((*writer)->problem().find("too large"), std::string::npos);
}

TEST_F(PandalogTest, SeeksByInstruction) {
  const std::vector<Row> all = rows(1500, 3, 20);
  for (const uint32_t chunk : {1u, 700u, kDefaultChunkBytes}) {
    write(all, {.chunk_bytes = chunk});
    auto forward = open();
    auto backward = open(Direction::Backward);
    for (uint64_t instr = 0; instr < all.back().instr + 3; instr += chunk == 700 ? 1 : 37) {
      const auto first = std::find_if(all.begin(), all.end(), [&](const Row& r) { return r.instr >= instr; });
      forward->seek(InsnCount(instr));
      ASSERT_EQ(take(forward->next()), first == all.end() ? Bytes() : first->entry()) << instr;
      if (first != all.end() && first + 1 != all.end()) {
        ASSERT_EQ(take(forward->next()), (first + 1)->entry()) << instr;
      }
      const auto after = std::find_if(all.begin(), all.end(), [&](const Row& r) { return r.instr > instr; });
      backward->seek(InsnCount(instr));
      ASSERT_EQ(take(backward->next()), after == all.begin() ? Bytes() : (after - 1)->entry()) << instr;
      if (after - all.begin() > 1) {
        ASSERT_EQ(take(backward->next()), (after - 2)->entry()) << instr;
      }
    }
  }
}

// A log that ends at any byte: what is whole is read, in both directions, and what is lost is said.
TEST_F(PandalogTest, CutOffAnywhere) {
  const std::vector<Row> all = rows(70, 4, 20);
  write(all, {.chunk_bytes = 300});
  const Bytes bytes = file();
  const std::vector<DirectoryEntry> chunks = open()->chunks();
  const uint64_t directory = load<uint64_t>(bytes.data() + 8);
  for (size_t size = 0; size < bytes.size(); size++) {
    set_file({bytes.data(), size});
    auto reader = Reader::open(path_, Direction::Forward);
    if (size < kHeaderBytes) {
      ASSERT_FALSE(reader.has_value()) << size;
      EXPECT_NE(reader.error().message.find(path_), std::string::npos);
      continue;
    }
    ASSERT_TRUE(reader.has_value()) << size;
    size_t whole = 0;
    for (size_t c = 0; c < chunks.size(); c++) {
      if ((c + 1 < chunks.size() ? chunks[c + 1].position : directory) <= size) whole += chunks[c].entries;
    }
    const size_t read = count_read(**reader, all);
    ASSERT_NE(read, SIZE_MAX) << size;
    ASSERT_GE(read, whole) << size;
    EXPECT_FALSE((*reader)->problems().empty()) << size;
    if (read < all.size() && size > kHeaderBytes) {
      EXPECT_TRUE((*reader)->lost() || whole == read) << size;
    }
    if (size >= directory) {
      EXPECT_EQ(read, all.size()) << size;
    }
    auto backward = open(Direction::Backward);
    size_t left = read;
    while (const auto entry = backward->next()) ASSERT_EQ(take(entry), all[--left].entry()) << size;
    EXPECT_EQ(left, 0u) << size;
  }
}

// The directory's position is written last: without it the log is whole all the same.
TEST_F(PandalogTest, InterruptedBeforeItsDirectoryWasNamed) {
  const std::vector<Row> all = rows(500, 5);
  write(all, {.chunk_bytes = 2000});
  Bytes bytes = file();
  const auto directory = load<uint64_t>(bytes.data() + 8);
  std::fill_n(bytes.begin() + 8, 8, uint8_t{0});
  for (const size_t size : {bytes.size(), static_cast<size_t>(directory)}) {
    set_file({bytes.data(), size});
    auto reader = open();
    EXPECT_EQ(count_read(*reader, all), all.size());
    EXPECT_FALSE(reader->lost());
    reader->seek(InsnCount(all[300].instr));
    EXPECT_EQ(find_varint(*reader->next(), kInstrTag), all[300].instr);
  }
}

// Any byte altered: nothing is invented before the damage, and that there is some is said wherever it matters.
TEST_F(PandalogTest, AlteredAnywhere) {
  const std::vector<Row> all = rows(70, 6, 20);
  write(all, {.chunk_bytes = 300});
  const Bytes bytes = file();
  const std::vector<DirectoryEntry> chunks = open()->chunks();
  const uint64_t directory = load<uint64_t>(bytes.data() + 8);
  std::mt19937_64 random(7);
  for (size_t at = 0; at < bytes.size(); at++) {
    Bytes altered = bytes;
    altered[at] ^= static_cast<uint8_t>(1 + random() % 255);
    set_file(altered);
    auto reader = Reader::open(path_, Direction::Forward);
    if (at < 4) {
      ASSERT_FALSE(reader.has_value());
      continue;
    }
    ASSERT_TRUE(reader.has_value()) << at;
    size_t safe = 0;  // entries of whole chunks before the altered byte
    for (size_t c = 0; c < chunks.size(); c++) {
      if ((c + 1 < chunks.size() ? chunks[c + 1].position : directory) <= at) safe += chunks[c].entries;
    }
    size_t read = 0;
    bool right = true;
    while (const auto entry = (*reader)->next()) {
      right = right && read < all.size() && take(entry) == all[read].entry();
      if (read < safe) {
        ASSERT_TRUE(right) << at << " " << read;
      }
      read++;
    }
    ASSERT_GE(read, safe) << at;
    const bool unused = (at >= 4 && at < 8) || (at >= 16 && at < kHeaderBytes);
    if (!right || read != all.size()) {
      EXPECT_FALSE((*reader)->problems().empty()) << at;
      EXPECT_TRUE((*reader)->lost()) << at;
    } else if (!unused && at < directory) {
      EXPECT_FALSE((*reader)->problems().empty()) << at;
    }
  }
}

TEST_F(PandalogTest, RandomDamageIsNeverMoreThanAMessage) {
  const std::vector<Row> all = rows(2000, 8);
  write(all, {.chunk_bytes = 3000});
  const Bytes bytes = file();
  for (uint64_t seed = 0; seed < 200; seed++) {
    std::mt19937_64 random(seed);
    Bytes altered = bytes;
    for (uint64_t n = 1 + random() % 20; n > 0; n--)
      altered[4 + random() % (altered.size() - 4)] = static_cast<uint8_t>(random());
    if (random() % 3 == 0) altered.resize(kHeaderBytes + random() % altered.size());
    set_file(altered);
    for (const Direction direction : {Direction::Forward, Direction::Backward}) {
      auto reader = Reader::open(path_, direction);
      if (!reader) continue;
      size_t n = 0;
      while ((*reader)->next()) n++;
      (*reader)->seek(InsnCount(random() % 4000));
      while ((*reader)->next()) n++;
      EXPECT_LE(n, 3 * all.size()) << seed;
    }
  }
}

// A log of chunk bytes that no writer of ours makes.
TEST_F(PandalogTest, ChunksThatAreNotEntries) {
  const auto with_chunk = [&](const Bytes& data) {
    Bytes out(kHeaderBytes);
    const Header header;
    std::memcpy(out.data(), &header, sizeof header);
    uLongf size = compressBound(data.size());
    out.resize(kHeaderBytes + size);
    ASSERT_EQ(compress(out.data() + kHeaderBytes, &size, data.data(), data.size()), Z_OK);
    out.resize(kHeaderBytes + size);
    set_file(out);
  };
  with_chunk({0xff, 0xff, 0xff, 0xff, 1, 2, 3});
  EXPECT_EQ(open()->next(), std::nullopt);
  EXPECT_TRUE(open()->lost());
  with_chunk({2, 0, 0, 0, 0x10, 9, 7, 0});
  auto reader = open();
  EXPECT_EQ(take(reader->next()), (Bytes{0x10, 9}));
  EXPECT_EQ(reader->next(), std::nullopt);
  EXPECT_TRUE(reader->lost());
}

TEST_F(PandalogTest, FilesThatCannotBe) {
  const auto message = [](const std::string& path) {
    auto writer = Writer::create(path, {});
    return writer ? std::string() : writer.error().message;
  };
  EXPECT_NE(message("/no/such/folder/x.plog").find("pandalog /no/such/folder/x.plog: cannot be created"),
            std::string::npos);
  EXPECT_NE(message(testing::TempDir()).find("cannot be created"), std::string::npos);
  EXPECT_NE(message("/dev/full").find("/dev/full: cannot be written: No space left on device; make room"),
            std::string::npos);
  EXPECT_FALSE(Reader::open("/no/such", Direction::Forward).has_value());
  EXPECT_FALSE(Reader::open(testing::TempDir(), Direction::Forward).has_value());
}

// The disk runs full in the middle (here: the file reaches its limit): entries end, and what is there is read.
TEST_F(PandalogTest, ADiskThatRunsFull) {
  const std::vector<Row> all = rows(60000, 9);
  ASSERT_EQ(std::signal(SIGXFSZ, SIG_IGN) == SIG_ERR, false);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto writer = Writer::create(path_, {.chunk_bytes = 300000});
  ASSERT_TRUE(writer.has_value());
  rlimit small = before;
  small.rlim_cur = 400000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int round = 0; round < 3; round++) {
    for (const Row& row : all) {
      const Bytes entry = row.entry();
      uint8_t* room = (*writer)->begin_entry(entry.size(), InsnCount(row.instr));
      if (room == nullptr) break;
      std::copy(entry.begin(), entry.end(), room);
      (*writer)->end_entry();
    }
  }
  const Status closed = (*writer)->close();
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(closed.has_value());
  EXPECT_NE(closed.error().message.find("pandalog " + path_ + ": cannot be written: File too large"),
            std::string::npos);
  auto reader = open();
  const size_t read = count_read(*reader, all);
  EXPECT_NE(read, SIZE_MAX);
  EXPECT_GT(read, 5000u);
  EXPECT_TRUE(reader->lost());
}

// Killed: what was written more than the flushing time ago is there.
TEST_F(PandalogTest, AKilledWriterLeavesAReadableLog) {
  const std::vector<Row> all = rows(2000, 10);
  const pid_t child = fork();
  if (child == 0) {
    auto writer =
        Writer::create(path_, {.chunk_bytes = kDefaultChunkBytes, .flush_after = std::chrono::milliseconds(20)});
    if (!writer) _exit(1);
    for (const Row& row : all) append(**writer, row);
    usleep(400'000);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto reader = open();
  EXPECT_EQ(count_read(*reader, all), all.size());
  EXPECT_FALSE(reader->problems().empty());
}

// What a file decompresses to, and where its chunks end, does not depend on when it was flushed.
TEST_F(PandalogTest, FlushingChangesNoEntry) {
  const std::vector<Row> all = rows(30000, 11);
  write(all, {.chunk_bytes = 100000, .flush_after = std::chrono::milliseconds(1)});
  auto often = open();
  EXPECT_EQ(count_read(*often, all), all.size());
  write(all, {.chunk_bytes = 100000});
  auto seldom = open();
  ASSERT_EQ(often->chunks().size(), seldom->chunks().size());
  for (size_t c = 0; c < seldom->chunks().size(); c++) {
    EXPECT_EQ(often->chunks()[c].first_instr, seldom->chunks()[c].first_instr);
    EXPECT_EQ(often->chunks()[c].entries, seldom->chunks()[c].entries);
  }
}

}  // namespace
}  // namespace panda::pandalog
