// Random programs with control flow: conditions, loops in loops, calls and returns around random instructions, run
// as regions, in random slices, as one-instruction units and on the interpreter, all compared with the host's
// CPU. What sequences cannot show: registers, flags and the x87 stack carried along loops and past joins.
//
// PANDA_PROGRAMS: how many; PANDA_SEED: where to begin. A failure is cut down to what it needs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "compare.h"
#include "engine_executor.h"
#include "host_executor.h"
#include "random_code.h"
#include "random_state.h"
#include "steps.h"

namespace panda::x86test {
namespace {

constexpr size_t kMaxBytes = 2400;  // the host's stub shares the page
constexpr unsigned kMaxDepth = 3;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// A program is a tree: what its nodes hold is run in order.
struct Node {
  enum class What : uint8_t { Step, If, IfElse, Loop, Call } what = What::Step;
  Bytes step;
  uint8_t condition = 0;  // of If and IfElse; Loop: how many rounds
  std::vector<Node> body, other;
};

void append32(Bytes& out, size_t value) {
  for (unsigned b = 0; b < 4; b++) out.push_back(static_cast<uint8_t>(value >> (8 * b)));
}
void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }

class Assembler {
 public:
  explicit Assembler(Mode mode) : mode_(mode) {}
  Bytes assemble(const std::vector<Node>& nodes, unsigned depth = 0) {
    Bytes out;
    for (const Node& n : nodes) append(out, one(n, depth));
    return out;
  }

 private:
  // An instruction on the counter of the loop at `depth`, by its address alone.
  Bytes on_counter(Bytes out, uint8_t modrm, unsigned depth) const {
    out.push_back(mode_ == Mode::Long64 ? static_cast<uint8_t>(modrm | 4) : static_cast<uint8_t>(modrm | 5));
    if (mode_ == Mode::Long64) out.push_back(0x25);
    append32(out, kScratch + 64 * depth);
    return out;
  }
  Bytes one(const Node& n, unsigned depth) {
    Bytes out;
    switch (n.what) {
      case Node::What::Step:
        return n.step;
      case Node::What::If: {
        const Bytes body = assemble(n.body, depth);
        out = {0x0f, static_cast<uint8_t>(0x80 + n.condition)};
        append32(out, body.size());
        append(out, body);
        return out;
      }
      case Node::What::IfElse: {
        Bytes body = assemble(n.body, depth);
        const Bytes other = assemble(n.other, depth);
        body.push_back(0xe9);
        append32(body, other.size());
        out = {0x0f, static_cast<uint8_t>(0x80 + n.condition)};
        append32(out, body.size());
        append(out, body);
        append(out, other);
        return out;
      }
      case Node::What::Loop: {
        out = on_counter({0xc7}, 0x00, depth);  // MOV dword [counter], rounds
        append32(out, n.condition);
        Bytes body = assemble(n.body, depth + 1);
        append(body, on_counter({0x83}, 0x28, depth));  // SUB dword [counter], 1
        body.push_back(1);
        append(out, body);
        out.insert(out.end(), {0x0f, 0x85});
        append32(out, ~size_t{0} - (body.size() + 5));
        return out;
      }
      case Node::What::Call: {
        Bytes body = assemble(n.body, depth);
        body.push_back(0xc3);
        out = {0xe9};
        append32(out, body.size());
        append(out, body);
        out.push_back(0xe8);
        append32(out, ~size_t{0} - (body.size() + 4));
        // The return address is another on the host: out of memory with it.
        if (mode_ == Mode::Long64)
          append(out, {0x48, 0xc7, 0x44, 0x24, 0xf8, 0, 0, 0, 0});
        else
          append(out, {0xc7, 0x44, 0x24, 0xfc, 0, 0, 0, 0});
        return out;
      }
    }
    return out;
  }
  Mode mode_;
};

std::vector<Node> random_nodes(const std::vector<Form>& forms, Mode mode, Rng& rng, FormTally& tally, unsigned depth,
                               bool in_call) {
  std::vector<Node> nodes;
  for (uint64_t n = 1 + rng() % (depth == 0 ? 10 : 4); n > 0; n--) {
    Node node;
    const uint64_t choice = depth < kMaxDepth ? rng() % 10 : 9;
    const auto inner = [&](bool call) { return random_nodes(forms, mode, rng, tally, depth + 1, call); };
    if (choice <= 1) {
      node.what = Node::What::If;
      node.body = inner(in_call);
    } else if (choice == 2) {
      node.what = Node::What::IfElse;
      node.body = inner(in_call);
      node.other = inner(in_call);
    } else if (choice <= 4) {
      node.what = Node::What::Loop;
      node.body = inner(in_call);
    } else if (choice == 5) {
      node.what = Node::What::Call;
      node.body = inner(true);
    } else {
      node.step = random_step(forms, mode, rng, tally, in_call);
    }
    node.condition = static_cast<uint8_t>(node.what == Node::What::Loop ? 1 + rng() % 4 : rng() % 16);
    nodes.push_back(std::move(node));
  }
  return nodes;
}

// Return addresses that a fault left on the stack: the code lies elsewhere on the host. What looks like one
// in either is hidden in both.
void hide_return_addresses(Result& a, Result& b) {
  if (a.outcome == Outcome::Done) return;
  std::vector<size_t> places;
  for (size_t at = 0; at + 4 <= a.state.data.size(); at++) {
    for (const Result* r : {&a, &b}) {
      uint32_t v;
      std::memcpy(&v, &r->state.data[at], 4);
      if (v - kCode < kPage) places.push_back(at);
    }
  }
  for (const size_t at : places) {
    for (Result* r : {&a, &b}) std::memset(&r->state.data[at], 0, 4);
  }
}

unsigned size_of(const std::vector<Node>& nodes) {
  unsigned n = 0;
  for (const Node& node : nodes) n += 1 + size_of(node.body) + size_of(node.other);
  return n;
}

// The nodes with the one of that number (in order of appearance) left out, or replaced by its body.
bool reduced(std::vector<Node>& nodes, unsigned& number, bool keep_body) {
  for (size_t i = 0; i < nodes.size(); i++) {
    if (number-- == 0) {
      if (keep_body && nodes[i].body.empty()) return false;
      std::vector<Node> body = std::move(nodes[i].body);
      nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(i));
      if (keep_body) nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(i), body.begin(), body.end());
      return true;
    }
    for (auto* inside : {&nodes[i].body, &nodes[i].other}) {
      const unsigned before = number;
      if (before < size_of(*inside)) return reduced(*inside, number, keep_body);
      number -= size_of(*inside);
    }
  }
  return false;
}

