#include "ir/parser.h"

#include <cctype>
#include <limits>
#include <optional>
#include <unordered_map>

#include "ir/printer.h"
#include "ir/type_check.h"

namespace panda::ir {
namespace {

constexpr uint64_t kMaxBlocks = 1u << 16;

// One line, consumed from the left. The first thing that is not as expected sets `error` and makes
// everything after it a no-op.
class Line {
 public:
  explicit Line(std::string_view text) : rest_(text.substr(0, text.find('#'))) { skip(); }

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] bool ok() const { return error_.empty(); }
  void fail_with(std::string what) {
    if (error_.empty()) error_ = std::move(what);
    rest_ = {};
  }

  bool accept(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    skip();
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail_with(fmt::format("expected `{}`", token));
  }
  std::string_view word() {
    size_t n = 0;
    while (n < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[n])) != 0 || rest_[n] == '_')) n++;
    const auto w = rest_.substr(0, n);
    if (n == 0) fail_with("expected a name");
    if (n == 0) return {};
    rest_.remove_prefix(n);
    skip();
    return w;
  }
  uint64_t number(uint64_t max = std::numeric_limits<uint64_t>::max()) {
    const auto w = word();
    if (!ok()) return 0;
    const bool hex = w.starts_with("0x");
    const auto digits = hex ? w.substr(2) : w;
    const unsigned base = hex ? 16 : 10;
    uint64_t v = 0;
    for (const char c : digits) {
      const auto u = static_cast<unsigned char>(c);
      const unsigned d = std::isdigit(u) != 0 ? u - '0' : std::isxdigit(u) != 0 ? (u | 0x20u) - 'a' + 10 : 99;
      if (d >= base || v > (~uint64_t{0} - d) / base) {
        fail_with(fmt::format("bad number `{}`", w));
        return 0;
      }
      v = v * base + d;
    }
    if (digits.empty() || v > max) fail_with(fmt::format("bad number `{}`", w));
    return ok() ? v : 0;
  }
  Type type() {
    const auto w = word();
    for (auto t = static_cast<unsigned>(Type::I1); t <= static_cast<unsigned>(Type::F80); t++) {
      if (w == type_name(static_cast<Type>(t))) return static_cast<Type>(t);
    }
    fail_with(fmt::format("no such type `{}`", w));
    return Type::Void;
  }

 private:
  void skip() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0) rest_.remove_prefix(1);
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.back())) != 0) rest_.remove_suffix(1);
  }

  std::string_view rest_;
  std::string error_;
};

class Parser {
 public:
  explicit Parser(const HelperLookup& helpers) : helpers_(helpers) {
    for (unsigned i = 0; i < kOpCount; i++) ops_.emplace(op_name(static_cast<Op>(i)), static_cast<Op>(i));
  }

  Result<Unit> run(std::string_view text) {
    for (unsigned number = 1; !text.empty(); number++) {
      const size_t end = text.find('\n');
      Line line(text.substr(0, end));
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
      if (line.at_end()) continue;
      statement(line);
      if (line.ok() && !line.at_end()) line.fail_with("unexpected text at the end of the line");
      if (!line.ok()) return fail("line {}: {}", number, line.error());
    }
    close_block();
    if (!saw_unit_) return fail("line 1: no `unit` line");
    return std::move(unit_);
  }

 private:
  void statement(Line& line) {
    if (line.accept("unit ")) return unit(line);
    if (!saw_unit_) return line.fail_with("expected `unit`");
    if (line.accept("guest ")) return guest(line);
    if (line.accept("block ")) return block(line);
    if (!in_block_) return line.fail_with("expected `block`");
    inst(line);
  }

  void unit(Line& line) {
    if (saw_unit_) return line.fail_with("second `unit`");
    saw_unit_ = true;
    line.expect("pc=[");
    unit_.pc_offset = u32(line);
    line.expect("]:");
    unit_.pc_type = line.type();
    line.expect("exits=");
    unit_.exit_count = static_cast<uint32_t>(line.number(kMaxBlocks));
    unit_.exact = line.accept("exact");
  }

  void guest(Line& line) {
    if (line.number() != unit_.guest_insns.size()) return line.fail_with("guest instructions are out of order");
    GuestInsn g;
    line.expect("pc=");
    g.pc = line.number();
    line.expect("size=");
    g.size = static_cast<uint8_t>(line.number(0xff));
    line.expect("refund=");
    g.refund = static_cast<uint16_t>(line.number(0xffff));
    unit_.guest_insns.push_back(g);
  }

  void block(Line& line) {
    if (line.number() != unit_.blocks.size() || unit_.blocks.size() >= kMaxBlocks) {
      return line.fail_with("blocks are out of order");
    }
    line.expect(":");
    close_block();
    unit_.blocks.push_back({static_cast<uint32_t>(unit_.insts.size()), 0});
    in_block_ = true;
  }

  void close_block() {
    if (!in_block_) return;
    Block& b = unit_.blocks.back();
    b.count = static_cast<uint32_t>(unit_.insts.size()) - b.first;
  }

  void inst(Line& line) {
    Inst in{};
    in.type = Type::Void;
    std::optional<uint64_t> result;
    if (line.accept("%")) {
      result = line.number();
      line.expect("=");
    }
    const auto name = line.word();
    const auto found = ops_.find(name);
    if (found == ops_.end()) return line.fail_with(fmt::format("no such op `{}`", name));
    in.op = found->second;
    if (line.accept(".")) in.type = line.type();
    if (line.ok()) body(line, in);
    if (!line.ok()) return;
    settle_type(in);
    if (result.has_value() != (result_type(in) != Type::Void)) return line.fail_with("result where there is none");
    if (result && !values_.emplace(*result, static_cast<ValueId>(unit_.insts.size())).second) {
      return line.fail_with("value defined twice");
    }
    unit_.insts.push_back(in);
  }

