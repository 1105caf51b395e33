// The suite that every device passes: random bus accesses, time steps and stimuli, checking that
// - a device saved, and loaded into a fresh one, goes on exactly as the first (values read, output
//   lines, timers, saved bytes), and saving again gives the same bytes;
// - saving changes nothing, equal histories give equal bytes;
// - states of the wrong size are refused and leave the device alone, states of the right size with
//   random content are refused or survived;
// - accesses of every width at every offset of its ranges end, with a value that fits the width;
// - offsets where nothing is read as documented.
// It returns what went wrong, so that a test can show that it finds a broken device.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "device/bus.h"
#include "device/device.h"
#include "device/timers.h"

namespace panda::device {

// A device with everything around it.
class Rig {
 public:
  struct Range {
    uint64_t first;
    uint64_t count;
    unsigned widest_bytes;
  };
  struct Unmapped {
    uint64_t address;
    unsigned size_bytes;
    uint64_t reads_as;
  };

  virtual ~Rig() = default;
  [[nodiscard]] virtual Device& device() = 0;
  [[nodiscard]] virtual std::vector<Range> ranges() const = 0;
  [[nodiscard]] virtual std::vector<Unmapped> unmapped() const { return {}; }
  [[nodiscard]] virtual uint64_t read(uint64_t address, unsigned size_bytes) = 0;
  virtual void write(uint64_t address, unsigned size_bytes, uint64_t value) = 0;
  // Something else that can happen to the device (an input line, a received byte).
  virtual void stimulate(uint64_t /*random*/) {}

  Timers timers;
  std::string trace;  // what came out of the device: the rig's callbacks append here
};

class Conformance {
 public:
  using MakeRig = std::function<std::unique_ptr<Rig>()>;
  explicit Conformance(MakeRig make, uint64_t seed = 1) : make_(std::move(make)), seed_(seed) {}

  // The first thing found wrong, or nothing.
  [[nodiscard]] std::optional<std::string> run() {
    for (uint64_t round = 0; round < kRounds; ++round) {
      std::optional<std::string> wrong = continues_after_load(seed_ + round);
      if (!wrong) wrong = refuses_wrong_sizes(seed_ + round);
      if (!wrong) wrong = survives_any_state(seed_ + round);
      if (wrong) return fmt::format("seed {}: {}", seed_ + round, *wrong);
    }
    return reads_unmapped();
  }

 private:
  using Random = std::mt19937_64;
  static constexpr uint64_t kRounds = 200;
  static constexpr unsigned kSteps = 400;

  // One step, the same for equal generators. Returns a value read, if any.
  static uint64_t step(Rig& rig, Random& random, std::optional<std::string>& wrong) {
    const uint64_t what = random() % 16;
    if (what == 0) {
      rig.timers.set_now(rig.timers.now() + (random() >> (random() % 24 + 36)));
      rig.timers.run_due();
      return 0;
    }
    if (what <= 2) {
      rig.stimulate(random());
      return 0;
    }
    const auto ranges = rig.ranges();
    const Rig::Range& range = ranges[random() % ranges.size()];
    unsigned size = 1u << (random() % 4);
    while (size > range.widest_bytes) size /= 2;
    uint64_t address = range.first + random() % (range.count - size + 1);
    if (random() % 2 == 0) address = range.first + (address - range.first) / size * size;
    const bool writes = random() % 2 == 0;
    const uint64_t value = random() >> (random() % 64);
    if (writes) {
      rig.write(address, size, value & all_ones(size));
      return 0;
    }
    const uint64_t got = rig.read(address, size);
    if ((got & ~all_ones(size)) != 0) wrong = fmt::format("{} bytes read at {:#x} gave {:#x}", size, address, got);
    return got;
  }

  [[nodiscard]] std::optional<std::string> continues_after_load(uint64_t seed) {
    Random random(seed);
    std::optional<std::string> wrong;
    const auto first = make_();
    if (first->device().save() != make_()->device().save()) return "two new devices differ";
    for (uint64_t i = random() % kSteps; i > 0 && !wrong; --i) step(*first, random, wrong);
    const std::string saved = first->device().save();
    if (first->device().save() != saved) return "saving changed the state";
    const auto second = make_();
    second->timers.set_now(first->timers.now());
    if (!second->device().load(saved)) return "its own state was refused";
    if (second->device().save() != saved) return "a loaded state is saved differently";
    first->trace.clear();
    second->trace.clear();
    Random again = random;
    for (unsigned i = 0; i < kSteps && !wrong; ++i) {
      if (first->timers.next_deadline() != second->timers.next_deadline())
        return fmt::format("other timers, {} steps after loading", i);
      const uint64_t a = step(*first, random, wrong);
      const uint64_t b = step(*second, again, wrong);
      if (a != b) return fmt::format("reads {:#x} instead of {:#x}, {} steps after loading", b, a, i);
      if (first->trace != second->trace) return fmt::format("other output, {} steps after loading", i);
    }
    if (!wrong && first->device().save() != second->device().save()) return "the states have parted";
    return wrong;
  }

  [[nodiscard]] std::optional<std::string> refuses_wrong_sizes(uint64_t seed) {
    Random random(seed);
    std::optional<std::string> wrong;
    const auto rig = make_();
    for (unsigned i = 0; i < kSteps / 4 && !wrong; ++i) step(*rig, random, wrong);
    const std::string saved = rig->device().save();
    for (const std::string& bytes : {saved + '\0', saved.substr(0, saved.size() - 1), std::string()}) {
      if (bytes.size() == saved.size()) continue;  // nothing to save
      if (rig->device().load(bytes)) return fmt::format("a state of {} bytes was taken", bytes.size());
      if (rig->device().save() != saved) return "a refused state changed the device";
    }
    return wrong;
  }

  [[nodiscard]] std::optional<std::string> survives_any_state(uint64_t seed) {
    Random random(seed);
    std::optional<std::string> wrong;
    const auto rig = make_();
    std::string bytes = rig->device().save();
    const uint64_t density = random() % 64 + 1;
    for (char& c : bytes)
      if (random() % density == 0) c = static_cast<char>(random());
    (void)rig->device().load(bytes);
    for (unsigned i = 0; i < kSteps && !wrong; ++i) step(*rig, random, wrong);
    return wrong;
  }

  [[nodiscard]] std::optional<std::string> reads_unmapped() {
    const auto rig = make_();
    for (const Rig::Unmapped& u : rig->unmapped()) {
      rig->write(u.address, u.size_bytes, 0x5a5a'5a5a & all_ones(u.size_bytes));
      if (const uint64_t got = rig->read(u.address, u.size_bytes); got != u.reads_as)
        return fmt::format("nothing is at {:#x}, but it reads {:#x}", u.address, got);
    }
    return {};
  }

  MakeRig make_;
  uint64_t seed_;
};

}  // namespace panda::device
