// What every device is to its board: something with a name that can be reset, saved and loaded.
// A device's state is one plain struct without padding, so that equal states are equal bytes;
// what can be derived from it (armed timers, cached outputs) is not saved but derived again.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace panda::device {

class Device {
 public:
  Device() = default;
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] virtual std::string_view name() const = 0;
  // Power-on state at the clock's current time. Input lines keep the level they are driven at.
  virtual void reset() = 0;
  [[nodiscard]] virtual std::string save() const = 0;
  // False where `bytes` is not a state of this device; nothing changed then. Output lines are not
  // driven again: whoever listens to them restores its own state.
  virtual bool load(std::string_view bytes) = 0;
};

template <typename State>
[[nodiscard]] std::string save_plain(const State& state) {
  static_assert(std::is_trivially_copyable_v<State> && std::has_unique_object_representations_v<State>);
  return std::string(reinterpret_cast<const char*>(&state), sizeof(State));
}

template <typename State>
[[nodiscard]] bool load_plain(std::string_view bytes, State& state) {
  static_assert(std::is_trivially_copyable_v<State> && std::has_unique_object_representations_v<State>);
  if (bytes.size() != sizeof(State)) return false;
  std::memcpy(&state, bytes.data(), sizeof(State));
  return true;
}

}  // namespace panda::device
