// One wire from a device's interrupt output to whatever the board connected it to.
#pragma once

#include <functional>
#include <utility>

namespace panda::device {

class IrqLine {
 public:
  IrqLine() = default;  // not connected
  explicit IrqLine(std::function<void(bool)> sink) : sink_(std::move(sink)) {}

  // Levels, not edges: the receiver remembers the last one. Driving the same level again is harmless.
  void set(bool level) const {
    if (sink_) sink_(level);
  }

 private:
  std::function<void(bool)> sink_;
};

}  // namespace panda::device
