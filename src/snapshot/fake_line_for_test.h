// A front end and CPU that are only state, for tests of what saves, hashes and stamps them.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/virtual_clock.h"
#include "exec/frontend.h"
#include "memory/guest_memory.h"

namespace panda::snapshot {

struct FakeState {
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t pc = 0;
};

class FakeFrontend final : public exec::Frontend {
 public:
  std::string_view name() const override { return "fake"; }
  size_t state_size() const override { return sizeof(FakeState); }
  unsigned max_insn_bytes() const override { return 1; }
  uint32_t pc_offset() const override { return 16; }
  ir::Type pc_type() const override { return ir::Type::I64; }
  exec::UnitKey current_key(VcpuContext&) override { return {}; }
  unsigned fetch_mode(uint64_t) override { return 0; }
  void begin_unit(const exec::UnitKey&) override {}
  unsigned insn_size(const exec::InsnRequest&) override { return 0; }
  exec::InsnResult translate(const exec::InsnRequest&, ir::Builder&) override { return {}; }
  void set_pc(VcpuContext& cpu, uint64_t pc) override { state(cpu).pc = pc; }
  uint64_t get_pc(const VcpuContext& cpu) override { return state(cpu).pc; }
  bool deliver_exception(VcpuContext&) override { return true; }
  bool after_exact(VcpuContext&) override { return false; }
  bool wants_single_step(const VcpuContext&) override { return false; }
  bool accepts_interrupt(const VcpuContext& cpu) override { return (state(cpu).a & 1) == 0; }
  bool deliver_interrupt(VcpuContext& cpu, uint8_t vector) override {
    state(cpu).b = state(cpu).b * 31 + vector;
    return true;
  }
  bool halted(const VcpuContext&) override { return false; }
  void wake(VcpuContext&) override {}
  void reset(VcpuContext& cpu) override { state(cpu) = {}; }
  std::string describe_registers(const VcpuContext& cpu) override {
    return fmt::format("a={:x}\nb={:x}\npc={:x}\n", state(cpu).a, state(cpu).b, state(cpu).pc);
  }
  std::string save_state(const VcpuContext& cpu) override {
    return std::string(reinterpret_cast<const char*>(&state(cpu)), sizeof(FakeState));
  }
  bool load_state(VcpuContext& cpu, std::string_view bytes) override {
    if (bytes.size() != sizeof(FakeState)) return false;
    std::memcpy(cpu.state(), bytes.data(), bytes.size());
    return true;
  }
  bool translate(VcpuContext&, uint64_t, Access, unsigned, bool, Translation&) noexcept override { return false; }
  void misaligned(VcpuContext&, uint64_t, Access) noexcept override {}

  static FakeState& state(VcpuContext& cpu) { return *static_cast<FakeState*>(cpu.state()); }
  static const FakeState& state(const VcpuContext& cpu) { return *reinterpret_cast<const FakeState*>(&cpu + 1); }
};

// A CPU with its state behind it, RAM with a hole, a clock.
struct FakeMachine {
  FakeMachine() {
    memory = std::move(*GuestMemory::create(kRamBytes, {{.phys = 0, .size = 0x180000, .offset = 0},
                                                        {.phys = 0x400000, .size = 0x100000, .offset = 0x180000}}));
    cpu = new (&storage.context) VcpuContext;
    cpu->memory = memory.get();
    cpu->clock = &clock;
  }
  static constexpr uint64_t kRamBytes = 0x280000;
  struct {
    VcpuContext context;
    FakeState state;
  } storage;
  VcpuContext* cpu = nullptr;
  FakeFrontend frontend;
  VirtualClock clock{1};
  std::unique_ptr<GuestMemory> memory;
};

// A directory that goes away with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "panda-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace panda::snapshot
