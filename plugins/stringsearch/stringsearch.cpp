// Searches what each tap point reads, and what it writes, for strings.
//
// Each tap point has a state of the search per direction. Nearly all accesses are of a tap point that is
// not inside a string, and have no byte with which one begins: these change nothing, and are recognised by
// their bytes and their pc alone, before the tap point is asked for.
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
  std::array<uint32_t, kPcs> inside{};  // tap points whose pc falls here and that are inside a string

  uint32_t& inside_at(target_ulong pc) { return inside[(pc ^ pc >> 16) & (kPcs - 1)]; }
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
    reads_ = &on_read([this](CPUState* cpu, const Access& access) { look(cpu, access, read_); });
    writes_ = &on_write([this](CPUState* cpu, const Access& access) { look(cpu, access, write_); });
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
    for (size_t byte = 0; byte < begins_.size(); byte++) begins_[byte] = matcher_->begins(static_cast<uint8_t>(byte));
    for (Search* search : {&read_, &write_}) {
      search->states.clear();
      search->inside.fill(0);
    }
    for (panda::Callback* callback : {reads_, writes_}) {
      if (searched.empty()) {
        callback->disable();
      } else {
        callback->enable();
      }
    }
  }

  void look(CPUState* cpu, const Access& access, Search& search) {
    uint8_t begins = 0;
    for (size_t i = 0; i < access.size; i++) begins |= begins_[access.data[i]];
    if (begins == 0 && search.inside_at(access.pc) == 0) return;

    const prog_point p = tap(cpu, access);
    Matcher::State& kept = search.states[p];
    Matcher::State state = kept;
    for (size_t i = 0; i < access.size; i++) {
      state = matcher_->next(state, access.data[i]);
      // A match may lead to a change of the strings, which drops all states: leave then.
      if (!matcher_->matches(state).empty() && !matched(cpu, p, access, i, state)) return;
    }
    uint32_t& inside = search.inside_at(access.pc);
    inside += static_cast<uint32_t>(state != 0) - static_cast<uint32_t>(kept != 0);
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
  std::array<uint8_t, 256> begins_{};
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
