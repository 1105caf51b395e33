#include "snapshot/digest.h"

#include <xxhash.h>

#include <algorithm>
#include <sstream>

namespace panda::snapshot {

Hash128 StateDigest::combined() const {
  const uint64_t words[4] = {registers.low, registers.high, memory.low, memory.high};
  return hash_bytes(words, sizeof words);
}

Hash128 registers_digest(exec::Frontend& frontend, const VcpuContext& cpu) {
  const std::string state = frontend.save_state(cpu);
  return hash_bytes(state.data(), state.size());
}

StateDigest state_digest(exec::Frontend& frontend, const VcpuContext& cpu, GuestMemory& memory) {
  StateDigest digest;
  digest.registers = registers_digest(frontend, cpu);
  const std::span<const uint8_t> ram = memory.ram();
  for (size_t at = 0; at < ram.size(); at += kDigestRegionBytes) {
    digest.regions.push_back(XXH3_64bits(ram.data() + at, std::min<size_t>(kDigestRegionBytes, ram.size() - at)));
  }
  digest.memory = hash_bytes(digest.regions.data(), digest.regions.size() * sizeof(uint64_t));
  return digest;
}

StateDigest state_digest(exec::Engine& engine) {
  return state_digest(engine.frontend(), engine.cpu(), engine.memory());
}

std::string describe_memory_difference(const StateDigest& expected, const StateDigest& found,
                                       std::span<const RamRange> ranges) {
  std::string text;
  unsigned shown = 0;
  unsigned more = 0;
  for (size_t i = 0; i < std::max(expected.regions.size(), found.regions.size()); i++) {
    if (i < expected.regions.size() && i < found.regions.size() && expected.regions[i] == found.regions[i]) continue;
    if (shown == 8) {
      more++;
      continue;
    }
    shown++;
    const uint64_t offset = i * kDigestRegionBytes;
    const auto range =
        std::find_if(ranges.begin(), ranges.end(), [&](const RamRange& r) { return offset - r.offset < r.size; });
    const uint64_t phys = range == ranges.end() ? offset : range->phys + (offset - range->offset);
    text += fmt::format("  RAM differs in the MiB at physical address {:#x}\n", phys);
  }
  if (more != 0) text += fmt::format("  and in {} more\n", more);
  return text;
}

std::string describe_register_difference(const std::string& expected, const std::string& found) {
  std::istringstream a(expected);
  std::istringstream b(found);
  std::string text;
  std::string left;
  std::string right;
  while (true) {
    const bool more_left = static_cast<bool>(std::getline(a, left));
    const bool more_right = static_cast<bool>(std::getline(b, right));
    if (!more_left && !more_right) break;
    if (!more_left) left.clear();
    if (!more_right) right.clear();
    if (left != right) text += fmt::format("  recorded: {}\n  replayed: {}\n", left, right);
  }
  return text;
}

}  // namespace panda::snapshot
