// plog_reader: shows a pandalog as text or JSON lines. docs/pandalog.md describes its use.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>

#include "cli/plog_entry.h"
#include "pandalog/reader.h"

// The schema that the plugins of this build share, put here by the assembler.
asm(".pushsection .rodata\n"
    ".global panda_plog_schema_begin\n"
    "panda_plog_schema_begin:\n"
    ".incbin \"" PANDA_PLOG_DESCRIPTORS
    "\"\n"
    ".global panda_plog_schema_end\n"
    "panda_plog_schema_end:\n"
    ".popsection\n");
extern "C" const char panda_plog_schema_begin[];
extern "C" const char panda_plog_schema_end[];

namespace panda::cli {
namespace {

constexpr const char* kUsage =
    "usage: plog_reader [OPTION..] FILE\n"
    "Shows the entries of a pandalog, one a line.\n"
    "  --json            as JSON, one object a line\n"
    "  --count           only how many entries have each field\n"
    "  --field NAME[,..] only entries that have one of these fields\n"
    "  --instr FROM-TO   only these instructions; either may be left out\n"
    "  --asid N[,..]     only entries about these address spaces\n"
    "  --pid N[,..]      ... these processes\n"
    "  --process NAME[,..] ... processes of these names\n"
    "  --backward        the last entry first\n"
    "  --schema FILE     another build's plog/ARCH/plog.desc; default: the plugins that were built with this program\n"
    "The status is 0; 1 where the log is damaged or cut off, when all that can be read has been shown; 2 where\n"
    "nothing could be done.\n";

struct Options {
  std::string file;
  std::string schema;
  bool json = false;
  bool count = false;
  pandalog::Direction direction = pandalog::Direction::Forward;
  uint64_t from = 0;
  uint64_t to = UINT64_MAX;
  PlogFilter filter;
  bool help = false;
};

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  for (;;) {
    const size_t comma = text.find(',');
    out.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

Result<uint64_t> parse_number(std::string_view option, std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  std::string_view digits = hex ? text.substr(2) : text;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != digits.data() + digits.size())
    return fail("{}: '{}' is not a number", option, text);
  return value;
}

Status parse_numbers(std::string_view option, std::string_view text, std::vector<uint64_t>& out) {
  for (const std::string& word : split(text)) {
    PANDA_TRY(const uint64_t value, parse_number(option, word));
    out.push_back(value);
  }
  return {};
}

Status parse_range(std::string_view text, Options& o) {
  const size_t dash = text.find('-');
  const std::string_view from = text.substr(0, dash);
  const std::string_view to = dash == std::string_view::npos ? from : text.substr(dash + 1);
  if (!from.empty()) {
    PANDA_TRY(o.from, parse_number("--instr", from));
  }
  if (!to.empty()) {
    PANDA_TRY(o.to, parse_number("--instr", to));
  }
  return {};
}

Result<Options> parse(const std::vector<std::string>& words) {
  Options o;
  for (size_t i = 0; i < words.size(); i++) {
    std::string name = words[i];
    if (!name.starts_with("-") || name == "-") {
      if (!o.file.empty()) return fail("{} and {}: one file at a time", o.file, name);
      o.file = name;
      continue;
    }
    if (!name.starts_with("--")) name = "-" + name;
    std::optional<std::string> value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const auto flag = [&](std::string_view wanted) { return name == wanted && !value; };
    if (flag("--json")) {
      o.json = true;
    } else if (flag("--count")) {
      o.count = true;
    } else if (flag("--backward")) {
      o.direction = pandalog::Direction::Backward;
    } else if (flag("--help") || flag("--h")) {
      o.help = true;
    } else if (name == "--field" || name == "--instr" || name == "--asid" || name == "--pid" || name == "--process" ||
               name == "--schema") {
      if (!value && i + 1 == words.size()) return fail("{} needs a value", name);
      const std::string v = value ? *value : words[++i];
      if (name == "--field") {
        for (std::string& f : split(v)) o.filter.fields.push_back(std::move(f));
      } else if (name == "--process") {
        for (std::string& p : split(v)) o.filter.processes.push_back(std::move(p));
      } else if (name == "--instr") {
        PANDA_TRY_STATUS(parse_range(v, o));
      } else if (name == "--asid") {
        PANDA_TRY_STATUS(parse_numbers(name, v, o.filter.asids));
      } else if (name == "--pid") {
        PANDA_TRY_STATUS(parse_numbers(name, v, o.filter.pids));
      } else {
        o.schema = v;
      }
    } else {
      return fail("{}: no such option; --help lists them", words[i]);
    }
  }
  if (o.file.empty() && !o.help) return fail("which file? --help says how");
  return o;
}

Status check_fields(const Options& o, const PlogSchema& schema) {
  for (const std::string& field : o.filter.fields) {
    if (schema.entry().FindFieldByName(field) == nullptr) {
      return fail("--field {}: the schema has no such field{}", field,
                  o.schema.empty() ? "; --schema FILE gives another" : "");
    }
  }
  return {};
}

class Show {
 public:
  Show(const Options& options, const PlogSchema& schema) : options_(options), entry_(schema.new_entry()) {}

