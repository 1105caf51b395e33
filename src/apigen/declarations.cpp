#include "apigen/declarations.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace panda::apigen {
namespace {

struct Token {
  std::string text;
  unsigned line = 0;
  bool directive = false;  // a whole preprocessor line, without its '#'
};
using Tokens = std::vector<Token>;

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_word(const Token& t) {
  return !t.directive && word_char(t.text[0]) && std::isdigit(static_cast<unsigned char>(t.text[0])) == 0;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<Tokens> run() {
    Tokens out;
    bool line_start = true;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        line_++;
        at_++;
        line_start = true;
      } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        at_++;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_, 2) == "/*") {
        PANDA_TRY_STATUS(skip_comment());
      } else if (c == '#' && line_start) {
        out.push_back(directive());
      } else {
        line_start = false;
        out.push_back(token());
      }
    }
    return out;
  }

 private:
  Status skip_comment() {
    const size_t end = text_.find("*/", at_ + 2);
    if (end == std::string_view::npos) return fail("line {}: a comment does not end", line_);
    line_ += static_cast<unsigned>(
        std::count(text_.begin() + static_cast<ptrdiff_t>(at_), text_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    at_ = end + 2;
    return {};
  }
  // To the end of the line, continued lines included; comments left out.
  Token directive() {
    Token t{.text = "", .line = line_, .directive = true};
    for (at_++; at_ < text_.size() && text_[at_] != '\n'; at_++) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        line_++;
        at_++;
        t.text += ' ';
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
        break;
      } else if (text_.substr(at_, 2) == "/*") {
        const size_t end = text_.find("*/", at_);
        if (end == std::string_view::npos) break;
        at_ = end + 1;
      } else {
        t.text += text_[at_];
      }
    }
    const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    t.text.erase(t.text.begin(), std::find_if_not(t.text.begin(), t.text.end(), blank));
    while (!t.text.empty() && blank(t.text.back())) t.text.pop_back();
    return t;
  }
  Token token() {
    size_t size = 1;
    const char c = text_[at_];
    if (word_char(c)) {
      while (at_ + size < text_.size() && word_char(text_[at_ + size])) size++;
    } else if (text_.substr(at_, 3) == "...") {
      size = 3;
    } else if (c == '"' || c == '\'') {
      while (at_ + size < text_.size() && text_[at_ + size] != c && text_[at_ + size] != '\n') {
        size += text_[at_ + size] == '\\' ? 2u : 1u;
      }
      size = std::min(size + 1, text_.size() - at_);
    }
    Token t{.text = std::string(text_.substr(at_, size)), .line = line_};
    at_ += size;
    return t;
  }

  std::string_view text_;
  size_t at_ = 0;
  unsigned line_ = 1;
};

