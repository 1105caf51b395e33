// Coverage as drcov, version 2: what Lighthouse (IDA, Binary Ninja), Cutter, dragondance (Ghidra) ... open.
//
// A drcov file tells blocks by module and offset. Modules are given by the user (NAME@BEGIN-END), or, where
// they are not known, made up: neighbouring blocks of an address space become one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "panda/plugin.hpp"

namespace coverage {

struct Module {
  std::string name;
  uint64_t begin = 0;
  uint64_t end = 0;  // behind the last byte
};

struct CoveredBlock {
  uint64_t asid;
  uint64_t pc;
  uint32_t size;
  auto operator<=>(const CoveredBlock&) const = default;
};

// "NAME@0x400000-0x406000", several with '+' between them. False: not of this form.
inline bool parse_modules(const std::string& text, std::vector<Module>& out) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('+', at), text.size());
    const std::string part = text.substr(at, end - at);
    const size_t sign = part.rfind('@');
    if (sign == std::string::npos || sign == 0) return false;
    Module module;
    module.name = part.substr(0, sign);
    char* rest = nullptr;
    const char* const numbers = part.c_str() + sign + 1;
    module.begin = std::strtoull(numbers, &rest, 0);
    if (rest == numbers || *rest != '-') return false;
    const char* const second = rest + 1;
    module.end = std::strtoull(second, &rest, 0);
    if (rest == second || *rest != '\0' || module.end <= module.begin || module.end - module.begin > UINT32_MAX)
      return false;
    out.push_back(module);
    at = end + 1;
  }
  return !out.empty();
}

class Drcov {
 public:
  // `blocks` sorted, without doubles.
  static void write(panda::Output& out, std::vector<Module> modules, const std::vector<CoveredBlock>& blocks) {
    struct Row {
      uint32_t offset;
      uint16_t size;
      uint16_t module;
    };
    const bool known = !modules.empty();
    std::vector<Row> rows;
    uint64_t asid = 0;
    for (const CoveredBlock& block : blocks) {
      size_t module = modules.size();
      if (known) {
        module =
            static_cast<size_t>(std::find_if(modules.begin(), modules.end(),
                                             [&](const Module& m) { return block.pc >= m.begin && block.pc < m.end; }) -
                                modules.begin());
        if (module == modules.size()) continue;
      } else {
        const bool goes_on = !modules.empty() && asid == block.asid && block.pc - modules.back().end <= kGap &&
                             block.pc + block.size - modules.back().begin <= UINT32_MAX;
        if (!goes_on) modules.push_back({made_up_name(block), block.pc & ~uint64_t{0xfff}, 0});
        asid = block.asid;
        module = modules.size() - 1;
        modules.back().end = std::max(modules.back().end, (block.pc + block.size + 0xfff) & ~uint64_t{0xfff});
      }
      if (module > UINT16_MAX) break;
      rows.push_back({static_cast<uint32_t>(block.pc - modules[module].begin), static_cast<uint16_t>(block.size),
                      static_cast<uint16_t>(module)});
    }
    // The same block of several address spaces is one of a known module.
    const auto order = [](const Row& a, const Row& b) {
      return std::tie(a.module, a.offset, a.size) < std::tie(b.module, b.offset, b.size);
    };
    std::sort(rows.begin(), rows.end(), order);
    rows.erase(
        std::unique(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return !order(a, b) && !order(b, a); }),
        rows.end());

    out.print("DRCOV VERSION: 2\nDRCOV FLAVOR: drcov\nModule Table: version 2, count %zu\n", modules.size());
    out.print("Columns: id, base, end, entry, checksum, timestamp, path\n");
    for (size_t i = 0; i < modules.size(); i++) {
      out.print("%3zu, 0x%016" PRIx64 ", 0x%016" PRIx64 ", 0x0000000000000000, 0x00000000, 0x00000000, %s\n", i,
                modules[i].begin, modules[i].end, modules[i].name.c_str());
    }
    out.print("BB Table: %zu bbs\n", rows.size());
    for (const Row& row : rows) {
      out.write(&row.offset, sizeof row.offset);
      out.write(&row.size, sizeof row.size);
      out.write(&row.module, sizeof row.module);
    }
  }

 private:
  static constexpr uint64_t kGap = 1 << 20;

  static std::string made_up_name(const CoveredBlock& block) {
    char text[64];
    std::snprintf(text, sizeof text, "asid_%" PRIx64 "_at_%" PRIx64, block.asid, block.pc & ~uint64_t{0xfff});
    return text;
  }
};

}  // namespace coverage
