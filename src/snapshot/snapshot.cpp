#include "snapshot/snapshot.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "snapshot/bytes.h"

namespace panda::snapshot {
namespace {

constexpr FileKind kKind = {{'P', 'A', 'N', 'D', 'A', 'S', 'N', 'P'}, 1, "a recording's snapshot"};

enum ChunkType : uint32_t { kHeader = 1, kCpu = 2, kRam = 3, kEnd = 4 };

// A RAM chunk covers this many pages from its position (a page number): a bitmap of those that are
// not zero, then these pages. Regions that are all zero have no chunk.
constexpr uint64_t kRegionPages = 256;
constexpr size_t kBitmapBytes = kRegionPages / 8;
constexpr uint64_t kMaxRamBytes = uint64_t{1} << 44;

bool is_zero(const uint8_t* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0; }

std::vector<uint8_t> encode(const SnapshotHeader& h) {
  ByteWriter w;
  w.string(h.machine.architecture);
  w.string(h.machine.cpu_model);
  w.string(h.machine.options);
  w.varint(h.machine.ram_bytes);
  w.varint(h.machine.ranges.size());
  for (const RamRange& r : h.machine.ranges) {
    w.varint(r.phys);
    w.varint(r.size);
    w.varint(r.offset);
  }
  w.varint(h.clock_shift);
  w.u64(h.clock_offset_ns);
  w.varint(h.count.value);
  return w.bytes();
}

// RAM ranges lie side by side in the RAM block, on pages, and do not overlap in the guest.
bool sensible(const MachineDescription& m) {
  if (m.ram_bytes == 0 || m.ram_bytes % kPageSize != 0 || m.ram_bytes > kMaxRamBytes) return false;
  uint64_t offset = 0;
  uint64_t phys = 0;
  for (const RamRange& r : m.ranges) {
    if (r.size == 0 || r.size % kPageSize != 0 || r.phys % kPageSize != 0) return false;
    if (r.offset != offset || r.size > m.ram_bytes - offset || r.phys < phys || r.phys > kMaxRamBytes) return false;
    offset += r.size;
    phys = r.phys + r.size;
  }
  return offset == m.ram_bytes;
}

bool decode(std::span<const uint8_t> bytes, SnapshotHeader& h) {
  ByteReader r(bytes);
  h.machine.architecture = r.string();
  h.machine.cpu_model = r.string();
  h.machine.options = r.string();
  h.machine.ram_bytes = r.varint();
  const uint64_t ranges = r.varint();
  if (r.bad() || ranges > 64) return false;
  for (uint64_t i = 0; i < ranges; i++) {
    RamRange range;
    range.phys = r.varint();
    range.size = r.varint();
    range.offset = r.varint();
    h.machine.ranges.push_back(range);
  }
  const uint64_t shift = r.varint();
  h.clock_shift = static_cast<unsigned>(shift);
  h.clock_offset_ns = r.u64();
  h.count = InsnCount(r.varint());
  return !r.bad() && r.at_end() && shift < 32 && sensible(h.machine);
}

Status write_ram(ChunkWriter& out, GuestMemory& memory, uint64_t& chunks) {
  const std::span<const uint8_t> ram = memory.ram();
  const uint64_t pages = ram.size() >> kPageBits;
  std::vector<uint8_t> raw;
  for (uint64_t first = 0; first < pages; first += kRegionPages) {
    raw.assign(kBitmapBytes, 0);
    for (uint64_t i = 0; i < std::min(kRegionPages, pages - first); i++) {
      const uint8_t* page = ram.data() + ((first + i) << kPageBits);
      if (is_zero(page)) continue;
      raw[i / 8] = static_cast<uint8_t>(raw[i / 8] | (1u << (i % 8)));
      raw.insert(raw.end(), page, page + kPageSize);
    }
    if (raw.size() == kBitmapBytes) continue;
    PANDA_TRY_STATUS(out.append(kRam, first, raw));
    chunks++;
  }
  return {};
}

Status write_contents(ChunkWriter& out, const SnapshotHeader& header, std::string_view cpu_state, GuestMemory& memory) {
  PANDA_TRY_STATUS(out.append(kHeader, 0, encode(header)));
  PANDA_TRY_STATUS(out.append(kCpu, 0, {reinterpret_cast<const uint8_t*>(cpu_state.data()), cpu_state.size()}));
  uint64_t chunks = 0;
  PANDA_TRY_STATUS(write_ram(out, memory, chunks));
  PANDA_TRY_STATUS(out.append(kEnd, chunks, {}, true));
  return out.close();
}

}  // namespace

Result<Hash128> write_snapshot(const std::string& path, const SnapshotHeader& header, std::string_view cpu_state,
                               GuestMemory& memory) {
  PANDA_TRY(ChunkWriter out, ChunkWriter::create(path, kKind));
  if (auto s = write_contents(out, header, cpu_state, memory); !s) {
    ::unlink(path.c_str());
    return tl::unexpected<Error>(s.error());
  }
  return out.id();
}

Result<SnapshotReader> SnapshotReader::open(const std::string& path) {
  PANDA_TRY(ChunkReader reader, ChunkReader::open(path, kKind));
  SnapshotReader snapshot(std::move(reader));
  PANDA_TRY(auto chunk, snapshot.reader_.next());
  if (!chunk) return fail("{}: cut off at byte {}", path, snapshot.reader_.size_bytes());
  if (chunk->type != kHeader || !decode(chunk->data, snapshot.header_)) {
    return fail("{}: damaged at byte {}: the description of the machine makes no sense", path, chunk->offset);
  }
  return snapshot;
}

Result<std::string> SnapshotReader::load(GuestMemory& memory) {
  const std::string& path = reader_.path();
  std::string cpu_state;
  bool have_cpu = false;
  bool ended = false;
  uint64_t chunks = 0;
  const std::span<uint8_t> ram = memory.ram();
  const uint64_t pages = ram.size() >> kPageBits;
  while (true) {
    PANDA_TRY(auto chunk, reader_.next());
    if (!chunk) break;
    const auto damaged = [&](const char* what) {
      return fail("{}: damaged at byte {}: {}", path, chunk->offset, what);
    };
    if (ended) return damaged("a chunk after the end");
    if (chunk->type == kCpu && !have_cpu) {
      cpu_state.assign(chunk->data.begin(), chunk->data.end());
      have_cpu = true;
    } else if (chunk->type == kRam) {
      chunks++;
      const std::vector<uint8_t>& d = chunk->data;
      if (d.size() < kBitmapBytes || chunk->position >= pages) return damaged("a piece of RAM that does not exist");
      size_t at = kBitmapBytes;
      for (uint64_t i = 0; i < kRegionPages; i++) {
        if ((d[i / 8] >> (i % 8) & 1) == 0) continue;
        const uint64_t page = chunk->position + i;
        if (page >= pages || d.size() - at < kPageSize) return damaged("a piece of RAM of the wrong size");
        std::memcpy(ram.data() + (page << kPageBits), d.data() + at, kPageSize);
        at += kPageSize;
      }
      if (at != d.size()) return damaged("a piece of RAM of the wrong size");
    } else if (chunk->type == kEnd && chunk->last) {
      if (chunk->position != chunks) return damaged("pieces of RAM are missing");
      ended = true;
    } else {
      return damaged("an unknown kind of chunk");
    }
  }
  if (reader_.end() == ChunkReader::End::CutOff || !ended) {
    return fail("{}: cut off at byte {}: the snapshot is not whole", path, reader_.size_bytes());
  }
  if (!have_cpu) return fail("{}: damaged: it has no CPU state", path);
  return cpu_state;
}

}  // namespace panda::snapshot
