// Result<T>: what a host, a file or a user can make fail. The message is one line, says what
// happened and, where there is something to do, what to do.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace panda {

struct Error {
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// return fail("{}: cannot open: {}", path, std::strerror(errno));
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{fmt::format(format, std::forward<Args>(args)...)});
}

#define PANDA_CONCAT_(a, b) a##b
#define PANDA_CONCAT(a, b) PANDA_CONCAT_(a, b)
#define PANDA_TRY_(tmp, lhs, expression)                        \
  auto tmp = (expression);                                      \
  if (!tmp) return tl::unexpected<::panda::Error>(tmp.error()); \
  lhs = std::move(*tmp)
// PANDA_TRY(auto file, open_file(path));
#define PANDA_TRY(lhs, expression) PANDA_TRY_(PANDA_CONCAT(panda_try_, __COUNTER__), lhs, expression)
// PANDA_TRY_STATUS(write_header());
#define PANDA_TRY_STATUS_(tmp, expression) \
  if (auto tmp = (expression); !tmp) return tl::unexpected<::panda::Error>(tmp.error())
#define PANDA_TRY_STATUS(expression) PANDA_TRY_STATUS_(PANDA_CONCAT(panda_try_, __COUNTER__), expression)

}  // namespace panda
