// How many loads and stores the guest makes, and of how many bytes.
#include "panda/plugin.hpp"

namespace {

class MemStats : public panda::Plugin {
 public:
  MemStats() {
    arguments().done();
    panda_enable_memcb();
    on_virt_mem_after_read([this](CPUState*, target_ulong, target_ulong, size_t size, uint8_t*) {
      loads_++;
      read_ += size;
    });
    on_virt_mem_after_write([this](CPUState*, target_ulong, target_ulong, size_t size, uint8_t*) {
      stores_++;
      written_ += size;
    });
  }
  ~MemStats() override {
    printf("Memory statistics: %" PRIu64 " loads, %" PRIu64 " stores, %" PRIu64 " bytes read, %" PRIu64
           " bytes written.\n",
           loads_, stores_, read_, written_);
    fflush(stdout);
  }

 private:
  uint64_t loads_ = 0, stores_ = 0, read_ = 0, written_ = 0;
};

}  // namespace

PANDA_PLUGIN(MemStats)