  // Rows with a result of one type leave it out of the text.
  static void settle_type(Inst& in) {
    if (in.type != Type::Void) return;
    switch (info(in.op).result) {
      case Sig::I1:
        in.type = Type::I1;
        break;
      case Sig::I8:
        in.type = Type::I8;
        break;
      case Sig::I16:
        in.type = Type::I16;
        break;
      case Sig::I32:
        in.type = Type::I32;
        break;
      case Sig::I64:
        in.type = Type::I64;
        break;
      case Sig::F32:
        in.type = Type::F32;
        break;
      case Sig::F64:
        in.type = Type::F64;
        break;
      case Sig::V128:
        in.type = Type::V128;
        break;
      case Sig::F80:
        in.type = Type::F80;
        break;
      default:
        break;
    }
  }

  void body(Line& line, Inst& in) {
    switch (in.op) {
      case Op::konst:
        in.imm = line.number();
        return;
      case Op::get:
        in.imm = slot(line);
        return;
      case Op::set:
        in.imm = slot(line);
        line.expect(",");
        return arg(line, in);
      case Op::load:
      case Op::store:
        args(line, in);
        return memory(line, in);
      case Op::icmp:
        condition(line, in);
        return args(line, in);
      case Op::deposit:
      case Op::extract:
        args(line, in);
        line.expect("bit=");
        in.imm = line.number(0xff);
        line.expect("width=");
        in.imm |= line.number(0xff) << 8;
        return;
      case Op::call:
        return call(line, in);
      case Op::insn:
      case Op::count:
        in.imm = line.number();
        return;
      case Op::bump:
        in.imm = line.number();
        line.expect(",");
        line.expect("by=");
        in.aux = u32(line);
        return;
      case Op::br:
        in.aux = target(line);
        return;
      case Op::brc:
        arg(line, in);
        line.expect(",");
        in.aux = target(line);
        line.expect(",");
        in.imm = target(line);
        return;
      case Op::exit_if:
        return exit_if(line, in);
      case Op::exit_direct:
        in.imm = line.number();
        line.expect(",");
        line.expect("exit=");
        in.aux = u32(line);
        return;
      default:
        args(line, in);
        if (line.accept("imm=")) in.imm = line.number();
        line.accept(",");
        if (line.accept("aux=")) in.aux = u32(line);
    }
  }

  void exit_if(Line& line, Inst& in) {
    ExitIf e;
    e.if_false = line.accept("not");
    arg(line, in);
    line.expect(",");
    in.imm = line.number();
    line.expect(",");
    e.looked_up = line.accept("looked_up");
    if (!e.looked_up) {
      line.expect("exit=");
      e.exit = static_cast<uint32_t>(line.number(ExitIf::kMaxExit));
    }
    in.aux = e.pack();
  }

  void memory(Line& line, Inst& in) {
    MemInfo m;
    line.expect("mode=");
    m.mode = static_cast<uint8_t>(line.number(0xff));
    m.for_write = line.accept("rmw");
    if (line.accept("align=")) m.align = static_cast<uint8_t>(line.number(0xff));
    if (line.accept("strict")) m.strict = true;
    in.imm = m.pack();
  }

  void condition(Line& line, Inst& in) {
    const auto w = line.word();
    for (uint64_t c = 0; c < std::size(kCondNames); c++) {
      if (w == kCondNames[c]) {
        in.imm = c;
        return;
      }
    }
    line.fail_with(fmt::format("no such condition `{}`", w));
  }

  void call(Line& line, Inst& in) {
    const auto name = line.word();
    const HelperDesc* helper = line.ok() && helpers_ ? helpers_(name) : nullptr;
    if (helper == nullptr) return line.fail_with(fmt::format("no such helper `{}`", name));
    in.imm = reinterpret_cast<uintptr_t>(helper);
    line.expect("(");
    args(line, in);
    line.expect(")");
  }

  // Values separated by commas, and the comma before what follows them.
  void args(Line& line, Inst& in) {
    while (line.accept("%")) {
      value(line, in);
      if (!line.accept(",")) return;
    }
  }
  void arg(Line& line, Inst& in) {
    line.expect("%");
    value(line, in);
  }
  void value(Line& line, Inst& in) {
    const auto found = values_.find(line.number());
    if (!line.ok()) return;
    if (found == values_.end()) return line.fail_with("value is not defined");
    if (in.nargs == 4) return line.fail_with("too many operands");
    in.args[in.nargs++] = found->second;
  }

  static uint32_t u32(Line& line) { return static_cast<uint32_t>(line.number(~uint32_t{0})); }
  static uint64_t slot(Line& line) {
    line.expect("[");
    const uint64_t offset = u32(line);
    line.expect("]");
    return offset;
  }
  static uint32_t target(Line& line) {
    line.expect("block ");
    return u32(line);
  }

  const HelperLookup& helpers_;
  std::unordered_map<std::string_view, Op> ops_;
  Unit unit_;
  std::unordered_map<uint64_t, ValueId> values_;
  bool saw_unit_ = false;
  bool in_block_ = false;
};

}  // namespace

Result<Unit> parse(std::string_view text, const HelperLookup& helpers) { return Parser(helpers).run(text); }

}  // namespace panda::ir