  // False: there is nothing more to show.
  Result<bool> entry(std::span<const uint8_t> bytes) {
    number_++;
    if (!entry_->ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size())) || !entry_->IsInitialized()) {
      bad_++;
      return true;
    }
    const uint64_t instr = position_of(*entry_).instr;
    const bool forward = options_.direction == pandalog::Direction::Forward;
    if (instr < options_.from) return forward;
    if (instr > options_.to) return !forward;
    if (!options_.filter.wants(*entry_)) return true;
    if (options_.count) {
      count();
      return true;
    }
    std::string line;
    if (options_.json) {
      PANDA_TRY(line, plog_json(*entry_));
    } else {
      line = plog_text(*entry_);
    }
    line += '\n';
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) {
      return fail("the output cannot be written: {}", std::strerror(errno));
    }
    return true;
  }
  void finish() const {
    if (!options_.count) return;
    for (const auto& [name, n] : counts_) std::printf("%10llu %s\n", static_cast<unsigned long long>(n), name.c_str());
    std::printf("%10llu entries\n", static_cast<unsigned long long>(counted_));
  }
  [[nodiscard]] uint64_t bad() const { return bad_; }

 private:
  void count() {
    counted_++;
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    entry_->GetReflection()->ListFields(*entry_, &fields);
    for (const auto* f : fields) {
      if (f->name() != "pc" && f->name() != "instr") counts_[f->name()]++;
    }
    const auto& unknown = entry_->GetReflection()->GetUnknownFields(*entry_);
    for (int i = 0; i < unknown.field_count(); i++) counts_[fmt::format("tag_{}", unknown.field(i).number())]++;
  }

  const Options& options_;
  std::unique_ptr<google::protobuf::Message> entry_;
  std::map<std::string, uint64_t> counts_;
  uint64_t counted_ = 0;
  uint64_t number_ = 0;
  uint64_t bad_ = 0;
};

Result<int> run(const Options& o) {
  std::string descriptors(panda_plog_schema_begin, panda_plog_schema_end);
  if (!o.schema.empty()) {
    std::ifstream file(o.schema, std::ios::binary);
    if (!file) return fail("{}: cannot be read: {}", o.schema, std::strerror(errno));
    descriptors.assign(std::istreambuf_iterator<char>(file), {});
  }
  PANDA_TRY(const auto schema, PlogSchema::create(descriptors, o.schema.empty() ? "the built-in schema" : o.schema));
  PANDA_TRY_STATUS(check_fields(o, *schema));
  PANDA_TRY(const auto reader, pandalog::Reader::open(o.file, o.direction));
  if (o.direction == pandalog::Direction::Forward && o.from != 0) reader->seek(InsnCount(o.from));
  if (o.direction == pandalog::Direction::Backward && o.to != UINT64_MAX) reader->seek(InsnCount(o.to));
  Show show(o, *schema);
  while (const auto bytes = reader->next()) {
    PANDA_TRY(const bool more, show.entry(*bytes));
    if (!more) break;
  }
  show.finish();
  if (std::fflush(stdout) != 0) return fail("the output cannot be written: {}", std::strerror(errno));
  for (const std::string& line : reader->problems()) std::fprintf(stderr, "plog_reader: %s\n", line.c_str());
  if (show.bad() != 0) {
    std::fprintf(stderr, "plog_reader: pandalog %s: %llu entries are not of this schema (see --schema)\n",
                 o.file.c_str(), static_cast<unsigned long long>(show.bad()));
  }
  return reader->lost() || show.bad() != 0 ? 1 : 0;
}

int start(int argc, char** argv) {
  google::protobuf::SetLogHandler(nullptr);  // what is wrong is said here
  const auto options = parse(std::vector<std::string>(argv + 1, argv + argc));
  if (options && options->help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const Result<int> status = options ? run(*options) : tl::unexpected<Error>(options.error());
  if (status) return *status;
  std::fprintf(stderr, "plog_reader: %s\n", status.error().message.c_str());
  return 2;
}

}  // namespace
}  // namespace panda::cli

int main(int argc, char** argv) { return panda::cli::start(argc, argv); }