std::string first_word(const std::string& text) {
  return text.substr(0, static_cast<size_t>(std::find_if_not(text.begin(), text.end(), word_char) - text.begin()));
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// The tokens as C again: a blank between words, and after a word before '*'.
std::string spell(const Tokens& tokens) {
  std::string out;
  for (size_t i = 0; i < tokens.size(); i++) {
    const Token& t = tokens[i];
    if (i > 0 && (is_word(tokens[i - 1]) || tokens[i - 1].text == ",") &&
        (is_word(t) || t.text == "*" || t.text == "&"))
      out += ' ';
    out += t.text;
  }
  return out;
}

// Where the bracket that opens at `from` closes; size() where it does not.
size_t closing(const Tokens& t, size_t from) {
  int depth = 0;
  for (size_t i = from; i < t.size(); i++) {
    if (one_of(t[i].text, {"(", "[", "{"})) depth++;
    if (one_of(t[i].text, {")", "]", "}"}) && --depth == 0) return i;
  }
  return t.size();
}

// Words that do not count as the type when it is asked whether a parameter has a name beside its type.
bool qualifier(std::string_view w) {
  return one_of(w, {"const", "volatile", "restrict", "__restrict", "struct", "enum", "union", "register"});
}
bool builtin(std::string_view w) {
  return one_of(
      w, {"void", "char", "short", "int", "long", "float", "double", "signed", "unsigned", "bool", "_Bool", "size_t"});
}

Result<Parameter> parameter(Tokens t, size_t number, const std::string& function) {
  const unsigned line = t.front().line;
  const std::string made_up = "arg" + std::to_string(number);
  if (t.front().text == "...") {
    return fail("line {}: {} takes '...', which cannot be passed on: give it a va_list", line, function);
  }
  std::erase_if(t, [](const Token& x) { return one_of(x.text, {"__attribute__"}); });
  const auto give_name = [&](size_t before) -> Parameter {
    t.insert(t.begin() + static_cast<ptrdiff_t>(before), Token{.text = made_up, .line = line});
    return {spell(t), made_up};
  };
  // A pointer to a function or array: the name stands behind "(*".
  for (size_t i = 0; i + 1 < t.size(); i++) {
    if (t[i].text != "(" || t[i + 1].text != "*") continue;
    size_t at = i + 2;
    while (at < t.size() && qualifier(t[at].text)) at++;
    if (at < t.size() && is_word(t[at])) return Parameter{spell(t), t[at].text};
    return give_name(at);
  }
  size_t end = t.size();  // of the declarator, before array brackets
  for (size_t i = 0; i < t.size(); i++) {
    if (t[i].text == "[") {
      end = i;
      break;
    }
  }
  if (end == 0) return fail("line {}: {}: cannot make out its parameter {}", line, function, number);
  const Token& last = t[end - 1];
  const bool type_before = std::any_of(t.begin(), t.begin() + static_cast<ptrdiff_t>(end) - 1,
                                       [](const Token& x) { return !qualifier(x.text); });
  const bool tagged = end >= 2 && one_of(t[end - 2].text, {"struct", "enum", "union"});
  if (is_word(last) && !builtin(last.text) && !qualifier(last.text) && type_before && !tagged) {
    return Parameter{spell(t), last.text};
  }
  return give_name(end);
}

// nullopt: not a prototype.
Result<std::optional<Function>> function(Tokens t) {
  while (!t.empty() && one_of(t.front().text, {"extern", "\"C\""})) t.erase(t.begin());
  // Attributes, wherever they stand.
  for (size_t i = 0; i + 1 < t.size();) {
    if (one_of(t[i].text, {"__attribute__", "__attribute"})) {
      t.erase(t.begin() + static_cast<ptrdiff_t>(i),
              t.begin() + static_cast<ptrdiff_t>(std::min(closing(t, i + 1) + 1, t.size())));
    } else {
      i++;
    }
  }
  if (t.empty() || one_of(t.front().text, {"typedef", "static", "using", "template", "namespace", "inline",
                                           "_Static_assert", "static_assert"})) {
    return std::optional<Function>();
  }
  size_t open = 0;
  while (open < t.size() && !one_of(t[open].text, {"(", "{", "=", "["})) open++;
  if (open == t.size() || t[open].text != "(" || open == 0) return std::optional<Function>();
  // T (*name)(...) is a variable; T (*name(...))(...) a function that returns a pointer to one.
  const bool declares_pointer = open + 1 < t.size() && t[open + 1].text == "*";
  const size_t inner_end = closing(t, open);
  if (declares_pointer && std::none_of(t.begin() + static_cast<ptrdiff_t>(open) + 1,
                                       t.begin() + static_cast<ptrdiff_t>(std::min(inner_end, t.size())),
                                       [](const Token& x) { return x.text == "("; })) {
    return std::optional<Function>();
  }
  if (open < 2 || !is_word(t[open - 1])) {
    return fail("line {}: '{}' is not a prototype that can be understood; give its result type a name by a typedef",
                t[open].line, spell(t));
  }
  const size_t close = closing(t, open);
  if (close + 1 != t.size())
    return fail("line {}: '{}' is not a prototype that can be understood", t[open].line, spell(t));
  Function f;
  f.name = t[open - 1].text;
  f.result = spell(Tokens(t.begin(), t.begin() + static_cast<ptrdiff_t>(open) - 1));
  Tokens part;
  int depth = 0;
  for (size_t i = open + 1; i <= close; i++) {
    if (depth == 0 && (i == close || t[i].text == ",")) {
      if (part.empty() && i == close && f.parameters.empty()) break;  // ()
      if (part.empty()) return fail("line {}: {}: a parameter is missing", t[i].line, f.name);
      if (part.size() == 1 && part[0].text == "void" && i == close && f.parameters.empty()) break;
      PANDA_TRY(Parameter p, parameter(std::move(part), f.parameters.size() + 1, f.name));
      f.parameters.push_back(std::move(p));
      part.clear();
      continue;
    }
    if (one_of(t[i].text, {"(", "[", "{"})) depth++;
    if (one_of(t[i].text, {")", "]", "}"})) depth--;
    part.push_back(t[i]);
  }
  return std::optional<Function>(std::move(f));
}

// Index of the directive that is the include guard's #ifndef, and of its #endif; size() where there is none.
std::pair<size_t, size_t> include_guard(const Tokens& t) {
  const std::pair<size_t, size_t> none{t.size(), t.size()};
  if (t.size() < 2 || !t[0].directive || !t[1].directive) return none;
  if (first_word(t[0].text) != "ifndef" || t[1].text.substr(0, 7) != "define ") return none;
  const std::string guard = t[0].text.substr(t[0].text.find_first_not_of(" \t", 6));
  if (first_word(t[1].text.substr(7)) != guard) return none;
  int depth = 0;
  for (size_t i = 0; i < t.size(); i++) {
    if (!t[i].directive) continue;
    const std::string word = first_word(t[i].text);
    if (one_of(word, {"if", "ifdef", "ifndef"})) depth++;
    if (word == "endif" && --depth == 0) return {0, i};
  }
  return none;
}

}  // namespace

