// How many pandalog entries a second can be written: pandalog_bench FILE [ENTRIES]. Entries are those
// of a plugin that logs blocks (address space, a message with a size, two numbers and bytes), through
// both interfaces; the clock stops when the file is closed. On a busy machine CPU times tell more. Then they are read
// back and counted.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "panda/plog-cc.hpp"
#include "panda/plog.h"

namespace {

double cpu_seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The machine's log, without a machine: entries keep the instruction they are given.
void write_c(const char* path, uint64_t entries) {
  pandalog_open_write(path, 0);
  for (uint64_t i = 0; i < entries; i++) {
    Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
    Panda__TestBlock block = PANDA__TEST_BLOCK__INIT;
    uint32_t words[2] = {static_cast<uint32_t>(i % 977), 7};
    uint8_t code[8] = {0x48, 0x89, static_cast<uint8_t>(i * 31), static_cast<uint8_t>(i >> 3), 0x0f, 0xb6, 0xc0, 0xc3};
    block.size = 8 + i % 50;
    block.n_words = 2;
    block.words = words;
    block.has_code = 1;
    block.code.len = sizeof code;
    block.code.data = code;
    entry.test_block = &block;
    entry.has_asid = 1;
    entry.asid = 0x1c0a000 + (i / 5000 % 7 << 13);
    entry.pc = 0xffffffff81000000 + (i * 2654435761 % (1 << 22));
    entry.instr = i * 5;
    pandalog_write_entry(&entry);
  }
  pandalog_close();
}

void write_cpp(const char* path, uint64_t entries) {
  PandaLog log;
  log.open_write(path, 0);
  for (uint64_t i = 0; i < entries; i++) {
    auto entry = std::make_unique<panda::LogEntry>();
    panda::TestBlock* block = entry->mutable_test_block();
    const uint8_t code[8] = {0x48, 0x89, static_cast<uint8_t>(i * 31), static_cast<uint8_t>(i >> 3), 0x0f, 0xb6,
                             0xc0, 0xc3};
    block->set_size(8 + i % 50);
    block->add_words(static_cast<uint32_t>(i % 977));
    block->add_words(7);
    block->set_code(code, sizeof code);
    entry->set_asid(0x1c0a000 + (i / 5000 % 7 << 13));
    entry->set_pc(0xffffffff81000000 + (i * 2654435761 % (1 << 22)));
    entry->set_instr(i * 5);
    log.write_entry(std::move(entry));
  }
  log.close();
}

bool measure(const char* name, void (*write)(const char*, uint64_t), const char* path, uint64_t entries) {
  const auto start = std::chrono::steady_clock::now();
  const double own_before = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
  const double all_before = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
  write(path, entries);
  const double seconds = seconds_since(start);
  const double own = cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - own_before;
  const double other = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - all_before - own;
  uint64_t read = 0;
  PandaLog log;
  log.open_read_fwd(path);
  const auto reading = std::chrono::steady_clock::now();
  while (const auto entry = log.read_entry()) read += entry->instr() == read * 5;
  const double count = static_cast<double>(entries);
  std::printf(
      "%-4s %llu entries: written in %.2f s, %.2f M/s; CPU time of the writing thread %.0f ns an entry, of the "
      "compressing one %.0f ns: %.2f M/s on an idle machine; read at %.2f M/s\n",
      name, static_cast<unsigned long long>(entries), seconds, count / seconds / 1e6, own / count * 1e9,
      other / count * 1e9, count / std::max(own, other) / 1e6,
      static_cast<double>(read) / seconds_since(reading) / 1e6);
  return read == entries;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: pandalog_bench FILE [ENTRIES]\n");
    return 2;
  }
  const uint64_t entries = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 5'000'000;
  const bool good = measure("C", write_c, argv[1], entries) && measure("C++", write_cpp, argv[1], entries);
  if (!good) std::fprintf(stderr, "pandalog_bench: what was read is not what was written\n");
  return good ? 0 : 1;
}
