// Collects the code that the guest runs: the bytes of every block when it is translated, in the pandalog; which
// blocks there were, as files for viewers.
#include <set>
#include <vector>

#include "coverage/drcov.hpp"
#include "panda/plog-cc.hpp"
#include "panda/plugin.hpp"

namespace {

class CollectCode : public panda::Plugin {
 public:
  CollectCode();
  ~CollectCode() override;

 private:
  void collect(CPUState *cpu, const TranslationBlock &tb);

  target_ulong only_asid_;
  panda::Output drcov_, csv_;
  std::vector<coverage::Module> modules_;
  std::set<coverage::CoveredBlock> blocks_;
};

CollectCode::CollectCode() {
  panda::Arguments args = arguments();
  only_asid_ = args.address("asid", 0, "only code of this address space");
  const std::string drcov = args.text("drcov", "", "file for the blocks in drcov format");
  const std::string csv = args.text("csv", "", "file for the blocks as rows");
  const std::string modules = args.text("modules", "", "NAME@BEGIN-END+...: the modules of the drcov file");
  args.done();
  if (!modules.empty() && !coverage::parse_modules(modules, modules_)) {
    panda::refuse("the argument modules=%s is not NAME@BEGIN-END+...", modules.c_str());
  }
  if (pandalog == 0 && drcov.empty() && csv.empty()) {
    panda::refuse("nothing to collect into: give -pandalog FILE, or the argument drcov or csv");
  }
  drcov_ = panda::Output(drcov);
  csv_ = panda::Output(csv);
  csv_.print("instruction,asid,pc,size,code\n");
  on_after_block_translate([this](CPUState *cpu, TranslationBlock *tb) { collect(cpu, *tb); });
}

void CollectCode::collect(CPUState *cpu, const TranslationBlock &tb) {
  const target_ulong asid = panda_current_asid(cpu);
  if (only_asid_ != 0 && asid != only_asid_) return;
  const auto code = panda::read_bytes(cpu, tb.pc, tb.size);
  if (!code) return;  // device memory
  if (pandalog != 0) {
    auto entry = std::make_unique<panda::LogEntry>();
    panda::BasicBlock *const block = entry->mutable_basic_block();
    block->set_asid(asid);
    block->set_pc(tb.pc);
    block->set_size(tb.size);
    block->set_code(code->data(), code->size());
    globalLog.write_entry(std::move(entry));
  }
  if (drcov_) blocks_.insert({asid, tb.pc, tb.size});
  if (csv_) {
    csv_.print("%" PRIu64 ",0x" TARGET_FMT_lx ",0x" TARGET_FMT_lx ",%u,", rr_get_guest_instr_count(), asid,
               static_cast<target_ulong>(tb.pc), static_cast<unsigned>(tb.size));
    for (const uint8_t byte : *code) csv_.print("%02x", byte);
    csv_.print("\n");
  }
}

CollectCode::~CollectCode() {
  if (drcov_) coverage::Drcov::write(drcov_, modules_, {blocks_.begin(), blocks_.end()});
}

}  // namespace

PANDA_PLUGIN(CollectCode)
