#include "board/rtc_base.h"

#include <array>
#include <chrono>
#include <ctime>
#include <optional>

namespace panda::board {
namespace {

// Exactly `digits` decimal digits at the front of text, which is shortened by them.
std::optional<unsigned> take_number(std::string_view& text, size_t digits) {
  if (text.size() < digits) return {};
  unsigned value = 0;
  for (const char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

// What stands before each field of "YYYY-MM-DDThh:mm:ss".
constexpr std::array<char, 6> kSeparators{'\0', '-', '-', 'T', ':', ':'};

}  // namespace

Result<int64_t> parse_rtc_base(std::string_view text) {
  const std::time_t host = std::time(nullptr);
  if (text == "utc") return static_cast<int64_t>(host);
  if (text == "localtime") {
    std::tm local{};
    localtime_r(&host, &local);
    return static_cast<int64_t>(host) + local.tm_gmtoff;
  }
  std::array<unsigned, 6> fields{0, 0, 0, 0, 0, 0};
  const std::string_view whole = text;
  size_t count = 0;
  while (count < fields.size()) {
    if (count == 3 && text.empty()) break;
    if (count > 0) {
      if (text.empty() || text.front() != kSeparators[count]) break;
      text.remove_prefix(1);
    }
    const auto value = take_number(text, count == 0 ? 4 : 2);
    if (!value) {
      count = 0;
      break;
    }
    fields[count++] = *value;
  }
  using namespace std::chrono;
  const year_month_day date{year(static_cast<int>(fields[0])), month(fields[1]), day(fields[2])};
  const bool complete = (count == 3 || count == 6) && text.empty();
  if (!complete || !date.ok() || fields[0] < 1970 || fields[0] > 2200 || fields[3] > 23 || fields[4] > 59 ||
      fields[5] > 59)
    return fail("-rtc base={}: not a date; give utc, localtime or YYYY-MM-DD[Thh:mm:ss]", whole);
  const int64_t days = sys_days(date).time_since_epoch().count();
  return days * 86'400 + fields[3] * 3600 + fields[4] * 60 + fields[5];
}

}  // namespace panda::board
