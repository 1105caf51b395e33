// The function prototypes of a plugin's NAME_int_fns.h, found without being a C compiler: comments and
// preprocessor lines set aside, statements told apart by their brackets. What is not a prototype (types,
// inline functions) is passed over; a prototype that cannot be forwarded is an error with its line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panda::apigen {

struct Parameter {
  std::string declaration;  // "target_ulong *callers", with a name made up where it had none
  std::string name;
};

struct Function {
  std::string result;  // "const char *"
  std::string name;
  std::vector<Parameter> parameters;  // none for (void)
};

// A conditional line (#if, #else, #endif ...; not the include guard's), or a function.
struct Item {
  std::string directive;  // "": it is a function
  Function function;
};

struct Declarations {
  std::vector<Item> items;
  std::vector<std::string> includes;  // as they stand: "<stdint.h>", "\"prog_point.h\""
};

Result<Declarations> parse(std::string_view text);

}  // namespace panda::apigen
