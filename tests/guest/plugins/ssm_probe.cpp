// For stringsearch_test.py: searches through stringsearch's functions, and lists what its callback tells.
// At the first match of `first` it goes on with `second` instead.
#include "panda/plugin.hpp"
#include "stringsearch/stringsearch.h"
#include "stringsearch/stringsearch_ext.h"

namespace {

class Probe : public panda::Plugin {
 public:
  Probe() {
    panda::Arguments args = arguments();
    first_ = args.required_text("first", "text to search for");
    second_ = args.required_text("second", "text to search for after that");
    args.done();
    out_ = panda::Output("ssm.txt");
    if (!init_stringsearch_api()) panda::refuse("needs stringsearch");
    if (!add_string(first_.c_str()) || !add_string(first_.c_str()) || remove_string(second_.c_str())) {
      panda::refuse("stringsearch's functions do not do what they say");
    }
    PANDA_ON("stringsearch", on_ssm,
             ([this](CPUState*, target_ulong pc, target_ulong addr, uint8_t* string, uint32_t size, bool is_write,
                     bool in_memory) {
               out_.print(TARGET_FMT_lx " " TARGET_FMT_lx " %.*s %s %s\n", pc, addr, static_cast<int>(size),
                          reinterpret_cast<const char*>(string), is_write ? "write" : "read",
                          in_memory ? "there" : "scattered");
               if (std::exchange(changed_, true)) return;
               reset_strings();
               add_string(second_.c_str());
             }));
  }

 private:
  std::string first_, second_;
  panda::Output out_;
  bool changed_ = false;
};

}  // namespace

PANDA_PLUGIN(Probe)
