// Covered blocks as a drcov file (version 2), which Lighthouse, Cartographer and others show. The format
// wants modules, with 32-bit offsets and 16-bit sizes; without introspection a module is an aligned 256 MiB
// of the address space, named after its address (at most 65536 of them): load the file against a program
// that is based there.
#ifndef PLUGINS_COMMON_DRCOV_HPP
#define PLUGINS_COMMON_DRCOV_HPP

#include <cinttypes>
#include <cstdint>
#include <map>
#include <vector>

#include "panda/plugin.hpp"

namespace plugin_common {

// `blocks`: address of the first byte, and bytes. Closes `out`.
inline void write_drcov(panda::Output &out, const std::map<uint64_t, uint32_t> &blocks) {
  constexpr unsigned kModuleBits = 28;
  constexpr uint64_t kModuleBytes = uint64_t{1} << kModuleBits;
  struct Row {
    uint32_t offset;
    uint16_t bytes;
    uint16_t module;
  };
  static_assert(sizeof(Row) == 8);
  std::vector<uint64_t> modules;
  std::vector<Row> rows;
  size_t left_out = 0;
  for (const auto &[address, bytes] : blocks) {
    const uint64_t base = address & ~(kModuleBytes - 1);
    if (modules.empty() || modules.back() != base) {
      if (modules.size() > UINT16_MAX) {
        left_out++;
        continue;
      }
      modules.push_back(base);
    }
    rows.push_back({static_cast<uint32_t>(address - base),
                    static_cast<uint16_t>(bytes > UINT16_MAX ? UINT16_MAX : bytes),
                    static_cast<uint16_t>(modules.size() - 1)});
  }
  out.print("DRCOV VERSION: 2\nDRCOV FLAVOR: panda\nModule Table: version 2, count %zu\n", modules.size());
  out.print("Columns: id, base, end, entry, checksum, timestamp, path\n");
  for (size_t i = 0; i < modules.size(); i++) {
    out.print("%zu, 0x%016" PRIx64 ", 0x%016" PRIx64 ", 0x0, 0x0, 0x0, guest_%" PRIx64 "\n", i, modules[i],
              modules[i] + (kModuleBytes - 1), modules[i]);
  }
  out.print("BB Table: %zu bbs\n", rows.size());
  out.write(rows.data(), rows.size() * sizeof(Row));
  if (left_out != 0) {
    fprintf(stderr, "panda: plugin %s: drcov: %zu blocks left out: too many modules\n", PLUGIN_NAME, left_out);
  }
  out.close();
}

}  // namespace plugin_common

#endif
