// A plugin on the C++ layer: what it counts is read by the tests through dlsym.
#include "offers/offers.h"
#include "panda/plugin.hpp"

extern "C" {
struct modern_counts {
  uint64_t blocks, icount, once, events, scoped, destroyed, memory;
} modern_counts;
}

namespace {

struct Modern : panda::Plugin {
  panda::Output out;
  panda::Callback scoped;
  uint32_t times;

  Modern() {
    panda::Arguments args = arguments();
    const std::string file = args.text("file", "", "where to write");
    const bool refuse = args.flag("refuse", "does not want to be loaded");
    const bool bad_file = args.flag("badfile", "writes where it cannot");
    const bool thrower = args.flag("throw", "throws in a callback");
    const bool listen = args.flag("listen", "uses the plugin `offers`");
    times = args.number<uint32_t>("times", 1, "how often");
    const uint16_t small = args.number<uint16_t>("small", 7, "at most 65535");
    if (args.given("must")) static_cast<void>(args.required_text("missing", "what is missing"));
    args.done();
    modern_counts = {};
    modern_counts.once = small - 7u;
    if (refuse) panda::refuse("no %s today", "work");
    out = panda::Output(bad_file ? "/no/such/folder/file" : file);
    on_before_block_exec([this, marker = std::make_unique<int>(3)](CPUState *cpu, TranslationBlock *tb) {
      modern_counts.blocks += *marker == 3;
      modern_counts.icount += tb->icount;
      if (const auto byte = panda::read<uint32_t>(cpu, tb->pc)) modern_counts.memory++;
    });
    panda::Callback &once = on_start_block_exec([](CPUState *, TranslationBlock *) {});
    once = panda::Callback::make<PANDA_CB_START_BLOCK_EXEC>(self(), [this, &once](CPUState *, TranslationBlock *) {
      if (++modern_counts.once == times) once.remove();
    });
    scoped = panda::Callback::make<PANDA_CB_END_BLOCK_EXEC>(self(), [this](CPUState *, TranslationBlock *) {
      if (++modern_counts.scoped == 5) scoped.disable();
    });
    on_monitor([](Monitor *mon, const char *command) {
      if (std::strcmp(command, "modern") == 0) monitor_printf(mon, "here\n");
    });
    if (listen) PANDA_ON("offers", on_offers_block, [](CPUState *, target_ulong) { modern_counts.events++; });
    if (thrower) on_before_block_exec([](CPUState *, TranslationBlock *) { throw std::runtime_error("thrown"); });
  }
  ~Modern() override { out.print("%" PRIu64 " blocks\n", modern_counts.blocks); }
};

}  // namespace

PANDA_PLUGIN(Modern)
