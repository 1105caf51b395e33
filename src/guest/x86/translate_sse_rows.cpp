#include <vector>

#include "guest/x86/translate_fp.h"
#include "guest/x86/translate_sse.h"

namespace panda::x86 {

std::span<const Row> sse_rows() {
  static const std::vector<Row> kRows = [] {
    std::vector<Row> all;
    for (const auto rows : {sse_move_rows(), sse_integer_rows(), sse_lane_rows(), sse_float_rows(), sse_convert_rows(),
                            sse_string_rows(), sse_crypto_rows(), fpu_state_rows()}) {
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }();
  return kRows;
}

}  // namespace panda::x86
