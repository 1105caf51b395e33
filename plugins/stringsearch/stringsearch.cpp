// Searches what each tap point reads, and what it writes, for strings.
//
// Each tap point has a state of the search per direction. Nearly all accesses are of a tap point that is
// not inside a string, and have no byte with which one begins: these change nothing, and are recognised by
// their bytes and their pc alone, by a filter that translated code calls itself (panda_filter_callback()).
#include "stringsearch/stringsearch.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "callstack_instr/taps.hpp"
#include "panda/plugin_plugin.h"
#include "stringsearch/matcher.hpp"
#include "stringsearch/stringsearch_int_fns.h"

PPP_PROT_REG_CB(on_ssm);
PPP_CB_BOILERPLATE(on_ssm)

namespace {

using callstack::Access;
using stringsearch::Matcher;

constexpr size_t kMostCallers = 4096;

// The search of one direction.
struct Search {
  static constexpr size_t kPcs = 1 << 16;
  callstack::TapMap<Matcher::State> states;
  std::array<uint32_t, kPcs> inside{};          // tap points whose pc falls here and that are inside a string
  std::array<uint64_t, kPcs / 64> is_inside{};  // bits: that there are some

  static size_t place_of(target_ulong pc) { return (pc ^ pc >> 16) & (kPcs - 1); }
  [[nodiscard]] bool inside_at(target_ulong pc) const {
    const size_t place = place_of(pc);
    return (is_inside[place / 64] >> (place % 64) & 1) != 0;
  }
  void moved(target_ulong pc, bool was_inside, bool is_now) {
    const size_t place = place_of(pc);
    inside[place] += static_cast<uint32_t>(is_now) - static_cast<uint32_t>(was_inside);
    const uint64_t bit = uint64_t{1} << (place % 64);
    is_inside[place / 64] = inside[place] != 0 ? is_inside[place / 64] | bit : is_inside[place / 64] & ~bit;
  }
  void clear() {
    states.clear();
    inside.fill(0);
    is_inside.fill(0);
  }
};

// The bytes with which strings begin. Inlined into the filter, which must not call other libraries.
class Beginnings {
 public:
  void set(const Matcher& matcher) {
    few_ = 0;
    size_t number = 0;
    for (size_t byte = 0; byte < table_.size(); byte++) {
      table_[byte] = matcher.begins(static_cast<uint8_t>(byte));
      if (table_[byte] == 0) continue;
      if (number < kFew) repeated_[number] = byte * kOnes;
      number++;
    }
    if (number <= kFew) few_ = number;
    many_ = number > kFew;
  }
  // Is one of them among these? Of a few it is said of each word at once, and then zero, which fills words up, may
  // be taken for one.
  [[nodiscard]] bool among(const uint8_t* data, size_t size) const {
    if (many_ || size > 8) return one_by_one(data, size);
    uint64_t word = 0;
    if (size == 8) {
      memcpy(&word, data, 8);
    } else if (size == 4) {
      memcpy(&word, data, 4);
    } else if (size == 1) {
      word = *data;
    } else {
      return one_by_one(data, size);
    }
    uint64_t found = 0;
    for (size_t i = 0; i < few_; i++) {
      const uint64_t x = word ^ repeated_[i];
      found |= (x - kOnes) & ~x & (kOnes << 7);
    }
    return found != 0;
  }

 private:
  static constexpr size_t kFew = 3;
  static constexpr uint64_t kOnes = 0x0101010101010101;
  [[nodiscard]] bool one_by_one(const uint8_t* data, size_t size) const {
    uint8_t found = 0;
    for (size_t i = 0; i < size; i++) found |= table_[data[i]];
    return found != 0;
  }
  std::array<uint8_t, 256> table_{};
  bool many_ = false;
  size_t few_ = 0;
  std::array<uint64_t, kFew> repeated_{};
};

struct Matches {
  std::vector<uint64_t> counts;       // by string
  std::vector<target_ulong> callers;  // of the last match, innermost first
};

class StringSearch : public callstack::TapPlugin {
 public:
  StringSearch() {
    panda::Arguments args = arguments();
    const std::string text = args.text("str", "", "text to search for");
    verbose_ = args.flag("verbose", "print each match");
    callers_ = args.number<uint64_t>("callers", 16, "callers in the list of matches");
    const std::string given_name =
        args.text("name", "", "reads NAME_search_strings.txt, writes NAME_string_matches.txt (default: stringsearch)");
    args.done();
    if (callers_ > kMostCallers) panda::refuse("callers=%" PRIu64 ": at most %zu", callers_, kMostCallers);
    name_ = given_name.empty() ? "stringsearch" : given_name;
    if (!text.empty()) strings_.push_back(text);
    read_strings(name_ + "_search_strings.txt", !given_name.empty() && text.empty());
    out_ = panda::Output(name_ + "_string_matches.txt");
    reads_ = &on_read(Look{this, &read_});
    writes_ = &on_write(Look{this, &write_});
    strings_changed();
  }
  ~StringSearch() override { write_matches(); }

  bool add(const char* text) {
    if (text == nullptr || *text == '\0') return false;
    if (std::find(strings_.begin(), strings_.end(), text) != strings_.end()) return true;
    strings_.emplace_back(text);
    strings_changed();
    return true;
  }
  bool remove(const char* text) {
    const auto found = text == nullptr ? strings_.end() : std::find(strings_.begin(), strings_.end(), text);
    if (found == strings_.end()) return false;
    // Its column in the list stays.
    found->clear();
    strings_changed();
    return true;
  }
  void reset() {
    for (std::string& string : strings_) string.clear();
    strings_changed();
  }