Result<Declarations> parse(std::string_view text) {
  PANDA_TRY(const Tokens tokens, Lexer(text).run());
  const auto [guard_begin, guard_end] = include_guard(tokens);
  Declarations out;
  Tokens statement;
  int depth = 0;
  bool had_body = false;
  for (size_t i = 0; i < tokens.size(); i++) {
    const Token& t = tokens[i];
    if (t.directive) {
      const std::string word = first_word(t.text);
      if (word == "include") {
        out.includes.push_back(t.text.substr(std::min(t.text.find_first_not_of(" \t", 7), t.text.size())));
      } else if (i != guard_begin && i != guard_end && depth == 0 &&
                 one_of(word, {"if", "ifdef", "ifndef", "else", "elif", "endif"})) {
        out.items.push_back({.directive = t.text, .function = {}});
      }
      continue;
    }
    // extern "C" { ... }: its contents count as if it were not there.
    if (depth == 0 && t.text == "{" && statement.size() == 2 && statement[0].text == "extern") {
      statement.clear();
      continue;
    }
    if (depth == 0 && t.text == "}") {
      statement.clear();
      continue;
    }
    if (depth == 0 && t.text == ";") {
      if (!had_body && !statement.empty()) {
        PANDA_TRY(std::optional<Function> f, function(std::move(statement)));
        if (f) out.items.push_back({.directive = "", .function = std::move(*f)});
      }
      statement.clear();
      had_body = false;
      continue;
    }
    if (one_of(t.text, {"(", "[", "{"})) depth++;
    if (one_of(t.text, {")", "]", "}"})) depth--;
    if (t.text == "{") had_body = true;
    statement.push_back(t);
    // The body of an inline function ends its statement; a struct's goes on to its ';'.
    if (depth == 0 && t.text == "}" && statement.size() > 1) {
      const auto body = std::find_if(statement.begin(), statement.end(), [](const Token& x) { return x.text == "{"; });
      if (body != statement.begin() && (body - 1)->text == ")") {
        statement.clear();
        had_body = false;
      }
    }
  }
  if (depth != 0) return fail("its brackets do not match");
  return out;
}

}  // namespace panda::apigen
