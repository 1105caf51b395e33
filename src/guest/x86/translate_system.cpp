// The system chapter's table: its files' rows in one span.
#include "guest/x86/translate_system.h"

#include <vector>

namespace panda::x86 {

std::span<const Row> system_rows() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (const auto part :
         {segment_system_rows(), transfer_system_rows(), control_register_rows(), io_system_rows(), processor_rows()}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return rows;
}

}  // namespace panda::x86