 private:
  struct Look {
    StringSearch* self;
    Search* search;
    void operator()(CPUState* cpu, const Access& access) const { self->look(cpu, access, *search); }
    static bool wants(const Look& l, target_ulong pc, target_ulong, size_t size, const uint8_t* data) {
      return l.search->inside_at(pc) || l.self->begins_.among(data, size);
    }
  };

  void read_strings(const std::string& path, bool must_be_there) {
    std::ifstream file(path);
    if (!file) {
      if (must_be_there) panda::refuse("cannot read %s, and no str= is given", path.c_str());
      return;
    }
    std::string line;
    for (unsigned number = 1; std::getline(file, line); number++) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty()) continue;
      std::string string;
      if (!stringsearch::parse_string(line, string)) {
        panda::refuse("%s:%u: neither a \"text\" in quotes nor hex bytes as 01:02:03", path.c_str(), number);
      }
      if (std::find(strings_.begin(), strings_.end(), string) == strings_.end()) strings_.push_back(string);
    }
  }

  // Searches begin anew. With nothing to search for, accesses are not listened to.
  void strings_changed() {
    std::vector<std::string> searched;
    searched_.clear();
    for (size_t i = 0; i < strings_.size(); i++) {
      if (strings_[i].empty()) continue;
      searched.push_back(strings_[i]);
      searched_.push_back(i);
    }
    matcher_ = std::make_unique<Matcher>(searched);
    begins_.set(*matcher_);
    for (Search* search : {&read_, &write_}) search->clear();
    for (panda::Callback* callback : {reads_, writes_}) {
      if (searched.empty()) {
        callback->disable();
      } else {
        callback->enable();
      }
    }
  }

  void look(CPUState* cpu, const Access& access, Search& search) {
    if (!search.inside_at(access.pc) && !begins_.among(access.data, access.size)) return;

    const prog_point p = tap(cpu, access);
    Matcher::State& kept = search.states[p];
    Matcher::State state = kept;
    for (size_t i = 0; i < access.size; i++) {
      state = matcher_->next(state, access.data[i]);
      // A match may lead to a change of the strings, which drops all states: leave then.
      if (!matcher_->matches(state).empty() && !matched(cpu, p, access, i, state)) return;
    }
    search.moved(access.pc, kept != 0, state != 0);
    kept = state;
  }

  // False: the strings were changed by who was told.
  bool matched(CPUState* cpu, const prog_point& p, const Access& access, size_t last, Matcher::State state) {
    const Matcher* const before = matcher_.get();
    const std::vector<size_t> ends = matcher_->matches(state);
    for (const size_t end : ends) {
      const size_t index = searched_[end];
      Matches& matches = matches_[p];
      matches.counts.resize(strings_.size());
      matches.counts[index]++;
      matches.callers.resize(callers_);
      matches.callers.resize(get_callers(matches.callers.data(), static_cast<uint32_t>(callers_), cpu));
      if (verbose_) {
        printf("%s Match of str %zu at: instr_count=%" PRIu64 " :  " TARGET_FMT_lx " " TARGET_FMT_lx " %s\n",
               access.is_write ? "WRITE" : "READ", index, rr_get_guest_instr_count(), p.caller, p.pc,
               callstack::stack_id(p).c_str());
      }
      if (!PPP_CHECK_CB(on_ssm)) continue;
      std::string string = strings_[index];
      const auto last_at = static_cast<target_ulong>(access.addr + last);
      const auto first_at = static_cast<target_ulong>(last_at - (string.size() - 1));
      const bool in_memory =
          panda::read_bytes(cpu, first_at, string.size()) == std::vector<uint8_t>(string.begin(), string.end());
      PPP_RUN_CB(on_ssm, cpu, access.pc, in_memory ? first_at : last_at, reinterpret_cast<uint8_t*>(string.data()),
                 static_cast<uint32_t>(string.size()), access.is_write, in_memory);
      if (matcher_.get() != before) return false;
    }
    return true;
  }

  void write_matches() {
    for (const auto* entry : matches_.sorted()) {
      const auto& [p, matches] = *entry;
      for (auto caller = matches.callers.rbegin(); caller != matches.callers.rend(); ++caller) {
        out_.print(TARGET_FMT_lx " ", *caller);
      }
      out_.print(TARGET_FMT_lx " %s ", p.pc, callstack::stack_id(p).c_str());
      for (size_t i = 0; i < strings_.size(); i++) {
        out_.print(" %" PRIu64, i < matches.counts.size() ? matches.counts[i] : 0);
      }
      out_.print("\n");
    }
  }

  std::string name_;
  bool verbose_ = false;
  uint64_t callers_ = 16;
  std::vector<std::string> strings_;  // an empty one was removed
  std::vector<size_t> searched_;      // the matcher's index -> that of strings_
  std::unique_ptr<Matcher> matcher_;
  Beginnings begins_;
  Search read_, write_;
  callstack::TapMap<Matches> matches_;
  panda::Output out_;
  panda::Callback* reads_ = nullptr;
  panda::Callback* writes_ = nullptr;
};

StringSearch* plugin() { return panda::detail::instance<StringSearch>().get(); }

}  // namespace

PANDA_PLUGIN(StringSearch)

extern "C" {
bool add_string(const char* arg) { return plugin()->add(arg); }
bool remove_string(const char* arg) { return plugin()->remove(arg); }
void reset_strings(void) { plugin()->reset(); }
}
