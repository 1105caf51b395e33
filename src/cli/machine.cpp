#include "cli/machine.h"

#include <ctime>

#include "backend/check/check_backend.h"
#include "backend/interp/interp_backend.h"
#include "backend/x64/x64_backend.h"
#include "board/rtc_base.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/cpuid.h"
#include "guest/x86/system.h"

namespace panda::cli {
namespace {

// Without -icount, 1 ns per instruction: slower than the JIT is, so that guest time is pulled
// forward to the host's clock and does not run ahead of it.
constexpr unsigned kInteractiveShift = 0;

// The registers that the Linux boot protocol asks for (32-bit entry).
void enter_linux(VcpuContext& context, const board::LinuxEntry& entry) {
  constexpr uint32_t kFlatCode = 0x00cf9b00;  // the second word of the GDT's descriptors
  constexpr uint32_t kFlatData = 0x00cf9300;
  constexpr uint64_t kCr0Pe = 1, kCr0Et = 0x10;
  x86::Cpu cpu(context);
  x86::State& s = cpu.s();
  s.gdt.base = entry.gdt_base;
  s.gdt.limit = entry.gdt_limit;
  cpu.set_cr(0, kCr0Pe | kCr0Et);
  x86::set_segment(cpu, R_CS, entry.cs, 0, 0xffffffff, kFlatCode);
  for (const unsigned segment : {R_ES, R_SS, R_DS, R_FS, R_GS}) {
    x86::set_segment(cpu, segment, entry.ds, 0, 0xffffffff, kFlatData);
  }
  for (unsigned r = 0; r < cpu.reg_count(); r++) cpu.set_reg(r, 0);
  cpu.set_reg(R_ESI, entry.esi);
  cpu.set_reg(R_ESP, entry.esp);
  cpu.set_eflags(2);
  s.eip = entry.eip;
  x86::update_hflags(cpu);
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create_core(const Config& config,
                                                      const snapshot::MachineDescription& description,
                                                      unsigned clock_shift) {
  const bool is_64bit = description.architecture == "x86_64";
  PANDA_TRY(const x86::CpuConfig cpu, x86::parse_cpu(description.cpu_model, is_64bit));
  std::unique_ptr<Machine> m(new Machine);
  m->description_ = description;
  m->clock_.set_shift(clock_shift);
  PANDA_TRY(m->memory_, GuestMemory::create(description.ram_bytes, description.ranges));
  m->frontend_ = std::make_unique<x86::X86Frontend>(is_64bit, cpu.model);
  if (config.backend != BackendKind::Interpreter) {
    PANDA_TRY(m->backend_, x64::create_backend(config.code_bytes));
  }
  if (config.backend != BackendKind::Jit) {
    // Its steps are some four times as large as host code.
    auto interpreter = std::make_unique<interp::InterpBackend>(4 * config.code_bytes);
    if (config.backend == BackendKind::Interpreter) {
      m->backend_ = std::move(interpreter);
    } else {
      auto checker = std::make_unique<check::CheckBackend>(std::move(interpreter), std::move(m->backend_),
                                                           *m->frontend_, *m->memory_);
      checker->set_interval(InsnCount(config.check_from), InsnCount(config.check_to), config.check_every);
      m->checker_ = checker.get();
      m->backend_ = std::move(checker);
    }
  }
  m->engine_ = std::make_unique<exec::Engine>(*m->frontend_, *m->backend_, *m->memory_, m->clock_);
  m->engine_->set_verify(config.verify);
  x86::apply_cpu(x86::Cpu(m->engine_->cpu()).s(), cpu);
  m->frontend_->reset(m->engine_->cpu());
  return m;
}

Result<std::unique_ptr<Machine>> Machine::create_live(const Config& config, device::CharBackend& serial) {
  snapshot::MachineDescription description;
  description.architecture = config.architecture;
  description.cpu_model = config.cpu;
  description.options = config.append;  // nothing of where the recording goes: equal runs write equal files
  description.ram_bytes = config.ram_bytes;
  description.ranges = board::pc_ram_layout(config.ram_bytes);
  PANDA_TRY(auto kernel, board::read_boot_file(config.kernel, "kernel"));
  std::vector<uint8_t> initrd;
  if (!config.initrd.empty()) {
    PANDA_TRY(initrd, board::read_boot_file(config.initrd, "initrd"));
  }
  PANDA_TRY(auto m, create_core(config, description, config.icount_shift.value_or(kInteractiveShift)));
  m->kernel_ = std::move(kernel);
  m->initrd_ = std::move(initrd);
  m->append_ = config.append;
  board::PcConfig pc;
  pc.icount = config.icount_shift.has_value();
  pc.rtc_start = config.rtc_base_s.value_or(pc.icount ? board::kFixedRtcBase : std::time(nullptr));
  const x86::State& cpu = x86::Cpu(m->engine_->cpu()).s();
  constexpr unsigned kX2ApicBit = 21;
  pc.x2apic = x86::has_cpuid_bit(cpu, x86::kLeaf1Ecx, kX2ApicBit);
  pc.physical_address_bits = x86::physical_bits(cpu);
  pc.com1 = &serial;
  m->board_ = std::make_unique<board::Pc>(pc, *m->memory_, m->clock_);
  m->board_->attach(m->engine_->cpu());
  PANDA_TRY_STATUS(m->reset());
  return m;
}

Result<std::unique_ptr<Machine>> Machine::create_empty(const Config& config) {
  snapshot::MachineDescription description;
  description.architecture = config.architecture;
  description.ram_bytes = board::kMinRamBytes;
  description.ranges = board::pc_ram_layout(description.ram_bytes);
  return create_core(config, description, 0);
}

Result<std::unique_ptr<Machine>> Machine::create_replay(const Config& config) {
  PANDA_TRY(auto snapshot, snapshot::SnapshotReader::open(replay::snapshot_path(config.replay)));
  const snapshot::SnapshotHeader& header = snapshot.header();
  if (header.machine.architecture != config.architecture) {
    return fail("{}: recorded with panda-system-{}; replay it with that", replay::snapshot_path(config.replay),
                header.machine.architecture);
  }
  PANDA_TRY(auto log, replay::LogReader::open(replay::log_path(config.replay)));
  PANDA_TRY(auto m, create_core(config, header.machine, header.clock_shift));
  m->clock_.set_offset_ns(header.clock_offset_ns);
  m->engine_->set_count(header.count);
  m->recording_ = config.replay;
  m->snapshot_.emplace(std::move(snapshot));
  m->replayer_ = std::make_unique<replay::Replayer>(std::move(log), replay::Line::of(*m->engine_));
  return m;
}

Status Machine::restore() {
  PANDA_TRY(const std::string cpu, snapshot_->load(*memory_));
  const replay::LogHeader& log = replayer_->log().header();
  if (log.snapshot_id != snapshot_->id() || log.start != snapshot_->header().count) {
    return fail("{} and {} are not of the same recording", replay::snapshot_path(recording_),
                replay::log_path(recording_));
  }
  if (!frontend_->load_state(engine_->cpu(), cpu)) {
    return fail("{}: its CPU state is not one of this version", replay::snapshot_path(recording_));
  }
  snapshot_.reset();
  memory_->flush_tlb(engine_->cpu());
  return {};
}

Status Machine::reset() {
  board_->reset();
  PANDA_TRY(const board::LinuxEntry entry, board_->load_linux(kernel_, initrd_, append_));
  frontend_->reset(engine_->cpu());
  enter_linux(engine_->cpu(), entry);
  memory_->flush_tlb(engine_->cpu());
  engine_->flush_translations();
  return {};
}

std::string cpu_help(std::string_view architecture) {
  const bool is_64bit = architecture == "x86_64";
  std::string text = fmt::format("CPU models for {} (default {}):\n", architecture, x86::default_cpu_model(is_64bit));
  for (const std::string& name : x86::cpu_model_names(is_64bit)) text += fmt::format("  {}\n", name);
  text += "features, as ,+NAME or ,-NAME:\n ";
  size_t column = 1;
  for (const std::string& name : x86::cpu_feature_names()) {
    if (column + name.size() > 78) {
      text += "\n ";
      column = 1;
    }
    text += " " + name;
    column += name.size() + 1;
  }
  return text + "\n";
}

}  // namespace panda::cli