class FlowTest : public testing::TestWithParam<Mode> {
 protected:
  FlowTest()
      : host_(GetParam()),
        interpreter_(GetParam(), BackendKind::Interpreter),
        jit_(GetParam(), BackendKind::Jit),
        single_(GetParam(), BackendKind::Jit) {
    single_.set_max_unit_insns(1);
  }

  // The host, or the interpreter where the host does not run such code.
  Result oracle(const Bytes& code, const MachineState& before) {
    return HostExecutor::offers(GetParam()) ? host_.run(code, before) : interpreter_.run_to_end(code, before);
  }
  // Empty: all agree.
  std::string disagreement(const std::vector<Node>& nodes, const MachineState& before, uint64_t seed) {
    const Bytes code = Assembler(GetParam()).assemble(nodes);
    const Result found = oracle(code, before);
    if (found.outcome != Outcome::Done) faults_++;
    const auto check = [&](const char* what, Result got) {
      Result want = found;
      hide_return_addresses(want, got);
      const std::string diff = differences(want, got, 0, GetParam());
      return diff.empty() ? diff : fmt::format("{}\n{}", what, diff);
    };
    Rng slices(seed);
    std::string text = check("interpreter", interpreter_.run_to_end(code, before));
    if (text.empty()) text = check("jit", jit_.run_to_end(code, before));
    if (text.empty()) text = check("jit, once more", jit_.run_to_end(code, before));
    if (text.empty()) text = check("jit in slices", jit_.run_to_end(code, before, &slices));
    if (text.empty()) text = check("jit, one-instruction units", single_.run_to_end(code, before));
    return text;
  }

  HostExecutor host_;
  EngineExecutor interpreter_, jit_, single_;
  uint64_t faults_ = 0;
};

TEST_P(FlowTest, AllWaysAgree) {
  const Mode mode = GetParam();
  const std::vector<Form> forms = sequence_forms(mode);
  const uint64_t first = from_environment("PANDA_SEED", 1), count = from_environment("PANDA_PROGRAMS", 800);
  uint64_t nodes_total = 0, failed = 0;
  FormTally tally("flow", mode);
  for (uint64_t seed = first; seed < first + count && failed < 5; seed++) {
    Rng rng(seed);
    const MachineState before = sequence_state(rng, mode);
    std::vector<Node> nodes = random_nodes(forms, mode, rng, tally, 0, false);
    while (Assembler(mode).assemble(nodes).size() > kMaxBytes) nodes.pop_back();
    nodes_total += size_of(nodes);
    std::string text = disagreement(nodes, before, seed);
    if (text.empty()) continue;
    failed++;
    for (const bool keep_body : {false, true, false}) {
      for (unsigned i = size_of(nodes); i-- > 0;) {
        std::vector<Node> fewer = nodes;
        unsigned number = i;
        if (!reduced(fewer, number, keep_body)) continue;
        const std::string still = disagreement(fewer, before, seed);
        if (still.empty()) continue;
        nodes = std::move(fewer);
        text = still;
        i = std::min(i, size_of(nodes));
      }
    }
    std::string registers;
    for (unsigned r = 0; r < 16; r++) registers += fmt::format("{:x} ", before.gpr[r]);
    ADD_FAILURE() << "seed " << seed << ": " << text << "  before: " << registers
                  << fmt::format("flags {:x}\n", before.rflags) << listing(Assembler(mode).assemble(nodes), mode);
  }
  tally_total("flow_test", mode, "programs with branches, loops and calls", count);
  tally_total("flow_test", mode, "nodes", nodes_total);
  std::printf("%llu programs from seed %llu, %llu nodes, %llu end in an exception, %llu failed\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(nodes_total), static_cast<unsigned long long>(faults_),
              static_cast<unsigned long long>(failed));
}

INSTANTIATE_TEST_SUITE_P(X86, FlowTest, testing::Values(Mode::Long64, Mode::Protected32),
                         [](const auto& mode) { return mode.param == Mode::Long64 ? "Long64" : "Protected32"; });

}  // namespace
}  // namespace panda::x86test
