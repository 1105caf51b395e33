// Searches a stream of bytes for many strings at once (Aho-Corasick), one byte at a time: the state is a
// number, so that a search can be kept for each of many streams. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <queue>
#include <string>
#include <vector>

namespace stringsearch {

class Matcher {
 public:
  using State = uint32_t;  // 0: nothing of a string was seen

  explicit Matcher(const std::vector<std::string>& strings) {
    nodes_.emplace_back();
    for (size_t i = 0; i < strings.size(); i++) add(strings[i], i);
    link();
  }

  [[nodiscard]] State next(State state, uint8_t byte) const { return nodes_[state].next[byte]; }
  // The strings, by index, that end in this state.
  [[nodiscard]] const std::vector<size_t>& matches(State state) const { return nodes_[state].ends; }
  // A string begins with this byte.
  [[nodiscard]] bool begins(uint8_t byte) const { return nodes_[0].next[byte] != 0; }

 private:
  struct Node {
    std::array<State, 256> next{};
    State shorter = 0;  // the state of the longest proper suffix
    std::vector<size_t> ends;
  };

  void add(const std::string& string, size_t index) {
    State at = 0;
    for (const char c : string) {
      const auto byte = static_cast<uint8_t>(c);
      if (nodes_[at].next[byte] == 0) {
        nodes_[at].next[byte] = static_cast<State>(nodes_.size());
        nodes_.emplace_back();
      }
      at = nodes_[at].next[byte];
    }
    nodes_[at].ends.push_back(index);
  }

  // In order of depth: a node's suffix is done before it, and lends it the transitions that it lacks.
  void link() {
    std::queue<State> todo;
    for (const State child : nodes_[0].next) {
      if (child != 0) todo.push(child);
    }
    for (; !todo.empty(); todo.pop()) {
      Node& node = nodes_[todo.front()];
      const Node& shorter = nodes_[node.shorter];
      node.ends.insert(node.ends.end(), shorter.ends.begin(), shorter.ends.end());
      for (size_t byte = 0; byte < 256; byte++) {
        const State child = node.next[byte];
        if (child == 0) {
          node.next[byte] = shorter.next[byte];
        } else {
          nodes_[child].shorter = shorter.next[byte];
          todo.push(child);
        }
      }
    }
  }

  std::vector<Node> nodes_;
};

// One line of a search file: "text" in quotes, or hex bytes separated by colons. False: neither.
inline bool parse_string(std::string_view line, std::string& out) {
  out.clear();
  if (line.size() > 2 && line.front() == '"' && line.back() == '"') {
    out = line.substr(1, line.size() - 2);
    return true;
  }
  for (size_t at = 0; at < line.size();) {
    unsigned value = 0;
    size_t digits = 0;
    for (; at < line.size() && line[at] != ':'; at++, digits++) {
      const char c = line[at];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      value = value * 16 + static_cast<unsigned>(digit);
    }
    if (digits == 0 || digits > 2) return false;
    out.push_back(static_cast<char>(value));
    if (at < line.size() && ++at == line.size()) return false;
  }
  return !out.empty();
}

}  // namespace stringsearch
